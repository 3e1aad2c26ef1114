//! `CloudEvents` 1.0 as events of ours: the JSON format of the specification (version 1.0.2), nothing lost.
//!
//! | of a `CloudEvent` | becomes |
//! |---|---|
//! | `type` | topic |
//! | `source` and `id` | `event_id`, as the JSON array `["source","id"]`: no two pairs have the same text |
//! | `source` | source |
//! | `time` | timestamp; without one it is the time of arrival, marked as such |
//! | the rest | payload |
//!
//! Names go through [`fitted`]; `type`, `source` and `id` stand in the payload too where a digest took their place.
//!
//! The payload is a canonical form, so that an event sent again in another mode is no conflict:
//!
//! - `specversion` comes first, then the attributes by name, then `data` or `data_base64`.
//! - Attributes are strings: an integer and a boolean as their canonical string, which is all that headers have.
//! - Data without a type is JSON and says so, as the JSON format implies. `application/json` with the parameter
//!   `charset=utf-8` is `application/json`; without data it says nothing and is left out.
//! - Data is `data` where it is JSON or text in UTF-8 by its type, otherwise `data_base64`, however it was sent. Empty
//!   data is no data, for the binary mode cannot tell them apart.
//! - Strings, those within the data too, are written in one way. All else within JSON data stays byte for byte.
//!
//! What the specification leaves open stays as it came: JSON other than a string where the type is not JSON, strings in
//! a character set other than UTF-8, and media types that only look different. `null` is data.
//!
//! White space within JSON data is stored as it came and not compared ([`is_same_payload`]), for libraries that embed
//! data in the structured mode leave it out.
//!
//! The crate `cloudevents-sdk` is not used: it parses data into numbers and prints it again, so that `1.50` comes back
//! as `1.5`, and the integers beyond 64 bits as something else.

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
    Timestamp, Topic, Violation, fitted,
};

/// The only version taken.
const VERSION: &str = "1.0";

/// What each payload begins with.
const PAYLOAD_HEAD: &str = r#"{"specversion":"1.0""#;

/// More than all of an event's JSON but its payload: three names and a time, each byte escaped as six, and the fields'
/// own names.
const MAX_FRAME_BYTES: usize = 4 * 6 * MAX_NAME_BYTES + 256;

/// The event of a `CloudEvent` in the JSON format, which must be syntactically valid already. `arrival`, in nanoseconds
/// since 1970, is its timestamp where it has no `time`; [`Event::to_json`] writes that as `null`.
///
/// # Errors
/// The violations of the rules, as [`Event::parse`] tells them, by the names that the `CloudEvent` has for its parts.
/// Of a version other than 1.0 only that it is one. Its JSON, and the JSON of the event that it becomes, have at most
/// [`MAX_EVENT_BYTES`] each.
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

/// The member of a structured event that says the same as a body of the binary mode: its name, and its value as JSON.
/// None for an empty body.
#[must_use]
pub fn data_member(media_type: Option<&str>, body: &[u8]) -> Option<(&'static str, String)> {
    data::of_bytes(media_type, body).map(|(name, value)| (name, value.into_owned()))
}

/// What an event of more than [`MAX_EVENT_BYTES`] is told.
#[must_use]
pub fn too_large(bytes: usize) -> Violation {
    let message =
        format!("the event has {bytes} bytes as JSON, at most {MAX_EVENT_BYTES} are taken");
    Violation::new(None, Code::TooLarge, message)
}

/// Whether this JSON is an object with a `specversion`: meant as a `CloudEvent`, of whatever version. Events of ours
/// have no such field.
#[must_use]
pub fn is_meant(json: &Bytes) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<Meant>(json).is_ok_and(|Meant(is_meant)| is_meant)
}

/// What a `CloudEvent` says, checked.
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
            let message = format!("is {shown:?}; only CloudEvents of version 1.0 are taken");
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
        let pair = serde_json::to_string(&[&source, &id]).expect("texts are always JSON");
        let (topic, event_id, origin) = (fitted(&kind), fitted(&pair), fitted(&source));
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
        let fits = "neither empty nor too long: a required text, and fitted";
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
        // It is an object whose members are JSON each, so only its data can be at fault.
        let most = MAX_DEPTH - 1;
        let message = format!("is nested more than {most} levels deep");
        vec![Violation::new(Some("data"), code, message)]
    })
}

fn payload_text(members: &Members<'_>) -> String {
    let mut text = PAYLOAD_HEAD.to_owned();
    let attributes = members.kept.iter();
    let attributes = attributes.map(|(name, value)| (name.as_ref(), value.as_ref()));
    let data = members
        .data
        .iter()
        .map(|(name, value)| (*name, value.as_ref()));
    for (name, value) in attributes.chain(data) {
        // Names need no escapes: they were checked.
        write!(text, r#","{name}":{value}"#).expect("a string takes all text");
    }
    text.push('}');
    text
}

/// Whether two payloads of one identity are those of the same `CloudEvent`: white space within its data does not matter,
/// nor whether an earlier version of this program wrote one of them, whose canonical form was another. False where one is
/// not the payload of a `CloudEvent`.
#[must_use]
pub fn is_same_payload(event_id: &EventId, one: &[u8], other: &[u8]) -> bool {
    let id = event_id.as_str();
    let is_cloudevent = |payload: &[u8]| payload.starts_with(PAYLOAD_HEAD.as_bytes());
    (id.starts_with("[\"") || id.starts_with("sha256:"))
        && is_cloudevent(one)
        && is_cloudevent(other)
        && canonical(one).is_some_and(|one| canonical(other) == Some(one))
}

/// A payload's canonical form, without white space.
fn canonical(payload: &[u8]) -> Option<String> {
    let mut members: Members<'_> = serde_json::from_slice(payload).ok()?;
    members.required("specversion")?;
    members.check_rest();
    let is_valid = members.violations.is_empty();
    is_valid.then(|| strings::compact(&payload_text(&members)))
}

/// Whether an object has a member `specversion`.
struct Meant(bool);

impl<'de> Deserialize<'de> for Meant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MeantVisitor;
        impl<'de> Visitor<'de> for MeantVisitor {
            type Value = Meant;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meant, A::Error> {
                let mut is_meant = false;
                while let Some(Text(name)) = map.next_key()? {
                    is_meant |= name == "specversion";
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(Meant(is_meant))
            }
        }
        deserializer.deserialize_map(MeantVisitor)
    }
}
