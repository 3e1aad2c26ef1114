//! Reading both encodings, in addition to what the crate `opentelemetry-proto` can check.

use super::*;

/// The payload's record of a request with one record, in JSON.
fn record(record: &str) -> String {
    let body = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#);
    let event = events(Encoding::Json, body).remove(0);
    let at = event.find(r#""record":"#).unwrap() + r#""record":"#.len();
    event[at..event.len() - 2].to_owned()
}

fn body(value: &str) -> String {
    record(&format!(r#"{{"body":{value}}}"#))
}

#[test]
fn equivalent_json_forms_are_one_record() {
    for same in [
        r#"{"timeUnixNano":"7","flags":1,"severityNumber":9}"#,
        r#"{"timeUnixNano":7,"flags":"1","severityNumber":"9"}"#,
        r#"{"timeUnixNano":7.000,"flags":"10e-1","severityNumber":0.09E+2,"droppedAttributesCount":-0.0}"#,
        r#"{"flags":1,"timeUnixNano":7,"severityNumber":9,"body":null,"attributes":null,"traceId":"","unknown":[{}],"time_unix_nano":8,"droppedAttributesCount":0}"#,
    ] {
        assert_eq!(
            record(same),
            r#"{"timeUnixNano":"7","severityNumber":9,"flags":1}"#
        );
    }
    for (read, written) in [
        (r#"{"intValue":-7}"#, r#"{"body":{"intValue":"-7"}}"#),
        (
            r#"{"doubleValue":"NaN"}"#,
            r#"{"body":{"doubleValue":"NaN"}}"#,
        ),
        (
            r#"{"doubleValue":"-Infinity"}"#,
            r#"{"body":{"doubleValue":"-Infinity"}}"#,
        ),
        (
            r#"{"doubleValue":"1e3"}"#,
            r#"{"body":{"doubleValue":1000.0}}"#,
        ),
        (
            r#"{"bytesValue":"_-8"}"#,
            r#"{"body":{"bytesValue":"/+8="}}"#,
        ),
        (r#"{"arrayValue":{}}"#, r#"{"body":{"arrayValue":{}}}"#),
        (
            r#"{"kvlistValue":{"values":[{}]}}"#,
            r#"{"body":{"kvlistValue":{"values":[{}]}}}"#,
        ),
        (r#"{"otherValue":{"a":1}}"#, r#"{"body":{}}"#),
        (
            r#"{"stringValue":null,"boolValue":true}"#,
            r#"{"body":{"boolValue":true}}"#,
        ),
    ] {
        assert_eq!(body(read), written, "{read}");
    }
}

#[test]
fn numbers_keep_their_last_bit_in_both_encodings() {
    for number in [
        "0.1",
        "1.7976931348623157e308",
        "5e-324",
        "9007199254740993.1",
        "3.1415926535897932",
        "-0.0",
    ] {
        let double: f64 = number.parse().unwrap();
        let written = body(&format!(r#"{{"doubleValue":{number}}}"#));
        let written = written.strip_prefix(r#"{"body":{"doubleValue":"#).unwrap();
        let again: f64 = written.strip_suffix("}}").unwrap().parse().unwrap();
        assert_eq!(again.to_bits(), double.to_bits(), "{number}");
    }
}

#[test]
fn a_protobuf_double_without_a_json_number_is_kept() {
    let mut message: ExportLogsServiceRequest = serde_json::from_value(example()).unwrap();
    let value =
        opentelemetry_proto::tonic::common::v1::any_value::Value::DoubleValue(f64::INFINITY);
    let record = &mut message.resource_logs[0].scope_logs[0].log_records[0];
    record.body.as_mut().unwrap().value = Some(value);
    let event = events(Encoding::Protobuf, message.encode_to_vec()).remove(0);
    assert!(
        event.contains(r#""body":{"doubleValue":"Infinity"}"#),
        "{event}"
    );
}

#[test]
fn fields_may_arrive_in_any_order_and_in_parts() {
    let message: ExportLogsServiceRequest = serde_json::from_value(example()).unwrap();
    let logs = &message.resource_logs[0];
    let resource = logs.resource.clone().unwrap();
    let field = |tag: u32, bytes: Vec<u8>| {
        let mut field = Vec::new();
        prost::encoding::bytes::encode(tag, &bytes, &mut field);
        field
    };
    let part = |index: usize| {
        let mut part = resource.clone();
        part.attributes = vec![resource.attributes[index].clone()];
        field(1, part.encode_to_vec())
    };
    let mut parts = field(2, logs.scope_logs[0].encode_to_vec());
    parts.extend(part(0));
    // An unknown field.
    parts.extend(field(99, vec![0xff]));
    parts.extend(field(3, logs.schema_url.clone().into_bytes()));
    parts.extend(part(1));
    assert_eq!(
        events(Encoding::Protobuf, field(1, parts)),
        events(Encoding::Protobuf, message.encode_to_vec())
    );
}

#[test]
fn an_empty_request_has_no_events() {
    for nothing in [
        "{}",
        r#"{"resourceLogs":null}"#,
        r#"{"resourceLogs":[{}]}"#,
        r#"{"resourceLogs":[{"scopeLogs":[{}]}]}"#,
        r#"{"other":1}"#,
    ] {
        assert!(events(Encoding::Json, nothing).is_empty(), "{nothing}");
    }
    for nothing in [&b""[..], b"\x0a\0", b"\x0a\x02\x12\0"] {
        assert!(events(Encoding::Protobuf, nothing).is_empty());
    }
}

#[test]
fn an_invalid_request_is_undecodable() {
    for wrong in [
        String::new(),
        "[]".to_owned(),
        "{} {}".to_owned(),
        r#"{"resourceLogs":{}}"#.to_owned(),
        r#"{"resourceLogs":[7]}"#.to_owned(),
        r#"{"resourceLogs":[],"resourceLogs":[]}"#.to_owned(),
        "[null]".to_owned(),
    ] {
        let problem = collected(Encoding::Json, wrong.clone()).unwrap_err();
        assert_eq!(problem.status(), 400, "{wrong}");
    }
    let whole = in_protobuf(&example());
    for bytes in 1..whole.len() {
        assert!(collected(Encoding::Protobuf, whole[..bytes].to_vec()).is_err());
    }
    for wrong in [&b"\x08\x01"[..], b"\0", b"{}"] {
        assert!(collected(Encoding::Protobuf, wrong).is_err(), "{wrong:?}");
    }
}

/// A request of three records, of which this one is the second.
fn second_of_three(record: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{}},{record},{{}}]}}]}}]}}"#)
}

