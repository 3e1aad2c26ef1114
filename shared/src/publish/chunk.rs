//! Chunks: the events of a call, split into parts that each fit in a message and are confirmed as a whole.

use std::{collections::HashMap, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Span;

use crate::{
    event::{EventId, Topic},
    trace::TraceContext,
};

/// Largest chunk in bytes, unless a single event is larger. Messages consist of whole chunks, so chunks are a fraction of the
/// largest message.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Which events may share a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Subjects {
    /// All: the broker syncs one message after the other, so fewer and larger ones are faster.
    #[default]
    Mixed,
    /// Only events of one topic: for subscribers to the raw stream by topic, and for users that may not publish on `events`.
    Topic,
}

impl FromStr for Subjects {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mixed" => Ok(Self::Mixed),
            "topic" => Ok(Self::Topic),
            _ => Err("must be mixed or topic"),
        }
    }
}

/// A valid event: its identity, and the JSON to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The topic, which determines the subject.
    pub topic: Topic,
    /// Its identity within the topic. It is not sent by itself; callers use it to wait for the event's outcome.
    pub event_id: EventId,
    /// Its JSON, at most [`crate::event::MAX_EVENT_BYTES`].
    pub json: Bytes,
}

/// Why events were not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The stream is full. None of the chunk's events are in it.
    #[error("the stream is full: {0}")]
    StreamFull(String),
    /// The broker rejected the message, and retrying cannot help. None of the chunk's events are in the stream.
    #[error("the broker rejected the message: {0}")]
    Refused(String),
    /// No `PubAck` arrived while the broker would still recognize a duplicate. The events may or may not be in the stream.
    #[error("unconfirmed: {0}")]
    Unconfirmed(String),
    /// The process is stopping. The events may or may not be in the stream.
    #[error("the publishing client has stopped")]
    Stopped,
}

/// Events from one call, confirmed as a whole or not at all.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The topic of all events; `None` if they have several.
    pub topic: Option<Topic>,
    pub events: Vec<Bytes>,
    pub bytes: usize,
    pub origin: Origin,
    pub done: oneshot::Sender<Outcome>,
    /// Released when the chunk is confirmed or given up.
    pub _permit: OwnedSemaphorePermit,
}

/// The request that a chunk belongs to.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The trace context of the request.
    pub context: Option<TraceContext>,
    /// The log span of the request.
    pub log: Span,
    /// The name of the sender, if it is known.
    pub sender: Option<Arc<str>>,
}

impl Origin {
    pub fn current() -> Self {
        Self {
            context: TraceContext::current(),
            log: Span::current(),
            sender: None,
        }
    }
}

/// The outcome for a chunk: the `PubAck` of its message, and the position of its first event in the message.
pub(super) type Outcome = Result<(PubAck, usize), PublishError>;

/// Confirmation that a message is in the stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct PubAck {
    pub sequence: u64,
    /// Time from the first attempt to the `PubAck`.
    pub latency: Duration,
}

/// Chunks of a call, each with the topic of its events, or `None` if they have several.
pub(super) type Chunks = Vec<(Option<Topic>, Vec<Bytes>)>;

/// Splits the events of a call into chunks that each fit in a message. Also returns, for each event, its chunk and its
/// position in the chunk.
pub(super) fn split(
    events: Vec<Outgoing>,
    max_events: usize,
    subjects: Subjects,
) -> (Chunks, Vec<(usize, usize)>) {
    let mut chunks = Chunks::new();
    let mut positions = Vec::with_capacity(events.len());
    // The open chunk and its bytes, of each topic, or with `None` of all.
    let mut open: HashMap<Option<Topic>, (usize, usize)> = HashMap::new();
    for event in events {
        let Outgoing {
            topic,
            event_id: _,
            json,
        } = event;
        let lane = match subjects {
            Subjects::Mixed => None,
            Subjects::Topic => Some(topic.clone()),
        };
        if let Some((index, bytes)) = open.get_mut(&lane) {
            let (of, chunk) = &mut chunks[*index];
            if chunk.len() < max_events && *bytes + json.len() <= CHUNK_BYTES {
                *bytes += json.len();
                positions.push((*index, chunk.len()));
                chunk.push(json);
                if of.as_ref() != Some(&topic) {
                    *of = None;
                }
                continue;
            }
        }
        open.insert(lane, (chunks.len(), json.len()));
        positions.push((chunks.len(), 0));
        chunks.push((Some(topic), vec![json]));
    }
    (chunks, positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(topic: &str, bytes: usize) -> Outgoing {
        Outgoing {
            topic: Topic::new(topic).unwrap(),
            event_id: EventId::new("id").unwrap(),
            json: Bytes::from(vec![b'x'; bytes]),
        }
    }

    /// The topic of each chunk and the sizes of its events.
    fn shape(chunks: Chunks) -> Vec<(Option<String>, Vec<usize>)> {
        let shape = |(topic, events): (Option<Topic>, Vec<Bytes>)| {
            let sizes = events.iter().map(Bytes::len).collect();
            (topic.map(|topic| topic.to_string()), sizes)
        };
        chunks.into_iter().map(shape).collect()
    }

    fn call() -> Vec<Outgoing> {
        vec![
            outgoing("a", 1),
            outgoing("b", 1),
            outgoing("a", 2),
            outgoing("a", CHUNK_BYTES),
            outgoing("a", 3),
            outgoing("a", 4),
        ]
    }

    #[test]
    fn a_call_is_split_into_chunks_of_one_topic_if_each_has_its_own_messages() {
        let (chunks, positions) = split(call(), 100, Subjects::Topic);
        assert_eq!(positions, [(0, 0), (1, 0), (0, 1), (2, 0), (3, 0), (3, 1)]);
        let a = || Some("a".to_owned());
        let expected = [
            (a(), vec![1, 2]),
            (Some("b".to_owned()), vec![1]),
            (a(), vec![CHUNK_BYTES]),
            (a(), vec![3, 4]),
        ];
        assert_eq!(shape(chunks), expected);
    }

    #[test]
    fn a_call_keeps_its_order_in_chunks_of_any_topics() {
        let (chunks, positions) = split(call(), 100, Subjects::Mixed);
        assert_eq!(positions, [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]);
        let a = || Some("a".to_owned());
        let expected = [
            (None, vec![1, 1, 2]),
            (a(), vec![CHUNK_BYTES]),
            (a(), vec![3, 4]),
        ];
        assert_eq!(shape(chunks), expected);
    }

    #[test]
    fn a_chunk_never_has_more_events_than_a_message() {
        for subjects in [Subjects::Mixed, Subjects::Topic] {
            let events = (0..250).map(|_| outgoing("a", 1)).collect();
            let (chunks, _) = split(events, 100, subjects);
            let sizes: Vec<_> = chunks.into_iter().map(|(_, e)| e.len()).collect();
            assert_eq!(sizes, [100, 100, 50]);
        }
    }
}
