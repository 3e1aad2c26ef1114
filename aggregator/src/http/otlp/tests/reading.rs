//! What is read of both encodings, beside what the crate `opentelemetry-proto` reads.

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
fn what_json_has_in_several_forms_is_one_record() {
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
fn a_protobuf_double_that_json_has_no_number_for_is_kept() {
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
fn fields_of_a_message_come_in_any_order_and_in_pieces() {
    let message: ExportLogsServiceRequest = serde_json::from_value(example()).unwrap();
    let logs = &message.resource_logs[0];
    let resource = logs.resource.clone().unwrap();
    let field = |tag: u32, bytes: Vec<u8>| {
        let mut field = Vec::new();
        prost::encoding::bytes::encode(tag, &bytes, &mut field);
        field
    };
    let piece = |index: usize| {
        let mut piece = resource.clone();
        piece.attributes = vec![resource.attributes[index].clone()];
        field(1, piece.encode_to_vec())
    };
    let mut pieces = field(2, logs.scope_logs[0].encode_to_vec());
    pieces.extend(piece(0));
    // A field that nobody knows.
    pieces.extend(field(99, vec![0xff]));
    pieces.extend(field(3, logs.schema_url.clone().into_bytes()));
    pieces.extend(piece(1));
    assert_eq!(
        events(Encoding::Protobuf, field(1, pieces)),
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
fn what_is_no_request_is_undecodable() {
    let records = |record: &str| {
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#)
    };
    for wrong in [
        String::new(),
        "[]".to_owned(),
        "{} {}".to_owned(),
        r#"{"resourceLogs":{}}"#.to_owned(),
        r#"{"resourceLogs":[7]}"#.to_owned(),
        r#"{"resourceLogs":[],"resourceLogs":[]}"#.to_owned(),
        "[null]".to_owned(),
        records("7"),
        records("[]"),
        records(r#"{"timeUnixNano":-1}"#),
        records(r#"{"timeUnixNano":"x"}"#),
        records(r#"{"severityNumber":"SEVERITY_NUMBER_INFO"}"#),
        records(r#"{"traceId":"0"}"#),
        records(r#"{"traceId":"+1"}"#),
        records(r#"{"flags":""}"#),
        records(r#"{"flags":".0"}"#),
        records(r#"{"flags":1.5}"#),
        records(r#"{"flags":"1e-1"}"#),
        records(r#"{"flags":1e10}"#),
        records(r#"{"timeUnixNano":1e99}"#),
        records(r#"{"body":{"bytesValue":"*"}}"#),
        records(r#"{"body":{"intValue":9223372036854775808}}"#),
        records(r#"{"body":{"boolValue":true,"intValue":1}}"#),
        records(r#"{"body":{"stringValue":"\ud800"}}"#),
        records(&format!(
            "{{\"body\":{}7",
            r#"{"arrayValue":{"values":["#.repeat(100)
        )),
    ] {
        let problem = collected(Encoding::Json, wrong.clone()).unwrap_err();
        assert_eq!(problem.status(), 400, "{wrong}");
    }
    let whole = in_protobuf(&example());
    for bytes in 1..whole.len() {
        assert!(collected(Encoding::Protobuf, whole[..bytes].to_vec()).is_err());
    }
    for wrong in [&b"\x08\x01"[..], b"\x0a\x02\x1a\x01\xff", b"\0", b"{}"] {
        assert!(collected(Encoding::Protobuf, wrong).is_err(), "{wrong:?}");
    }
}
