//! Limits of size, number and nesting.

use super::*;

const KIBIBYTE: usize = 1024;

fn text(bytes: usize) -> Value {
    json!({"body": {"stringValue": "x".repeat(bytes)}})
}

#[test]
fn a_record_whose_event_is_too_large_is_rejected_and_the_others_are_not() {
    let most = event(&request(&json!([]), &text(0))).to_string().len();
    let most = 512 * KIBIBYTE - most;
    let records = [text(most), text(most + 1), text(1), text(600 * KIBIBYTE)];
    let body = json!({"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": records}]}]});
    for (encoding, body) in [
        (Encoding::Json, body.to_string().into_bytes()),
        (Encoding::Protobuf, in_protobuf(&body)),
    ] {
        let collected = collected(encoding, body).unwrap();
        assert_eq!((collected.events.len(), collected.rejected), (2, 2));
        assert!(
            collected.reasons[0].starts_with("record 1: "),
            "{:?}",
            collected.reasons
        );
        assert!(
            collected.reasons[1].starts_with("record 3: "),
            "{:?}",
            collected.reasons
        );
    }
}

#[test]
fn the_first_reasons_are_listed_and_the_others_counted() {
    let large = json!([attribute("a", &"x".repeat(600 * KIBIBYTE))]);
    let records: Vec<_> = (0..10).map(text).collect();
    let body = json!({"resourceLogs": [
        {"resource": {"attributes": large}, "scopeLogs": [{"logRecords": records}]},
        {"scopeLogs": [{"logRecords": [text(1)]}]},
    ]});
    let collected = collected(Encoding::Json, body.to_string()).unwrap();
    assert_eq!((collected.events.len(), collected.rejected), (1, 10));
    let partial = crate::http::publish::otlp::exported(&collected)
        .partial_success
        .unwrap();
    assert_eq!(partial.rejected_log_records, 10);
    assert!(partial.error_message.contains("record 2: "), "{partial:?}");
    assert!(
        partial.error_message.ends_with("; and 7 more"),
        "{partial:?}"
    );
}

#[test]
fn a_schema_url_has_the_size_limit_of_its_part() {
    for place in ["resource", "scope"] {
        let url = "\u{1}".repeat(600 * KIBIBYTE);
        let mut body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [text(1)]}]}]});
        let resource_logs = &mut body["resourceLogs"][0];
        match place {
            "resource" => resource_logs["schemaUrl"] = url.into(),
            _ => resource_logs["scopeLogs"][0]["schemaUrl"] = url.into(),
        }
        for (encoding, body) in [
            (Encoding::Json, body.to_string().into_bytes()),
            (Encoding::Protobuf, in_protobuf(&body)),
        ] {
            let collected = collected(encoding, body).unwrap();
            assert_eq!(
                (collected.events.len(), collected.rejected),
                (0, 1),
                "{place}"
            );
        }
    }
}

#[test]
fn an_error_does_not_quote_a_long_misplaced_text() {
    let text = "\u{7f}".repeat(300 * KIBIBYTE);
    let body = json!({"resourceLogs": text});
    let problem = collected(Encoding::Json, body.to_string()).unwrap_err();
    assert!(problem.detail().len() <= KIBIBYTE);
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": text}]}]}]});
    let collected = collected(Encoding::Json, body.to_string()).unwrap();
    assert_eq!(collected.reasons.len(), 1);
    assert!(collected.reasons[0].len() <= KIBIBYTE);
}

#[test]
fn a_large_resource_of_many_records_is_refused() {
    let resource = json!([attribute("a", &"x".repeat(300 * KIBIBYTE))]);
    let records = |count: usize| {
        json!({"resourceLogs": [{
            "resource": {"attributes": resource},
            "scopeLogs": [{"logRecords": vec![json!({}); count]}],
        }]})
    };
    assert_eq!(events(Encoding::Json, records(100).to_string()).len(), 100);
    let problem = collected(Encoding::Json, records(110).to_string()).unwrap_err();
    assert_eq!(problem.status(), 413);
    assert!(problem.detail().contains("smaller batches"));
}

#[test]
fn events_count_as_in_flight_until_they_are_dropped() {
    let intake = Intake::default();
    let large = request(
        &json!([attribute("a", &"x".repeat(300 * KIBIBYTE))]),
        &json!({}),
    );
    let mut held = Vec::new();
    let mut collect = |body: &Value| {
        let mut collector = Collector::new("service.name", intake.hold());
        walk(Encoding::Json, &body.to_string().into(), &mut collector)?;
        held.push(collector.finish());
        Ok::<_, Problem>(())
    };
    let refused = (0..1_000).find_map(|_| collect(&large).err()).unwrap();
    assert_eq!(refused.status(), 503);
    held.clear();
    let mut collector = Collector::new("service.name", intake.hold());
    assert!(walk(Encoding::Json, &large.to_string().into(), &mut collector).is_ok());
}

