//! The message that NATS carries: a subject, and a body with events of the topics that the subject may carry.
//!
//! The body is a JSON array of events, or a single event, so that any NATS client can publish. An event may also be a
//! `CloudEvent` in the JSON format.

mod elements;
mod rejection;

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

pub use self::{
    elements::{BodyError, Elements, elements, wrapped},
    rejection::{MAX_DETAIL_BYTES, Reason, Rejection},
};
use crate::{
    event::{Event, Violation, cloudevent},
    subject::{self, Carried, MIXED},
};

/// Most elements of a message that are decoded one by one. An event has at least 80 bytes, so a message of the largest
/// size configured for brokers (8 MB) cannot hold more events. More elements become a single rejection, because each would
/// take many times its own size in memory.
pub const MAX_ELEMENTS: usize = 100_000;

/// Bound on the total bytes of rejection details for one message. Further rejections have [`NOT_DESCRIBED`] instead, because
/// a detail can be many times as long as its element.
const MAX_DETAILS_BYTES: usize = 4 * 1024 * 1024;

const NOT_DESCRIBED: &str = "not described: the details of earlier rejected elements in this message reached the size limit";

/// The decoded elements of a body, in their order.
pub type Arrivals = Vec<Result<Event, Rejection>>;

/// Decodes the body of a message that was published on `subject` and stored by the stream at `time`, in nanoseconds since
/// 1970. Each element is decoded on its own; a body without elements is one rejection.
#[must_use]
pub fn decode(subject: &str, body: &Bytes, time: i64) -> Arrivals {
    let whole = |reason, detail| {
        vec![Err(Rejection {
            reason,
            detail,
            body: body.clone(),
        })]
    };
    if body.is_empty() {
        return whole(Reason::Empty, "the body is empty".into());
    }
    let carried = Carried::on(subject);
    if let Some(events) = Event::parse_all(body)
        && !events.is_empty()
        && events.iter().all(|event| carried.includes(&event.topic))
    {
        return events.into_iter().map(Ok).collect();
    }
    let elements = match elements(body, MAX_ELEMENTS) {
        Ok(Elements { total: 0, .. }) => {
            return whole(Reason::NotEvents, "the array is empty".into());
        }
        Ok(Elements { total, .. }) if total > MAX_ELEMENTS => {
            let detail =
                format!("the array has {total} elements; at most {MAX_ELEMENTS} are accepted");
            return whole(Reason::TooMany, detail.into());
        }
        Ok(elements) => elements.kept,
        Err(err @ BodyError::NotEvents) => {
            return whole(Reason::NotEvents, err.to_string().into());
        }
        Err(BodyError::NotJson(err)) => return whole(Reason::NotJson, err.to_string().into()),
    };
    let mut details = 0;
    elements
        .into_iter()
        .map(|json| {
            let mut arrival = decode_element(subject, &carried, json, time);
            if let Err(rejection) = &mut arrival {
                bound(&mut rejection.detail, &mut details);
            }
            arrival
        })
        .collect()
}

/// Bounds one detail, and with `total` all details of its message.
fn bound(detail: &mut Cow<'static, str>, total: &mut usize) {
    let Cow::Owned(text) = detail else { return };
    if *total >= MAX_DETAILS_BYTES {
        *detail = NOT_DESCRIBED.into();
        return;
    }
    text.truncate(text.floor_char_boundary(MAX_DETAIL_BYTES));
    text.shrink_to_fit();
    *total += text.len();
}

/// Bytes of memory that [`decode`] allocated for `body`: the arrivals and everything they own except slices of `body`.
#[must_use]
pub fn decoded_bytes(arrivals: &Arrivals, body: &Bytes) -> usize {
    let held = |arrival: &Result<Event, Rejection>| match arrival {
        Ok(event) => event.own_bytes(body),
        Err(Rejection { detail, .. }) => match detail {
            Cow::Owned(text) => text.capacity(),
            Cow::Borrowed(_) => 0,
        },
    };
    arrivals.capacity() * size_of::<Result<Event, Rejection>>()
        + arrivals.iter().map(held).sum::<usize>()
}

fn decode_element(
    subject: &str,
    carried: &Carried,
    json: Bytes,
    time: i64,
) -> Result<Event, Rejection> {
    let event = Event::parse_arrived(&json, time).or_else(|violations| {
        if cloudevent::has_specversion(&json) {
            cloudevent::parse(&json, time)
        } else {
            Err(violations)
        }
    });
    let event = event.map_err(|violations| Rejection {
        reason: Reason::InvalidEvent,
        detail: describe(violations),
        body: json.clone(),
    })?;
    if carried.includes(&event.topic) {
        return Ok(event);
    }
    Err(Rejection {
        reason: Reason::WrongSubject,
        detail: format!(
            "its topic must be published on {} or on {MIXED}, not on {subject}",
            subject::of(&event.topic)
        )
        .into(),
        body: json,
    })
}

