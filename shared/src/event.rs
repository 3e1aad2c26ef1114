//! The event, parsed at the edge into a type that cannot be invalid.
//!
//! An event is a JSON object with exactly the five fields of [`FIELDS`], each once. Its payload is kept as
//! the bytes received: it is checked to be a JSON object and never reserialized from parsed values.
//!
//! In a message the timestamp may be `null` when the producer has no clock. The time at which the stream stored the message
//! is used instead; it is marked as filled in and never compared with another timestamp.

mod bounded_name;
mod content;
mod depth;
mod fields;
mod rules;
mod timestamp;
mod violation;

use std::fmt;

use bytes::Bytes;
use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::RawValue;

pub use self::{
    bounded_name::bounded_name,
    content::Content,
    depth::MAX_DEPTH,
    timestamp::{Instant, Timestamp},
    violation::{Code, Violation},
};
pub(crate) use self::{depth::is_deeper, fields::Text};
use self::{
    fields::{Plain, RawFields},
    rules::Rules,
};

/// Largest event in bytes of JSON, without surrounding white space.
pub const MAX_EVENT_BYTES: usize = 512 * 1024;

/// Longest topic, `event_id` and source in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// Most violations reported for one event; it can have hundreds of thousands.
pub const MAX_VIOLATIONS: usize = 100;

/// The fields of an event. Each is required exactly once; no other field is allowed.
pub const FIELDS: [&str; 5] = ["topic", "event_id", "timestamp", "source", "payload"];

/// One event, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The series that the event belongs to; the first half of its identity.
    pub topic: Topic,
    /// The event's id within its topic; the second half of its identity.
    pub event_id: EventId,
    /// When the event happened, as its producer wrote it.
    pub timestamp: Timestamp,
    /// The producer of the event.
    pub source: Source,
    /// The event's data: a JSON object, kept byte for byte.
    pub payload: Payload,
}

impl Event {
    /// Parses one event from its JSON, which must already be syntactically valid, as the elements returned by
    /// [`crate::message::elements`] are.
    ///
    /// # Errors
    /// All violations of the rules, at most [`MAX_VIOLATIONS`].
    pub fn parse(json: &Bytes) -> Result<Self, Vec<Violation>> {
        Self::parse_with(json, None)
    }

