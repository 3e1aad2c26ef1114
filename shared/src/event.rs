//! The event, parsed at the edge into a type that cannot be wrong.
//!
//! An event is a JSON object with exactly the five fields of [`FIELDS`], each once. Its payload stays
//! the bytes that came: it is checked to be a JSON object and never printed again from parsed values.
//!
//! In a message the timestamp may be `null`: its producer knew none. Then it is the time at which the stream took the
//! message, marked as such, and never compared with another.

mod content;
mod depth;
mod fields;
mod fitted;
mod rules;
mod timestamp;
mod violation;

use std::fmt;

use bytes::Bytes;
use compact_str::CompactString;
use serde::Serialize;
use serde_json::value::RawValue;

pub use self::{
    content::Content,
    depth::MAX_DEPTH,
    fitted::fitted,
    timestamp::{Instant, Timestamp},
    violation::{Code, Violation},
};
pub(crate) use self::{depth::is_deeper, fields::Text};
use self::{
    fields::{Plain, RawFields},
    rules::Rules,
};

/// Largest event in bytes of JSON, white space around it left out.
pub const MAX_EVENT_BYTES: usize = 512 * 1024;

/// Longest topic, `event_id` and source in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// Violations told of one event; it can have hundreds of thousands.
pub const MAX_VIOLATIONS: usize = 100;

/// The fields of an event. All are required, once each, and no other is taken.
pub const FIELDS: [&str; 5] = ["topic", "event_id", "timestamp", "source", "payload"];

/// One event, valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Names the series that the event belongs to; the first half of its identity.
    pub topic: Topic,
    /// Names the event within its topic; the second half of its identity.
    pub event_id: EventId,
    /// When it happened, as its producer wrote it.
    pub timestamp: Timestamp,
    /// Who produced it.
    pub source: Source,
    /// The JSON object that it carries, byte for byte.
    pub payload: Payload,
}

impl Event {
    /// Parses one event from its JSON, which must be syntactically valid already (as what
    /// [`crate::message::elements`] returns is).
    ///
    /// # Errors
    /// The violations of the rules: not only the first, but at most [`MAX_VIOLATIONS`].
    pub fn parse(json: &Bytes) -> Result<Self, Vec<Violation>> {
        Self::parse_with(json, None)
    }

    /// The same for an event in a message that the stream took at `arrival`, in nanoseconds since 1970: that is its
    /// timestamp where it has `null` in its place.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_arrived(json: &Bytes, arrival: i64) -> Result<Self, Vec<Violation>> {
        Self::parse_with(json, Some(arrival))
    }

    fn parse_with(json: &Bytes, arrival: Option<i64>) -> Result<Self, Vec<Violation>> {
        if json.len() > MAX_EVENT_BYTES {
            let message = format!(
                "the event has {} bytes, at most {MAX_EVENT_BYTES} are taken",
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

    /// As [`Self::parse_arrived`], by the rules of earlier versions, which stored what is refused now.
    pub(crate) fn parse_earlier(json: &Bytes, arrival: i64) -> Option<Self> {
        if json.len() > MAX_EVENT_BYTES || json.first() != Some(&b'{') {
            return None;
        }
        let fields: RawFields<'_> = serde_json::from_slice(json).ok()?;
        fields.check(json, Some(arrival), Rules::Earlier).ok()
    }

    /// Parses a JSON array that holds events and nothing else, in one pass. None for anything else, which
    /// [`Self::parse`] has then to look into; also for an array that could hold an event of more than
    /// [`MAX_EVENT_BYTES`].
    pub(crate) fn parse_all(array: &Bytes) -> Option<Vec<Self>> {
        if array.len() > MAX_EVENT_BYTES {
            return None;
        }
        let all: Vec<Plain<'_>> = serde_json::from_slice(array).ok()?;
        all.into_iter().map(|plain| plain.check(array)).collect()
    }

    /// Bytes of memory that it holds beyond its own size and slices of `body`, which it was parsed from.
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

    /// The event as JSON, its payload byte for byte as it came, its timestamp `null` where arrival filled it in.
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
            /// Takes 1 to [`MAX_NAME_BYTES`] bytes of UTF-8, of any characters.
            ///
            /// # Errors
            /// [`Code::Empty`] or [`Code::TooLong`], with a message for people.
            pub fn new(text: &str) -> Result<Self, (Code, String)> {
                match text.len() {
                    0 => Err((Code::Empty, "must not be empty".to_owned())),
                    1..=MAX_NAME_BYTES => Ok(Self(text.into())),
                    bytes => Err((
                        Code::TooLong,
                        format!("has {bytes} bytes, at most {MAX_NAME_BYTES} are taken"),
                    )),
                }
            }

            /// The text as it came.
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
    /// Names a series of events.
    Topic
);
name!(
    /// Names an event within its topic.
    EventId
);
name!(
    /// Who produced an event.
    Source
);

/// A JSON object as the bytes that came, nested at most [`MAX_DEPTH`] levels deep. They are valid JSON and so valid
/// UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Takes the text of a JSON object.
    ///
    /// # Errors
    /// [`Code::WrongType`] or [`Code::TooDeep`] with a message for people.
    pub fn parse(text: &Bytes) -> Result<Self, (Code, String)> {
        let raw: &RawValue = serde_json::from_slice(text).map_err(|_| no_object())?;
        Self::new(raw.get(), text, Rules::Current)
    }

    /// Takes `text`, valid JSON within `json`.
    fn new(text: &str, json: &Bytes, rules: Rules) -> Result<Self, (Code, String)> {
        if !text.starts_with('{') {
            return Err(no_object());
        }
        if rules == Rules::Current && is_deeper(text.as_bytes(), MAX_DEPTH) {
            let message =
                format!("is nested more than {MAX_DEPTH} levels deep, counting the payload itself");
            return Err((Code::TooDeep, message));
        }
        Ok(Self(json.slice_ref(text.as_bytes())))
    }

    /// The object's text, from its `{` to its `}`: UTF-8, which need not be checked again.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a string.
    ///
    /// # Panics
    /// Never: only text that was parsed as JSON becomes a payload.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a payload was parsed as JSON, which is UTF-8")
    }
}

fn no_object() -> (Code, String) {
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
    fn the_payload_and_the_timestamp_stay_as_they_came() {
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
    fn an_event_as_json_is_the_event() {
        let event = parse(r#"{"payload":{ "a": 1.0 },"topic":"\"ä","event_id":"1","source":"s","timestamp":"2026-01-31T12:00:00Z"}"#).unwrap();
        assert_eq!(Event::parse(&event.to_json()).unwrap(), event);
    }

    #[test]
    fn a_name_is_its_text_with_and_without_escapes() {
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
    fn every_violation_is_named_not_only_the_first() {
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
    fn a_payload_has_at_most_128_levels_and_is_the_first_of_them() {
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
    fn a_timestamp_is_filled_in_only_on_arrival_and_only_where_it_is_null() {
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
    fn half_a_surrogate_pair_is_no_text() {
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