/// All violations on one line, bounded. The single violation of a malformed element keeps its text without a copy.
fn describe(mut violations: Vec<Violation>) -> Cow<'static, str> {
    const SHOWN: usize = 5;
    if let [
        Violation {
            field: None,
            message,
            ..
        },
    ] = violations.as_mut_slice()
    {
        return std::mem::take(message);
    }
    let mut lines: Vec<String> = violations
        .iter()
        .take(SHOWN)
        .map(|violation| violation.to_string().chars().take(300).collect())
        .collect();
    if violations.len() > SHOWN {
        lines.push(format!("and {} more", violations.len() - SHOWN));
    }
    lines.join("; ").into()
}

/// Encodes a body of `events`, each the JSON of one event.
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
    use proptest::prelude::*;

    use super::*;

    fn event(topic: &str, id: &str) -> String {
        format!(
            r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}}}}"#
        )
    }

    fn reasons(subject: &str, body: &str) -> Vec<Option<&'static str>> {
        decode(subject, &Bytes::copy_from_slice(body.as_bytes()), 0)
            .into_iter()
            .map(|arrival| arrival.err().map(|rejection| rejection.reason.as_str()))
            .collect()
    }

    #[test]
    fn an_array_and_a_single_object_are_decoded() {
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
    fn more_elements_than_a_message_can_have_events_are_one_rejection() {
        let noise = |count| format!("[{}]", vec!["1"; count].join(","));
        assert_eq!(
            reasons("events.t", &noise(MAX_ELEMENTS)).len(),
            MAX_ELEMENTS
        );
        assert_eq!(
            reasons("events.t", &noise(MAX_ELEMENTS + 1)),
            [Some("too_many")]
        );
    }

    #[test]
    fn a_rejected_element_does_not_affect_its_neighbours() {
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
    fn a_message_on_the_bare_subject_holds_events_of_any_topics() {
        let body = format!("[{},3,{}]", event("t", "1"), event("other", "1"));
        assert_eq!(
            reasons("events", &body),
            [None, Some("invalid_event"), None]
        );
        let body = format!("[{},{}]", event("t", "1"), event("other", "1"));
        assert_eq!(reasons("events", &body), [None, None]);
        for foreign in ["events.", "event", "eventsx"] {
            assert_eq!(
                reasons(foreign, &body),
                [Some("wrong_subject"), Some("wrong_subject")],
                "{foreign}"
            );
        }
    }

    #[test]
    fn the_details_of_one_message_are_bounded_for_any_number_of_rejections() {
        let other = event(&"é".repeat(120), "1");
        let body = format!("[{}]", vec![other.as_str(); 20_000].join(","));
        let subject = format!("events.{}", "s".repeat(4_000));
        let arrivals = decode(&subject, &body.into(), 0);
        let details: Vec<_> = arrivals
            .iter()
            .map(|arrival| &arrival.as_ref().unwrap_err().detail)
            .collect();
        assert!(details[0].starts_with("its topic must be published on "));
        assert!(
            details
                .iter()
                .all(|detail| detail.len() <= MAX_DETAIL_BYTES)
        );
        assert_eq!(details[19_999], NOT_DESCRIBED);
        let owned = details
            .iter()
            .filter(|detail| matches!(detail, Cow::Owned(_)));
        let total: usize = owned.map(|detail| detail.len()).sum();
        assert!(total <= MAX_DETAILS_BYTES + MAX_DETAIL_BYTES, "{total}");
    }

    proptest! {
        /// A body of valid events is decoded in one pass, any other body element by element.
        #[test]
        fn an_element_is_decoded_the_same_among_any_others(
            elements in proptest::collection::vec(element(), 1..6),
        ) {
            let body = Bytes::from(format!("[{}]", elements.join(" , ")));
            let each = elements.iter().flat_map(|element| {
                // Among others that rule out the single pass.
                let body = Bytes::from(format!("[0,{element}]"));
                decode("events.t", &body, 0).into_iter().skip(1)
            });
            prop_assert_eq!(decode("events.t", &body, 0), each.collect::<Arrivals>());
        }
    }

    #[test]
    fn a_cloudevent_is_decoded_as_an_event_of_its_type() {
        let cloud = |more: &str| format!(r#"{{"specversion":"1.0","source":"s","id":"1"{more}}}"#);
        let right = cloud(r#","type":"t""#);
        let body = Bytes::from(format!("[{},{right}]", event("t", "1")));
        let arrivals = decode("events.t", &body, 1_000_000_001);
        let arrived = arrivals[1].as_ref().unwrap();
        assert_eq!(arrived.event_id.as_str(), r#"["s","1"]"#);
        assert_eq!(
            arrived.timestamp,
            crate::event::Timestamp::of_arrival(1_000_000_001)
        );
        assert_eq!(reasons("events.t", &right), [None]);
        assert_eq!(reasons("events.other", &right), [Some("wrong_subject")]);
        let wrong = decode("events.t", &cloud("").into(), 0).remove(0);
        assert_eq!(wrong.unwrap_err().detail, "type: is required");
    }

    #[test]
    fn events_of_earlier_versions_are_recognized_by_their_rules_and_rejected_by_the_current_ones() {
        let deep = format!(
            "{}{}",
            r#"{"a":"#.repeat(200),
            "0".to_owned() + &"}".repeat(200)
        );
        let earlier = [
            event("t", "1").replace('T', " "),
            event("t", "1").replace('T', "x"),
            event("t", "1").replace("{}", &deep),
        ];
        for json in earlier {
            let rejection = decode("events.t", &json.clone().into(), 0).remove(0);
            let rejection = rejection.unwrap_err();
            assert_eq!(rejection.reason, Reason::InvalidEvent);
            let stored = rejection.earlier_event("events.t", 0).unwrap();
            assert_eq!(stored.to_json(), json);
            assert_eq!(rejection.earlier_event("events.other", 0), None);
        }
        let never = event("t", "1").replace('T', "TT");
        let rejection = decode("events.t", &never.into(), 0).remove(0).unwrap_err();
        assert_eq!(rejection.earlier_event("events.t", 0), None);
    }

    fn element() -> impl Strategy<Value = String> {
        let wrong = [
            "7",
            "{}",
            r#"["t","1","2026-01-31T12:00:00Z","s",{}]"#,
            r#"{"topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":[]}"#,
            r#"{"topic":"t","event_id":"1","timestamp":"today","source":"s","payload":{}}"#,
            r#"{"topic":"t","event_id":"1","timestamp":"2026-01-31 12:00:00Z","source":"s","payload":{}}"#,
            r#"{"topic":"t","event_id":"","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{}}"#,
            r#"{"topic":"t","event_id":"\ud800","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{}}"#,
            r#"{"topic":"t","topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{}}"#,
            r#"{"topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{},"more":1}"#,
        ];
        let right = [
            r#"{"specversion":"1.0","type":"t","source":"s","id":"1","data":1.50}"#,
            r#"{"payload":{ "a" : [1.0, {"a":1,"a":2}] },"source":"s","topic":"\u0074","event_id":"\"1\"","timestamp":"2026-01-31T12:00:00+02:00"}"#,
        ];
        prop_oneof![
            3 => "[a-z]{1,3}".prop_map(|id| event("t", &id)),
            1 => proptest::sample::select(right.to_vec()).prop_map(str::to_owned),
            1 => Just(event("other", "1")),
            1 => proptest::sample::select(wrong.to_vec()).prop_map(str::to_owned),
        ]
    }

    #[test]
    fn an_encoded_body_decodes_to_its_events() {
        let events = [Bytes::from(event("t", "1")), Bytes::from(event("t", "2"))];
        let body = encode(&events, 0);
        assert_eq!(elements(&body, 9).unwrap().kept, events);
    }

    #[test]
    fn a_wrapper_has_events_as_its_only_member() {
        let wrapped = |body: &str| wrapped(&Bytes::copy_from_slice(body.as_bytes()), 1);
        assert_eq!(wrapped(&event("t", "1")).unwrap(), None);
        let elements = wrapped(r#"{"events":[1,{}]}"#).unwrap().unwrap();
        assert_eq!((elements.kept.len(), elements.total), (1, 2));
        assert!(wrapped(r#"{"events":[],"more":1}"#).is_err());
        assert!(wrapped(r#"{"events":[],"events":[]}"#).is_err());
        assert!(wrapped(r#"{"events":{}}"#).is_err());
        let text = format!(r#"{{"events":"{}"}}"#, "x".repeat(10_000));
        assert!(wrapped(&text).unwrap_err().to_string().len() < 200);
    }
}
