//! Messages for tests: few identities and few contents, so that duplicates and conflicts are common.

use bytes::Bytes;
use shared::{message, stream::StreamState};

use crate::store::Delivery;

/// The parts of one arrival.
#[derive(Debug, Clone)]
pub enum Arrival {
    Event { topic: u8, id: u8, content: u8 },
    Noise,
}

pub fn json(arrival: &Arrival) -> String {
    match arrival {
        Arrival::Noise => "3".to_owned(),
        Arrival::Event { topic, id, content } => format!(
            r#"{{"topic":"t{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{"content":{content}}}}}"#
        ),
    }
}

/// A message with a sequence, which is also its time, on the subject of its first event's topic.
pub fn delivery(sequence: u64, arrivals: &[Arrival]) -> Delivery {
    let topic = arrivals.iter().find_map(|arrival| match arrival {
        Arrival::Event { topic, .. } => Some(*topic),
        Arrival::Noise => None,
    });
    let subject = format!("events.t{}", topic.unwrap_or(0));
    let bodies: Vec<_> = arrivals.iter().map(json).collect();
    delivery_on(subject, sequence, &bodies)
}

/// The same, on the subject for events of any topics.
pub fn mixed_delivery(sequence: u64, arrivals: &[Arrival]) -> Delivery {
    let bodies: Vec<_> = arrivals.iter().map(json).collect();
    delivery_on("events".to_owned(), sequence, &bodies)
}

/// A message with these elements.
pub fn delivery_on(subject: String, sequence: u64, elements: &[String]) -> Delivery {
    let bodies: Vec<_> = elements.iter().cloned().map(Bytes::from).collect();
    let time = i64::try_from(sequence).unwrap();
    Delivery {
        senders: shared::publish::Senders::default(),
        arrivals: message::decode(&subject, &message::encode(&bodies, 0), time),
        subject,
        sequence,
        time,
    }
}

/// The arrivals of a message with one event of topic `t0`.
pub fn event(id: u8) -> Vec<Arrival> {
    vec![Arrival::Event {
        topic: 0,
        id,
        content: 0,
    }]
}

/// The stream of the tests with these sequences.
pub fn stream(first: u64, last: u64) -> StreamState {
    StreamState {
        name: "EVENTS".to_owned(),
        created: 1,
        first,
        last,
        messages: last + 1 - first,
        bytes: 0,
    }
}
