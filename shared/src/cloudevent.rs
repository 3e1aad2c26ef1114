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
//! The payload has `specversion` first, then the attributes by name, then `data` byte for byte or `data_base64`. One
//! order for all, and strings written in one way, so that the same event sent in another mode is no conflict.
//!
//! The crate `cloudevents-sdk` is not used: it parses data into numbers and prints it again, so that `1.50` comes back
//! as `1.5`, and the integers beyond 64 bits as something else.

mod members;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use self::members::Members;
use crate::event::{
    Code, Event, EventId, MAX_EVENT_BYTES, MAX_NAME_BYTES, Payload, Source, Text, Timestamp, Topic,
    Violation, fitted,
};

/// The only version taken.
const VERSION: &str = "1.0";

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
    let event = Parts::check(members)?.into_event(arrival);
    if event.payload.as_bytes().len() + MAX_FRAME_BYTES > MAX_EVENT_BYTES {
        let bytes = event.to_json().len();
        if bytes > MAX_EVENT_BYTES {
            return Err(vec![too_large(bytes)]);
        }
    }
    Ok(event)
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

    fn into_event(self, arrival: i64) -> Event {
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
        Event {
            topic: Topic::new(&topic).expect(fits),
            event_id: EventId::new(&event_id).expect(fits),
            timestamp: time.unwrap_or_else(|| Timestamp::of_arrival(arrival)),
            source: Source::new(&origin).expect(fits),
            payload: payload(&members),
        }
    }
}

fn payload(members: &Members<'_>) -> Payload {
    let mut text = format!(r#"{{"specversion":"{VERSION}""#);
    let attributes = members.kept.iter();
    let attributes = attributes.map(|(name, value)| (name.as_ref(), value.as_ref()));
    let data = [
        ("data", members.data),
        ("data_base64", members.base64.as_deref()),
    ];
    let data = data
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in attributes.chain(data) {
        // Names need no escapes: they were checked.
        write!(text, r#","{name}":{value}"#).expect("a string takes all text");
    }
    text.push('}');
    Payload::parse(&text.into()).expect("an object, its members JSON each")
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