#[test]
fn empty_messages_take_no_memory() {
    let many = b"\x0a\0".repeat(4 * KIBIBYTE * KIBIBYTE);
    assert!(events(Encoding::Protobuf, many).is_empty());
    let scopes = b"\x12\0".repeat(1_000);
    let mut logs = Vec::new();
    prost::encoding::bytes::encode(1, &scopes, &mut logs);
    assert!(events(Encoding::Protobuf, logs).is_empty());
}

#[test]
fn values_nest_thirty_levels_in_both_encodings_and_only_a_deeper_record_is_rejected() {
    let array = |value: Value| json!({"arrayValue": {"values": [value]}});
    let map = |value: Value| json!({"kvlistValue": {"values": [{"key": "k", "value": value}]}});
    let nested = |levels: usize, kind: &dyn Fn(Value) -> Value| {
        (0..levels).fold(json!({"boolValue": true}), |value, _| kind(value))
    };
    let in_body = |value: Value| json!({"logRecords": [{}, {"body": value}, {}]});
    let in_attribute = |value: Value| json!({"logRecords": [{}, {"attributes": [{"key": "a", "value": value}]}, {}]});
    for kind in [&array as &dyn Fn(Value) -> Value, &map] {
        for place in [&in_body as &dyn Fn(Value) -> Value, &in_attribute] {
            for (levels, rejected, accepted) in
                [(30, 0, 3), (31, 1, 2), (32, 1, 2), (49, 1, 2), (60, 1, 2)]
            {
                let body = json!({"resourceLogs": [{"scopeLogs": [place(nested(levels, kind))]}]});
                // opentelemetry-proto cannot read the deepest.
                let mut bodies = vec![(Encoding::Json, body.to_string().into_bytes())];
                if let Ok(message) = serde_json::from_value::<ExportLogsServiceRequest>(body) {
                    bodies.push((Encoding::Protobuf, message.encode_to_vec()));
                }
                for (encoding, body) in bodies {
                    let collected = collected(encoding, body).unwrap();
                    let counts = (collected.rejected, collected.events.len());
                    assert_eq!(counts, (rejected, accepted), "{levels} {encoding:?}");
                    for reason in collected.reasons {
                        assert!(reason.contains("nested 30 levels deep"), "{reason}");
                    }
                }
            }
        }
    }
}

#[test]
fn an_excessively_nested_value_rejects_only_its_record() {
    let deep = format!(
        "{}{}",
        r#"{"arrayValue":{"values":["#.repeat(10_000),
        "]}}".repeat(10_000)
    );
    let body = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{deep}}},{{}}]}}]}}]}}"#
    );
    let of_json = collected(Encoding::Json, body).unwrap();
    assert_eq!((of_json.events.len(), of_json.rejected), (1, 1));
    let field = |tag: u32, bytes: Vec<u8>| {
        let mut field = Vec::new();
        prost::encoding::bytes::encode(tag, &bytes, &mut field);
        field
    };
    // LogRecord.body is field 5; AnyValue.array_value 5, ArrayValue.values 1.
    let value = (0..1_000).fold(Vec::new(), |value, _| field(5, field(1, value)));
    let records = [field(2, field(5, value)), field(2, Vec::new())].concat();
    let of_protobuf = collected(Encoding::Protobuf, field(1, field(2, records))).unwrap();
    assert_eq!((of_protobuf.events.len(), of_protobuf.rejected), (1, 1));
    assert_eq!(of_protobuf.reasons, of_json.reasons);
}

#[test]
fn maps_nested_30_levels_deep_in_protobuf_are_accepted() {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList, any_value};

    let mut value = AnyValue::default();
    for _ in 0..30 {
        let pair = KeyValue {
            key: "k".to_owned(),
            value: Some(value),
            ..KeyValue::default()
        };
        let list = KeyValueList { values: vec![pair] };
        value = AnyValue {
            value: Some(any_value::Value::KvlistValue(list)),
        };
    }
    let mut message: ExportLogsServiceRequest = serde_json::from_value(example()).unwrap();
    message.resource_logs[0].scope_logs[0].log_records[0].body = Some(value);
    let event = events(Encoding::Protobuf, message.encode_to_vec()).remove(0);
    assert_eq!(event.matches("kvlistValue").count(), 31);
}
