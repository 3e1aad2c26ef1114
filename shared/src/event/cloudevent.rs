//! The lossless mapping of `CloudEvents` 1.0 to events: the JSON format of the specification (version 1.0.2).
//!
//! | `CloudEvent` | event |
//! |---|---|
//! | `type` | topic |
//! | `source` and `id` | `event_id`, the JSON array `["source","id"]`, unique for each pair |
//! | `source` | source |
//! | `time` | timestamp; if missing, the time of arrival, marked as filled in |
//! | everything else | payload |
//!
//! Names go through [`bounded_name`]; if a digest replaces `type`, `source` or `id`, the payload contains the original.
//!
//! The payload has a canonical form, so that an event sent again in another mode does not conflict:
//!
//! - `specversion` is first, then the attributes sorted by name, then `data` or `data_base64`.
//! - Attributes are strings: an integer or a boolean becomes its canonical string, since headers carry strings only.
//! - Data without a type is JSON, as the JSON format implies, and gets `datacontenttype` `application/json`.
//!   `application/json` with the parameter `charset=utf-8` is `application/json`; without data it is omitted.
//! - Data is stored as `data` if its type is JSON or UTF-8 text, otherwise as `data_base64`, however it was sent. Empty
//!   data is treated as absent, because the binary mode cannot distinguish the two.
//! - Strings, including those within data, have one canonical spelling. Everything else within JSON data is kept byte
//!   for byte.
//!
//! Anything the specification leaves undefined is kept as received: JSON values other than strings if the type is not
//! JSON, strings in a character set other than UTF-8, and equivalent spellings of media types. `null` is data.
//!
//! White space within JSON data is stored as received but not compared ([`is_same_payload`]), because libraries that
//! embed data in the structured mode drop it.
//!
//! The crate `cloudevents-sdk` is not used: it parses data into numbers and serializes them again, which turns `1.50`
//! into `1.5` and alters integers beyond 64 bits.

mod data;
mod members;
mod strings;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

pub use self::data::is_json;
use self::members::Members;
use crate::event::{
    Code, Event, EventId, MAX_DEPTH, MAX_EVENT_BYTES, MAX_NAME_BYTES, Payload, Source, Text,
    Timestamp, Topic, Violation, bounded_name,
};

/// The only supported version.
const VERSION: &str = "1.0";

/// The beginning of every payload.
const PAYLOAD_HEAD: &str = r#"{"specversion":"1.0""#;

/// Upper bound on the bytes of an event's JSON without its payload: three names and a timestamp, with each byte escaped
/// as six, and the names of the fields.
const MAX_FRAME_BYTES: usize = 4 * 6 * MAX_NAME_BYTES + 256;

/// Converts a `CloudEvent` in the JSON format, which must already be syntactically valid JSON, to an event. Without a
/// `time` its timestamp is `arrival`, in nanoseconds since 1970; [`Event::to_json`] writes that as `null`.
///
/// # Errors
/// The violations of the rules, as for [`Event::parse`], with the names of the `CloudEvent`'s own members. For a version
/// other than 1.0 the version is the only violation. The JSON of the `CloudEvent` and that of the resulting event are
/// limited to [`MAX_EVENT_BYTES`] each.
pub fn parse(json: &Bytes, arrival: i64) -> Result<Event, Vec<Violation>> {
    let whole = |code, message| vec![Violation::new(None, code, message)];
    if json.len() > MAX_EVENT_BYTES {
        return Err(vec![too_large(json.len())]);
    }
    if json.first() != Some(&b'{') {
        let message = "a CloudEvent is a JSON object".to_owned();
        return Err(whole(Code::WrongType, message));
    }
    let members: Members<'_> =
        serde_json::from_slice(json).map_err(|err| whole(Code::WrongType, err.to_string()))?;
    let event = Parts::check(members)?.into_event(arrival)?;
    if event.payload.as_bytes().len() + MAX_FRAME_BYTES > MAX_EVENT_BYTES {
        let bytes = event.to_json().len();
        if bytes > MAX_EVENT_BYTES {
            return Err(vec![too_large(bytes)]);
        }
    }
    Ok(event)
}

/// The member of a structured event that is equivalent to a body in the binary mode: its name, and its value as JSON.
/// `None` for an empty body.
#[must_use]
pub fn data_member(media_type: Option<&str>, body: &[u8]) -> Option<(&'static str, String)> {
    data::of_bytes(media_type, body).map(|(name, value)| (name, value.into_owned()))
}

/// The violation of an event larger than [`MAX_EVENT_BYTES`].
#[must_use]
pub fn too_large(bytes: usize) -> Violation {
    let message =
        format!("the event has {bytes} bytes as JSON; at most {MAX_EVENT_BYTES} are accepted");
    Violation::new(None, Code::TooLarge, message)
}

/// Whether this JSON is an object with a member `specversion`, and so a `CloudEvent` of any version. An event in this
/// project's own format never has that field.
#[must_use]
pub fn has_specversion(json: &Bytes) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<HasSpecversion>(json).is_ok_and(|HasSpecversion(found)| found)
}

