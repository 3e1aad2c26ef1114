//! The message: what NATS carries, a subject and a body with the events of one topic.
//!
//! The body is a JSON array of events. A single object is read too, so that any NATS client can publish.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    event::{Event, Topic, Violation},
    subject,
};

/// What a body holds, in the order of its elements.
pub type Arrivals = Vec<Result<Event, Rejection>>;

/// An arrival that cannot be stored as an event: kept with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub detail: String,
    /// The element of the array, or the whole body where it has no elements.
    pub body: Bytes,
}

/// Why an arrival was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The body has no bytes.
    Empty,
    /// The body is not JSON.
    NotJson,
    /// The body is JSON, but neither an object nor an array with an element.
    NotEvents,
    /// The element breaks the rules of an event.
    InvalidEvent,
    /// The event is of another topic than its subject says.
    WrongSubject,
}

impl Reason {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not_json",
            Self::NotEvents => "not_events",
            Self::InvalidEvent => "invalid_event",
            Self::WrongSubject => "wrong_subject",
        }
    }
}

/// Why a body has no elements to look at.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The bytes are not JSON; the error says where.
    #[error(transparent)]
    NotJson(#[from] serde_json::Error),
    /// JSON, but neither an object nor an array.
    #[error("the body is neither an event nor an array of events")]
    NotEvents,
}

/// The elements of a JSON array, or the one object, each with its own bytes (no copy), not yet looked into.
///
/// # Errors
/// Where the whole body is not JSON, or is a string, number, boolean or null.
pub fn elements(body: &Bytes) -> Result<Vec<Bytes>, BodyError> {
    let raws: Vec<&RawValue> = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice(body)?,
        first => {
            let whole: &RawValue = serde_json::from_slice(body)?;
            if first != Some(&b'{') {
                return Err(BodyError::NotEvents);
            }
            vec![whole]
        }
    };
    Ok(raws
        .into_iter()
        .map(|raw| body.slice_ref(raw.get().as_bytes()))
        .collect())
}

/// The elements of `{"events":[…]}`, or none where `body`, an object, has no field of that name.
///
/// # Errors
/// Where `events` is not an array or is not the only field.
pub fn wrapped(body: &Bytes) -> Result<Option<Vec<Bytes>>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapper<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Probe {
        events: Option<serde::de::IgnoredAny>,
    }
    // A repeated `events` fails the probe; the wrapper then says so in its own error.
    if let Ok(Probe { events: None }) = serde_json::from_slice(body) {
        return Ok(None);
    }
    let wrapper: Wrapper<'_> = serde_json::from_slice(body)?;
    let slice = |raw: &RawValue| body.slice_ref(raw.get().as_bytes());
    Ok(Some(wrapper.events.into_iter().map(slice).collect()))
}

/// Decodes the body of a message that came on `subject`. Each element is judged by itself; a body
/// without elements is one rejection.
#[must_use]
pub fn decode(subject: &str, body: &Bytes) -> Arrivals {
    let whole = |reason, detail: String| {
        vec![Err(Rejection {
            reason,
            detail,
            body: body.clone(),
        })]
    };
    if body.is_empty() {
        return whole(Reason::Empty, "the body has no bytes".to_owned());
    }
    let elements = match elements(body) {
        Ok(elements) if elements.is_empty() => {
            return whole(Reason::NotEvents, "the array has no element".to_owned());
        }
        Ok(elements) => elements,
        Err(err @ BodyError::NotEvents) => return whole(Reason::NotEvents, err.to_string()),
        Err(BodyError::NotJson(err)) => return whole(Reason::NotJson, err.to_string()),
    };
    let topic = subject::topic(subject);
    elements
        .into_iter()
        .map(|json| judge(subject, topic.as_ref(), json))
        .collect()
}

fn judge(subject: &str, topic: Option<&Topic>, json: Bytes) -> Result<Event, Rejection> {
    let event = Event::parse(&json).map_err(|violations| Rejection {
        reason: Reason::InvalidEvent,
        detail: describe(&violations),
        body: json.clone(),
    })?;
    if topic == Some(&event.topic) {
        return Ok(event);
    }
    Err(Rejection {
        reason: Reason::WrongSubject,
        detail: format!(
            "its topic belongs on {}, it came on {subject}",
            subject::of(&event.topic)
        ),
        body: json,
    })
}

/// All violations in one line, bounded: an event of half a megabyte can have thousands.
fn describe(violations: &[Violation]) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = violations
        .iter()
        .take(SHOWN)
        .map(|violation| violation.to_string().chars().take(300).collect())
        .collect();
    if violations.len() > SHOWN {
        lines.push(format!("and {} more", violations.len() - SHOWN));
    }
    lines.join("; ")
}

/// The body that carries `events`, each the JSON of one event.
#[must_use]
pub fn encode<'a>(events: impl IntoIterator<Item = &'a Bytes>, capacity: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(capacity);
    for (index, event) in events.into_iter().enumerate() {
        body.put_u8(if index == 0 { b'[' } else { b',' });
        body.put_slice(event);
    }
    body.put_u8(b']');
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topic: &str, id: &str) -> String {
        format!(
            r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}}}}"#
        )
    }

    fn reasons(subject: &str, body: &str) -> Vec<Option<&'static str>> {
        decode(subject, &Bytes::copy_from_slice(body.as_bytes()))
            .into_iter()
            .map(|arrival| arrival.err().map(|rejection| rejection.reason.as_str()))
            .collect()
    }

    #[test]
    fn an_array_and_a_single_object_are_read() {
        let (a, b) = (event("t", "1"), event("t", "2"));
        assert_eq!(reasons("events.t", &format!(" [{a} ,{b}] ")), [None, None]);
        assert_eq!(reasons("events.t", &a), [None]);
    }

    #[test]
    fn a_body_without_elements_is_one_rejection() {
        assert_eq!(reasons("events.t", ""), [Some("empty")]);
        assert_eq!(reasons("events.t", "[]"), [Some("not_events")]);
        assert_eq!(reasons("events.t", "7"), [Some("not_events")]);
        assert_eq!(reasons("events.t", "   "), [Some("not_json")]);
        assert_eq!(
            reasons("events.t", &format!("[{},", event("t", "1"))),
            [Some("not_json")]
        );
    }

    #[test]
    fn a_rejected_element_leaves_its_neighbours_alone() {
        let body = format!("[{},3,{},{{}}]", event("t", "1"), event("other", "1"));
        assert_eq!(
            reasons("events.t", &body),
            [
                None,
                Some("invalid_event"),
                Some("wrong_subject"),
                Some("invalid_event")
            ]
        );
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let events = [Bytes::from(event("t", "1")), Bytes::from(event("t", "2"))];
        let body = encode(&events, 0);
        assert_eq!(elements(&body).unwrap(), events);
    }

    #[test]
    fn a_wrapper_holds_events_and_nothing_else() {
        let wrapped = |body: &str| wrapped(&Bytes::copy_from_slice(body.as_bytes()));
        assert_eq!(wrapped(&event("t", "1")).unwrap(), None);
        assert_eq!(wrapped(r#"{"events":[1,{}]}"#).unwrap().unwrap().len(), 2);
        assert!(wrapped(r#"{"events":[],"more":1}"#).is_err());
        assert!(wrapped(r#"{"events":[],"events":[]}"#).is_err());
        assert!(wrapped(r#"{"events":{}}"#).is_err());
    }
}