#[test]
fn an_invalid_json_record_is_rejected_alone() {
    for wrong in [
        "7",
        "[]",
        r#"{"timeUnixNano":-1}"#,
        r#"{"timeUnixNano":"x"}"#,
        r#"{"severityNumber":"SEVERITY_NUMBER_INFO"}"#,
        r#"{"traceId":"0"}"#,
        r#"{"traceId":"+1"}"#,
        r#"{"flags":""}"#,
        r#"{"flags":".0"}"#,
        r#"{"flags":1.5}"#,
        r#"{"flags":"1e-1"}"#,
        r#"{"flags":1e10}"#,
        r#"{"timeUnixNano":1e99}"#,
        r#"{"body":{"bytesValue":"*"}}"#,
        r#"{"body":{"intValue":9223372036854775808}}"#,
        r#"{"body":{"boolValue":true,"intValue":1}}"#,
        r#"{"body":{"stringValue":"\ud800"}}"#,
        r#"{"flags":"+1"}"#,
        r#"{"flags":"01"}"#,
        r#"{"flags":" 1"}"#,
        r#"{"severityText":7}"#,
    ] {
        let collected = collected(Encoding::Json, second_of_three(wrong)).unwrap();
        assert_eq!(
            (collected.events.len(), collected.rejected),
            (2, 1),
            "{wrong}"
        );
        assert!(collected.reasons[0].starts_with("record 1: "), "{wrong}");
    }
}

