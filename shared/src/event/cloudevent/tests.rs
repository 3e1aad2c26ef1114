//! Tests of the conversion of `CloudEvents`.

mod canonical;
mod properties;
mod refusals;

use super::*;

/// The required attributes.
const CORE: &str = r#""specversion":"1.0","type":"order.placed","source":"/shop","id":"7""#;

fn parse(json: &str) -> Result<Event, Vec<Violation>> {
    super::parse(&Bytes::copy_from_slice(json.as_bytes()), 0)
}

/// Parses an event with the required attributes, followed by the members in `more`.
fn with(more: &str) -> Result<Event, Vec<Violation>> {
    parse(&format!("{{{CORE},{more}}}"))
}

fn payload_with(more: &str) -> String {
    with(more).unwrap().payload.as_str().to_owned()
}

/// The field and the code of each violation of an invalid event.
fn wrong(event: Result<Event, Vec<Violation>>) -> Vec<(String, Code)> {
    let violations = event.expect_err("the event is not valid").into_iter();
    violations
        .map(|violation| (violation.field.unwrap_or_default(), violation.code))
        .collect()
}

fn one(field: &str, code: Code) -> Vec<(String, Code)> {
    vec![(field.to_owned(), code)]
}

#[test]
fn the_core_attributes_become_the_fields_and_the_rest_the_payload() {
    let event = with(
        r#""time":"2026-01-31T12:00:00.50+01:00","subject":"cart","ztenant":"\u0061\/b","attempt":5,"test":false,
           "datacontenttype":"application/json","data": { "amount" : 1.50 } "#,
    )
    .unwrap();
    assert_eq!(event.topic.as_str(), "order.placed");
    assert_eq!(event.event_id.as_str(), r#"["/shop","7"]"#);
    assert_eq!(event.source.as_str(), "/shop");
    assert_eq!(event.timestamp.as_str(), "2026-01-31T12:00:00.50+01:00");
    assert_eq!(
        event.payload.as_str(),
        r#"{"specversion":"1.0","attempt":"5","datacontenttype":"application/json","subject":"cart","test":"false","ztenant":"a/b","data":{ "amount" : 1.50 }}"#
    );
}

#[test]
fn data_of_any_kind_is_kept_except_for_escapes() {
    for data in [
        "1.50",
        "123456789012345678901234567890",
        r#""<a/>""#,
        "null",
        "[ 1 , {\"a\":1,\"a\":2}]",
        "\"\\ud800\"",
    ] {
        let kept = format!(
            r#"{{"specversion":"1.0","datacontenttype":"application/json","data":{data}}}"#
        );
        assert_eq!(payload_with(&format!("\"data\": {data} ")), kept);
    }
    let xml = r#""datacontenttype":"text/xml","data":"<a b=\"c\"/>""#;
    assert_eq!(
        payload_with(xml),
        format!(r#"{{"specversion":"1.0",{xml}}}"#)
    );
    assert_eq!(
        payload_with(r#""data_base64":"AP\/+""#),
        r#"{"specversion":"1.0","data_base64":"AP/+"}"#
    );
    assert_eq!(
        parse(&format!("{{{CORE}}}")).unwrap().payload.as_str(),
        r#"{"specversion":"1.0"}"#
    );
}

#[test]
fn data_may_have_one_level_less_than_a_payload() {
    let data = |levels: usize| {
        let data = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        (with(&format!("\"data\":{data}")), data)
    };
    assert!(data(127).0.is_ok());
    for levels in [128, 50_000] {
        let (event, data) = data(levels);
        assert_eq!(wrong(event), one("data", Code::TooDeep));
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, data);
        let event = with(&format!("\"data_base64\":\"{base64}\""));
        assert_eq!(wrong(event), one("data", Code::TooDeep));
    }
}

#[test]
fn without_a_time_arrival_is_used_and_sending_it_again_is_the_same_event() {
    let json = Bytes::from(format!("{{{CORE}}}"));
    let event = super::parse(&json, 1_000_000_001).unwrap();
    assert_eq!(event.timestamp.as_str(), "1970-01-01T00:00:01.000000001Z");
    assert!(event.timestamp.is_filled());
    let sent = event.to_json();
    assert_eq!(sent, super::parse(&json, 0).unwrap().to_json());
    assert!(sent.windows(16).any(|part| part == b"\"timestamp\":null"));
    let arrived = Event::parse_arrived(&sent, 1_000_000_001).unwrap();
    assert_eq!(arrived, event);
}

#[test]
fn long_names_are_hashed_and_kept_in_the_payload() {
    let long = "x".repeat(256);
    let event = |kind: &str, source: &str, id: &str| {
        let json =
            format!(r#"{{"specversion":"1.0","type":"{kind}","source":"{source}","id":"{id}"}}"#);
        let event = parse(&json).unwrap();
        let is_hashed = [
            event.topic.as_str(),
            event.source.as_str(),
            event.event_id.as_str(),
        ]
        .map(|name| name.starts_with("sha256:"));
        (is_hashed, event.payload.as_str().to_owned())
    };
    let kept = |more: &str| format!(r#"{{"specversion":"1.0"{more}}}"#);
    assert_eq!(
        event(&long, "s", "1"),
        ([true, false, false], kept(&format!(r#","type":"{long}""#)))
    );
    assert_eq!(
        event("t", &long, "1"),
        (
            [false, true, true],
            kept(&format!(r#","id":"1","source":"{long}""#))
        )
    );
    let nearly = "x".repeat(250);
    assert_eq!(
        event("t", "s", &nearly),
        (
            [false, false, true],
            kept(&format!(r#","id":"{nearly}","source":"s""#))
        )
    );
    assert_eq!(
        event("t", "sha256:", "1"),
        ([false, true, false], kept(r#","source":"sha256:""#))
    );
}

#[test]
fn the_size_limit_applies_before_and_after_the_conversion() {
    let sized = |bytes: usize| {
        let head = format!("{{{CORE},\"data\":\"");
        format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
    };
    assert_eq!(
        wrong(parse(&sized(MAX_EVENT_BYTES + 1))),
        one("", Code::TooLarge)
    );
    // The converted event is longer, because it contains the source twice.
    assert_eq!(
        wrong(parse(&sized(MAX_EVENT_BYTES))),
        one("", Code::TooLarge)
    );
    let event = parse(&sized(MAX_EVENT_BYTES - 100)).unwrap();
    assert!(Event::parse_arrived(&event.to_json(), 0).is_ok());
}

#[test]
fn json_with_a_specversion_is_a_cloudevent() {
    let has_specversion =
        |json: &'static str| has_specversion(&Bytes::from_static(json.as_bytes()));
    assert!(has_specversion(r#"{"a":1,"\u0073pecversion":null}"#));
    for other in [
        r#"{"a":"specversion"}"#,
        "[]",
        "7",
        r#"{"SpecVersion":"1.0"}"#,
    ] {
        assert!(!has_specversion(other), "{other}");
    }
}