/// The members of a `CloudEvent`, checked.
struct Parts<'a> {
    kind: Cow<'a, str>,
    source: Cow<'a, str>,
    id: Cow<'a, str>,
    time: Option<Timestamp>,
    members: Members<'a>,
}

impl<'a> Parts<'a> {
    fn check(mut members: Members<'a>) -> Result<Self, Vec<Violation>> {
        let version = members.required("specversion");
        if let Some(version) = version.filter(|version| version != VERSION) {
            let shown: String = version.chars().take(20).collect();
            let message = format!("is {shown:?}; only CloudEvents 1.0 is supported");
            let violation = Violation::new(Some("specversion"), Code::Unsupported, message);
            return Err(vec![violation]);
        }
        let kind = members.required("type");
        let source = members.required("source");
        let id = members.required("id");
        let time = members.optional("time", Timestamp::new);
        members.check_rest();
        match (kind, source, id) {
            (Some(kind), Some(source), Some(id)) if members.violations.is_empty() => Ok(Self {
                kind,
                source,
                id,
                time,
                members,
            }),
            _ => Err(members.violations),
        }
    }

    fn into_event(self, arrival: i64) -> Result<Event, Vec<Violation>> {
        let Self {
            kind,
            source,
            id,
            time,
            mut members,
        } = self;
        let pair =
            serde_json::to_string(&[&source, &id]).expect("strings always serialize to JSON");
        let (topic, event_id, origin) = (
            bounded_name(&kind),
            bounded_name(&pair),
            bounded_name(&source),
        );
        let [is_pair_hashed, is_source_hashed] =
            [&event_id, &origin].map(|name| matches!(name, Cow::Owned(_)));
        if matches!(topic, Cow::Owned(_)) {
            members.keep("type", &kind);
        }
        if is_pair_hashed || is_source_hashed {
            members.keep("source", &source);
        }
        if is_pair_hashed {
            members.keep("id", &id);
        }
        let fits = "a required text is not empty, and bounded_name limits its length";
        Ok(Event {
            topic: Topic::new(&topic).expect(fits),
            event_id: EventId::new(&event_id).expect(fits),
            timestamp: time.unwrap_or_else(|| Timestamp::of_arrival(arrival)),
            source: Source::new(&origin).expect(fits),
            payload: payload(&members)?,
        })
    }
}

fn payload(members: &Members<'_>) -> Result<Payload, Vec<Violation>> {
    Payload::parse(&payload_text(members).into()).map_err(|(code, _)| {
        // The payload is an object of valid JSON values, so only the data can be nested too deep.
        let max = MAX_DEPTH - 1;
        let message = format!("is nested more than {max} levels deep");
        vec![Violation::new(Some("data"), code, message)]
    })
}

fn payload_text(members: &Members<'_>) -> String {
    let mut text = PAYLOAD_HEAD.to_owned();
    let attributes = members.attributes.iter();
    let attributes = attributes.map(|(name, value)| (name.as_ref(), value.as_ref()));
    let data = members
        .data
        .iter()
        .map(|(name, value)| (*name, value.as_ref()));
    for (name, value) in attributes.chain(data) {
        // Names were checked and need no escapes.
        write!(text, r#","{name}":{value}"#).expect("writing to a string never fails");
    }
    text.push('}');
    text
}

/// Whether two payloads with the same identity are of the same `CloudEvent`, ignoring white space within its data and
/// differences in the canonical form of earlier versions of this program. False if one is not the payload of a
/// `CloudEvent`.
#[must_use]
pub fn is_same_payload(event_id: &EventId, one: &[u8], other: &[u8]) -> bool {
    let id = event_id.as_str();
    let is_cloudevent = |payload: &[u8]| payload.starts_with(PAYLOAD_HEAD.as_bytes());
    (id.starts_with("[\"") || id.starts_with("sha256:"))
        && is_cloudevent(one)
        && is_cloudevent(other)
        && canonical(one).is_some_and(|one| canonical(other) == Some(one))
}

/// The canonical form of a payload, without white space.
fn canonical(payload: &[u8]) -> Option<String> {
    let mut members: Members<'_> = serde_json::from_slice(payload).ok()?;
    members.required("specversion")?;
    members.check_rest();
    let is_valid = members.violations.is_empty();
    is_valid.then(|| strings::compact(&payload_text(&members)))
}

/// Whether an object has a member `specversion`.
struct HasSpecversion(bool);

impl<'de> Deserialize<'de> for HasSpecversion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpecversionVisitor;
        impl<'de> Visitor<'de> for SpecversionVisitor {
            type Value = HasSpecversion;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HasSpecversion, A::Error> {
                let mut found = false;
                while let Some(Text(name)) = map.next_key()? {
                    found |= name == "specversion";
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(HasSpecversion(found))
            }
        }
        deserializer.deserialize_map(SpecversionVisitor)
    }
}
