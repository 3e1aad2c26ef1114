//! Elements of a message that cannot be stored as events.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{event::Event, subject::Carried};

/// Longest [`Rejection::detail`] in bytes; a longer one is truncated.
pub const MAX_DETAIL_BYTES: usize = 2_000;

/// An arrival that cannot be stored as an event, kept with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The reason, for programs.
    pub reason: Reason,
    /// A human-readable reason of at most [`MAX_DETAIL_BYTES`].
    pub detail: Cow<'static, str>,
    /// The element of the array, or the whole body if it has no elements.
    pub body: Bytes,
}

impl Rejection {
    /// The event that an earlier version stored for this arrival, if any. Earlier versions accepted any character between
    /// date and time and payloads of any depth, and their messages can be redelivered. `subject` and `time` are those of
    /// the message.
    #[must_use]
    pub fn earlier_event(&self, subject: &str, time: i64) -> Option<Event> {
        let is_event = self.reason == Reason::InvalidEvent;
        let event = is_event.then(|| Event::parse_earlier(&self.body, time))??;
        Carried::on(subject).includes(&event.topic).then_some(event)
    }
}

/// Why an arrival was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The body is empty.
    Empty,
    /// The body is not JSON.
    NotJson,
    /// The body is JSON, but neither an object nor a non-empty array.
    NotEvents,
    /// The array has more than [`MAX_ELEMENTS`](super::MAX_ELEMENTS) elements.
    TooMany,
    /// The element breaks the rules of an event.
    InvalidEvent,
    /// The event's topic does not match the subject.
    WrongSubject,
    /// The identity is new, but its fingerprint equals that of another stored identity.
    Collision,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Empty,
        Self::NotJson,
        Self::NotEvents,
        Self::TooMany,
        Self::InvalidEvent,
        Self::WrongSubject,
        Self::Collision,
    ];

    /// The name as stored and shown.
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
