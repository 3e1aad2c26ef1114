//! Messages of a script: few identities and few contents, so that they collide.

use bytes::Bytes;
use shared::{event::Topic, message, subject};

/// One message of the stream.
#[derive(Debug, Clone)]
pub struct Message {
    /// Which of a few topics its subject belongs to.
    pub topic: u8,
    /// The elements of its body; never empty.
    pub arrivals: Vec<Arrival>,
}

/// One element of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// An event of the message's topic. The same identity can occur with another content.
    Event { id: u8, content: u8 },
    /// An event of a topic other than the subject's.
    Foreign { id: u8 },
    /// Not an event.
    Noise,
}

/// An event's identity: its topic and its `event_id`.
pub type Identity = (String, String);

impl Message {
    /// A message of topic 0 with one event.
    pub fn of(id: u8) -> Self {
        Self {
            topic: 0,
            arrivals: vec![Arrival::Event { id, content: 0 }],
        }
    }

    pub fn subject(&self) -> String {
        subject::of(&Topic::new(&topic_name(self.topic)).expect("a legal topic"))
    }

    pub fn body(&self) -> Bytes {
        let elements: Vec<_> = self.arrivals.iter().map(|one| self.json(*one)).collect();
        message::encode(&elements, 0)
    }

    /// One element of the body as its JSON.
    pub fn json(&self, arrival: Arrival) -> Bytes {
        let event = |topic: &str, id: u8, content: u8| {
            format!(
                r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{}}}"#,
                payload(content)
            )
        };
        match arrival {
            Arrival::Event { id, content } => event(&topic_name(self.topic), id, content).into(),
            Arrival::Foreign { id } => event("elsewhere", id, 0).into(),
            Arrival::Noise => Bytes::from_static(b"3"),
        }
    }

    /// The identity and the content of the element at this position, if it can be stored as an event.
    pub fn event(&self, position: usize) -> Option<(Identity, u8)> {
        match self.arrivals.get(position)? {
            Arrival::Event { id, content } => {
                Some(((topic_name(self.topic), id.to_string()), *content))
            }
            Arrival::Foreign { .. } | Arrival::Noise => None,
        }
    }

    /// The elements that can be stored, with their positions.
    pub fn events(&self) -> impl Iterator<Item = (usize, Identity, u8)> {
        (0..self.arrivals.len()).filter_map(|position| {
            let (identity, content) = self.event(position)?;
            Some((position, identity, content))
        })
    }

    /// Elements that cannot be stored as events.
    pub fn rejected(&self) -> usize {
        self.arrivals.len() - self.events().count()
    }
}

/// The bytes of an event's payload.
pub fn payload(content: u8) -> String {
    format!(r#"{{"content":{content}}}"#)
}

fn topic_name(topic: u8) -> String {
    format!("t{topic}")
}
