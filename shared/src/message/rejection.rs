//! Arrivals that cannot be stored as events.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{event::Event, subject};

/// Longest [`Rejection::detail`] in bytes; a longer one is cut.
pub const MAX_DETAIL_BYTES: usize = 2_000;

/// An arrival that cannot be stored as an event: kept with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people: at most [`MAX_DETAIL_BYTES`].
    pub detail: Cow<'static, str>,
    /// The element of the array, or the whole body where it has no elements.
    pub body: Bytes,
}

impl Rejection {
    /// The event that earlier versions stored for this arrival: they took any character between date and time, and
    /// payloads of any depth. Their messages can be delivered again. `subject` and `time` are those of the message.
    #[must_use]
    pub fn earlier_event(&self, subject: &str, time: i64) -> Option<Event> {
        let is_event = self.reason == Reason::InvalidEvent;
        let event = is_event.then(|| Event::parse_earlier(&self.body, time))??;
        (subject::topic(subject).as_ref() == Some(&event.topic)).then_some(event)
    }
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
    /// The array has more than [`MAX_ELEMENTS`](super::MAX_ELEMENTS).
    TooMany,
    /// The element breaks the rules of an event.
    InvalidEvent,
    /// The event is of another topic than its subject says.
    WrongSubject,
    /// Its identity is new, but not to be told from another one that is stored.
    Collision,
}

impl Reason {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not_json",
            Self::NotEvents => "not_events",
            Self::TooMany => "too_many",
            Self::InvalidEvent => "invalid_event",
            Self::WrongSubject => "wrong_subject",
            Self::Collision => "fingerprint_collision",
        }
    }
}
