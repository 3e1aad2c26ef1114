//! The event, parsed at the edge into a type that cannot be invalid.
//!
//! An event is a JSON object with exactly the five fields of [`FIELDS`], each once. Its payload is kept as
//! the bytes received: it is checked to be a JSON object and never reserialized from parsed values.
//!
//! In a message the timestamp may be `null` when the producer has no clock. The time at which the stream stored the message
//! is used instead; it is marked as filled in and never compared with another timestamp.

mod bounded_name;
pub mod cloudevent;
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

pub(crate) use self::fields::Text;
pub use self::{
    bounded_name::bounded_name,
    content::Content,
    depth::MAX_DEPTH,
    timestamp::{Instant, Timestamp},
    violation::{Code, Violation},
};
use self::{
    depth::is_deeper,
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
                "the event has {} bytes; at most {MAX_EVENT_BYTES} are accepted",
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
                        format!("has {bytes} bytes; at most {MAX_NAME_BYTES} are accepted"),
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
mod tests;
