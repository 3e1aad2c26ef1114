//! Tests of parsing and of JSON output: examples and properties.

use proptest::prelude::*;

use super::*;

fn parse(json: &str) -> Result<Event, Vec<(Option<String>, Code)>> {
    Event::parse(&Bytes::copy_from_slice(json.as_bytes()))
        .map_err(|all| all.into_iter().map(|v| (v.field, v.code)).collect())
}

fn one(field: &str, code: Code) -> Result<Event, Vec<(Option<String>, Code)>> {
    Err(vec![(Some(field.to_owned()), code)])
}

#[test]
fn the_payload_and_the_timestamp_are_kept_unchanged() {
    let payload = r#"{ "n": 1.0e5, "n": 123456789012345678901234567890, "s": "\u00e4\/ä" }"#;
    let event = parse(&format!(
        r#"{{"payload":{payload},"topic":"a\u0062c","event_id":"1","source":"s","timestamp":"2026-01-31t12:00:00.120+02:00"}}"#
    ))
    .unwrap();
    assert_eq!(event.payload.as_str(), payload);
    assert_eq!(event.topic.as_str(), "abc");
    assert_eq!(event.timestamp.as_str(), "2026-01-31t12:00:00.120+02:00");
}

#[test]
fn an_event_survives_a_round_trip_through_json() {
    let event = parse(r#"{"payload":{ "a": 1.0 },"topic":"\"ä","event_id":"1","source":"s","timestamp":"2026-01-31T12:00:00Z"}"#).unwrap();
    assert_eq!(Event::parse(&event.to_json()).unwrap(), event);
}

#[test]
fn a_name_with_escapes_equals_the_same_name_without() {
    let id = |json: &str| {
        let event = format!(
            r#"{{"payload":{{}},"topic":"t","event_id":{json},"source":"s","timestamp":"2026-01-31T12:00:00Z"}}"#
        );
        parse(&event).map(|event| event.event_id.as_str().to_owned())
    };
    assert_eq!(id(r#""ä 'x'""#).unwrap(), "ä 'x'");
    assert_eq!(id(r#""\"\\\u00e4""#).unwrap(), "\"\\ä");
    assert_eq!(id(r#""\ud800""#).unwrap_err()[0].1, Code::WrongType);
    assert!(id("\"a\u{1}b\"").is_err());
    assert!(id("\"\"").is_err());
}

#[test]
fn every_violation_is_reported_not_only_the_first() {
    let result = parse(r#"{"topic":"","event_id":7,"timestamp":"yesterday","payload":[]}"#);
    let field = |name: &str, code| (Some(name.to_owned()), code);
    assert_eq!(
        result.unwrap_err(),
        [
            field("topic", Code::Empty),
            field("event_id", Code::WrongType),
            field("timestamp", Code::NotRfc3339),
            field("source", Code::Missing),
            field("payload", Code::WrongType),
        ]
    );
}

#[test]
fn unknown_and_repeated_fields_are_refused_by_name() {
    let valid = r#""topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{}"#;
    assert!(parse(&format!("{{{valid}}}")).is_ok());
    assert_eq!(
        parse(&format!("{{{valid},\"level\":1}}")),
        one("level", Code::Unknown)
    );
    assert_eq!(
        parse(&format!("{{{valid},\"topic\":\"t\"}}")),
        one("topic", Code::Repeated)
    );
}

#[test]
fn the_limits_are_exact() {
    let event = |topic: &str| {
        parse(&format!(
            r#"{{"topic":"{topic}","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}}}}"#
        ))
    };
    assert!(event(&"x".repeat(MAX_NAME_BYTES)).is_ok());
    assert!(event(&"ä".repeat(127)).is_ok());
    assert_eq!(event(&"ä".repeat(128)), one("topic", Code::TooLong));

    let sized = |bytes: usize| {
        let head = r#"{"topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{"p":""#;
        format!("{head}{}\"}}}}", "x".repeat(bytes - head.len() - 3))
    };
    assert!(parse(&sized(MAX_EVENT_BYTES)).is_ok());
    assert_eq!(
        parse(&sized(MAX_EVENT_BYTES + 1)),
        Err(vec![(None, Code::TooLarge)])
    );
}

#[test]
fn a_payload_has_at_most_128_levels_counting_itself() {
    let event = |levels: usize| {
        let (open, close) = (r#"{"a":["#.repeat(levels / 2), "]}".repeat(levels / 2));
        let inner = if levels % 2 == 1 { "{}" } else { "" };
        parse(&format!(
            r#"{{"topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{open}{inner}{close}}}"#
        ))
    };
    assert!(event(MAX_DEPTH).is_ok());
    assert_eq!(event(MAX_DEPTH + 1), one("payload", Code::TooDeep));
    assert_eq!(event(50_000), one("payload", Code::TooDeep));
}

#[test]
fn a_timestamp_is_filled_in_only_on_arrival_and_only_if_null() {
    let json = |timestamp: &str| {
        Bytes::from(format!(
            r#"{{"topic":"t","event_id":"1","timestamp":{timestamp},"source":"s","payload":{{}}}}"#
        ))
    };
    assert_eq!(
        Event::parse(&json("null")).unwrap_err()[0].code,
        Code::WrongType
    );
    let filled = Event::parse_arrived(&json("null"), 1_000_000_001).unwrap();
    assert_eq!(filled.timestamp.as_str(), "1970-01-01T00:00:01.000000001Z");
    assert!(filled.timestamp.is_filled());
    assert_eq!(filled.to_json(), json("null"));
    let given = Event::parse_arrived(&json(r#""2026-01-31T12:00:00Z""#), 1).unwrap();
    assert!(!given.timestamp.is_filled());
    assert!(Event::parse_arrived(&json("1"), 1).is_err());
}

#[test]
fn an_unpaired_surrogate_is_refused() {
    let json = r#"{"topic":"\ud800","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{}}"#;
    assert_eq!(parse(json), one("topic", Code::WrongType));
}

proptest! {
    #[test]
    fn names_and_payload_survive_any_text(topic in ".{1,60}", id in ".{1,60}", source in ".{1,60}", text in ".*") {
        let payload = serde_json::json!({ "text": text }).to_string();
        let quote = |text: &str| serde_json::to_string(text).unwrap();
        let json = format!(
            r#"{{"topic":{},"event_id":{},"source":{},"timestamp":"2026-01-31T12:00:00Z","payload":{payload}}}"#,
            quote(&topic), quote(&id), quote(&source)
        );
        let event = parse(&json).unwrap();
        prop_assert_eq!(event.topic.as_str(), topic);
        prop_assert_eq!(event.event_id.as_str(), id);
        prop_assert_eq!(event.source.as_str(), source);
        prop_assert_eq!(event.payload.as_str(), payload);
    }

    #[test]
    fn parsing_never_panics(json in "\\PC*") {
        let _ = parse(&json);
    }
}