    /// Parses one event of a message that the stream stored at `arrival`, in nanoseconds since 1970, which replaces a
    /// timestamp of `null`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_arrived(json: &Bytes, arrival: i64) -> Result<Self, Vec<Violation>> {
        Self::parse_with(json, Some(arrival))
    }

    fn parse_with(json: &Bytes, arrival: Option<i64>) -> Result<Self, Vec<Violation>> {
        if json.len() > MAX_EVENT_BYTES {
            let message = format!(
                "the event has {} bytes, at most {MAX_EVENT_BYTES} are accepted",
                json.len()
            );
            return Err(vec![Violation::new(None, Code::TooLarge, message)]);
        }
        if json.first() != Some(&b'{') {
            let message = "an event is a JSON object";
            return Err(vec![Violation::new(None, Code::WrongType, message)]);
        }
        if let Ok(plain) = serde_json::from_slice::<Plain<'_>>(json)
            && let Some(event) = plain.check(json)
        {
            return Ok(event);
        }
        let fields: RawFields<'_> = serde_json::from_slice(json)
            .map_err(|err| vec![Violation::new(None, Code::WrongType, err.to_string())])?;
        fields.check(json, arrival, Rules::Current)
    }

    /// As [`Self::parse_arrived`], by the rules of earlier versions, which stored events that are now refused.
    pub(crate) fn parse_earlier(json: &Bytes, arrival: i64) -> Option<Self> {
        if json.len() > MAX_EVENT_BYTES || json.first() != Some(&b'{') {
            return None;
        }
        let fields: RawFields<'_> = serde_json::from_slice(json).ok()?;
        fields.check(json, Some(arrival), Rules::Earlier).ok()
    }

    /// Parses a JSON array of valid events in one pass. Returns `None` for anything else, whose elements
    /// [`Self::parse`] must then examine one by one, and for an array large enough to hold an event of more than
    /// [`MAX_EVENT_BYTES`].
    pub(crate) fn parse_all(array: &Bytes) -> Option<Vec<Self>> {
        if array.len() > MAX_EVENT_BYTES {
            return None;
        }
        let all: Vec<Plain<'_>> = serde_json::from_slice(array).ok()?;
        all.into_iter().map(|plain| plain.check(array)).collect()
    }

    /// Bytes of heap memory that the event owns, not counting slices of `body`, from which it was parsed.
    pub(crate) fn own_bytes(&self, body: &Bytes) -> usize {
        let Self {
            topic,
            event_id,
            timestamp,
            source,
            payload,
        } = self;
        let texts = [&topic.0, &event_id.0, &timestamp.text, &source.0];
        let texts = texts.into_iter().filter(|text| text.is_heap_allocated());
        let is_slice = body.as_ptr_range().contains(&payload.0.as_ptr());
        let payload = if is_slice { 0 } else { payload.0.len() };
        texts.map(CompactString::capacity).sum::<usize>() + payload
    }

    /// The event as JSON: the payload byte for byte, the timestamp `null` if it was filled in on arrival.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let timestamp = if self.timestamp.is_filled() {
            "null".to_owned()
        } else {
            text(self.timestamp.as_str())
        };
        let json = format!(
            r#"{{"topic":{},"event_id":{},"timestamp":{},"source":{},"payload":{}}}"#,
            text(self.topic.as_str()),
            text(self.event_id.as_str()),
            timestamp,
            text(self.source.as_str()),
            self.payload.as_str(),
        );
        json.into()
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(CompactString);

        impl $name {
            /// Checks that the text has 1 to [`MAX_NAME_BYTES`] bytes. Any characters are allowed.
            ///
            /// # Errors
            /// [`Code::Empty`] or [`Code::TooLong`], with a human-readable message.
            pub fn new(text: &str) -> Result<Self, (Code, String)> {
                match text.len() {
                    0 => Err((Code::Empty, "must not be empty".to_owned())),
                    1..=MAX_NAME_BYTES => Ok(Self(text.into())),
                    bytes => Err((
                        Code::TooLong,
                        format!("has {bytes} bytes, at most {MAX_NAME_BYTES} are accepted"),
                    )),
                }
            }

            /// The text as received.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a series of events.
    Topic
);
name!(
    /// The id of an event within its topic.
    EventId
);
name!(
    /// The producer of an event.
    Source
);

/// A JSON object, kept as the bytes received and nested at most [`MAX_DEPTH`] levels deep. The bytes are valid JSON and
/// therefore valid UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Parses the text of a JSON object.
    ///
    /// # Errors
    /// [`Code::WrongType`] or [`Code::TooDeep`], with a human-readable message.
    pub fn parse(text: &Bytes) -> Result<Self, (Code, String)> {
        let raw: &RawValue = serde_json::from_slice(text).map_err(|_| not_an_object())?;
        Self::new(raw.get(), text, Rules::Current)
    }

    /// Checks `text`, which is valid JSON within `json`.
    fn new(text: &str, json: &Bytes, rules: Rules) -> Result<Self, (Code, String)> {
        if !text.starts_with('{') {
            return Err(not_an_object());
        }
        if rules == Rules::Current && is_deeper(text.as_bytes(), MAX_DEPTH) {
            let message =
                format!("is nested more than {MAX_DEPTH} levels deep, counting the payload itself");
            return Err((Code::TooDeep, message));
        }
        Ok(Self(json.slice_ref(text.as_bytes())))
    }

    /// The object's text, from its `{` to its `}`. It is valid UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The object's text as a string.
    ///
    /// # Panics
    /// Never: only text that was parsed as JSON becomes a payload.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a payload was parsed as JSON, which is UTF-8")
    }
}

fn not_an_object() -> (Code, String) {
    (Code::WrongType, "must be a JSON object".to_owned())
}

#[cfg(test)]
mod tests {
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
}