#[test]
fn a_double_out_of_range_is_refused_and_not_infinite() {
    for wrong in [
        "1e400",
        "-1e400",
        r#""1e400""#,
        r#""inf""#,
        r#""nan""#,
        r#""+1""#,
        r#"".5""#,
        "true",
    ] {
        let record = format!(r#"{{"body":{{"doubleValue":{wrong}}}}}"#);
        let collected = collected(Encoding::Json, second_of_three(&record)).unwrap();
        assert_eq!(
            (collected.events.len(), collected.rejected),
            (2, 1),
            "{wrong}"
        );
    }
    // It underflows to zero, the nearest double.
    assert_eq!(
        body(r#"{"doubleValue":1e-400}"#),
        r#"{"body":{"doubleValue":0.0}}"#
    );
}

#[test]
fn invalid_utf8_in_protobuf_rejects_the_records_that_it_belongs_to() {
    let field = |tag: u32, bytes: &[u8]| {
        let mut field = Vec::new();
        prost::encoding::bytes::encode(tag, &bytes.to_vec(), &mut field);
        field
    };
    let request = |resource: &[u8], url: &[u8], scope: &[u8], records: &[&[u8]]| {
        let records = records.iter().flat_map(|record| field(2, record));
        let scope_logs: Vec<u8> = field(1, scope).into_iter().chain(records).collect();
        let parts = [field(1, resource), field(2, &scope_logs), field(3, url)];
        let healthy = field(2, &field(2, b""));
        [field(1, &parts.concat()), field(1, &healthy)].concat()
    };
    // LogRecord.severity_text, Resource.attributes with a key, InstrumentationScope.name.
    let (text, attribute, name) = (
        field(3, b"\xff"),
        field(1, &field(1, b"\xff")),
        field(1, b"\xff"),
    );
    for (body, accepted, rejected) in [
        (request(b"", b"", b"", &[&text, b""]), 2, 1),
        (request(&attribute, b"", b"", &[b"", b""]), 1, 2),
        (request(b"", b"\xff", b"", &[b"", b""]), 1, 2),
        (request(b"", b"", &name, &[b"", b""]), 1, 2),
        // A truncated field within a record.
        (request(b"", b"", b"", &[b"\x1a\x05a", b""]), 2, 1),
    ] {
        let collected = collected(Encoding::Protobuf, body).unwrap();
        assert_eq!(
            (collected.events.len(), collected.rejected),
            (accepted, rejected)
        );
        assert!(
            collected.reasons[0].contains("not a valid "),
            "{:?}",
            collected.reasons
        );
    }
}

#[test]
fn members_that_otlp_does_not_define_are_named_and_the_rest_is_accepted() {
    for (body, accepted, unknown) in [
        (
            r#"{"resource_logs":[{}]}"#.to_owned(),
            0,
            "resource_logs in ExportLogsServiceRequest",
        ),
        (
            r#"{"events":[{}]}"#.to_owned(),
            0,
            "events in ExportLogsServiceRequest",
        ),
        (
            r#"{"resourceLogs":[{"scope_logs":[{}]}]}"#.to_owned(),
            0,
            "scope_logs in ResourceLogs",
        ),
        (
            r#"{"resourceLogs":[{"scopeLogs":[{"log_records":[{}]}]}]}"#.to_owned(),
            0,
            "log_records in ScopeLogs",
        ),
        (
            r#"{"resourceLogs":[{"resource":{"attrs":[]},"scopeLogs":[{"logRecords":[{}]}]}]}"#
                .to_owned(),
            1,
            "attrs in Resource",
        ),
        (
            r#"{"resourceLogs":[{"scopeLogs":[{"scope":{"nom":""},"logRecords":[{}]}]}]}"#
                .to_owned(),
            1,
            "nom in InstrumentationScope",
        ),
        (
            second_of_three(r#"{"time_unix_nano":"1"}"#),
            3,
            "time_unix_nano in LogRecord",
        ),
        (
            second_of_three(r#"{"body":{"string_value":"x"}}"#),
            3,
            "string_value in LogRecord",
        ),
        (
            second_of_three(r#"{"attributes":[{"key":"a","val":{}}]}"#),
            3,
            "val in LogRecord",
        ),
    ] {
        let collected = collected(Encoding::Json, body.clone()).unwrap();
        assert_eq!(
            (collected.events.len(), collected.rejected),
            (accepted, 0),
            "{body}"
        );
        assert_eq!(collected.unknown, [unknown], "{body}");
    }
    assert!(
        collected(Encoding::Json, example().to_string())
            .unwrap()
            .unknown
            .is_empty()
    );
}

#[test]
fn names_of_unknown_members_are_bounded_in_number_and_length() {
    let many: Vec<_> = (0..1_000)
        .map(|n| format!(r#""{}{n}":0"#, "ä".repeat(n)))
        .collect();
    let unknown = collected(Encoding::Json, format!("{{{}}}", many.join(",")))
        .unwrap()
        .unknown;
    assert_eq!(unknown.len(), 3);
    let long = format!(r#"{{"{}":0}}"#, "ä".repeat(100_000));
    assert!(collected(Encoding::Json, long).unwrap().unknown[0].len() < 128);
}
