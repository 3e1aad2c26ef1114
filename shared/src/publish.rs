//! The publishing client: batches events into messages and waits for each message's `PubAck`.
//!
//! The events of a call are split into chunks. Chunks of many callers are combined into one message, so that they share one
//! sync of the broker. A message whose events are all of one topic is published on the topic's subject, others on the subject
//! for mixed messages. A chunk waits for a short time, or until the messages in flight are confirmed: the size of messages
//! follows the time that a `PubAck` takes, and the load.

mod delivery;
mod gather;
mod trace;

use std::{collections::HashMap, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tracing::Span;

pub use self::delivery::UNCONFIRMED_AFTER;
use self::{delivery::Delivery, gather::Gather};
use crate::{
    connection::Connection,
    event::{EventId, Topic},
    trace::{TraceContext, Tracer},
};

/// Most bytes of events that may await their `PubAck` in one process; further callers wait.
pub const MAX_UNCONFIRMED_BYTES: usize = 32 * 1024 * 1024;

/// Largest chunk in bytes, unless a single event is larger. Messages consist of whole chunks, so chunks are a fraction of the
/// largest message.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Capacity, in chunks, of the channel from callers to the driver. Their bytes are bounded by [`MAX_UNCONFIRMED_BYTES`].
const CHANNEL: usize = 1024;

/// How long the driver waits for messages in flight after the last [`Publisher`] is dropped.
const DRAIN: Duration = Duration::from_secs(1);

/// Notified of every confirmed message.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// A message was confirmed, `latency` after it was first sent.
    fn confirmed(&self, latency: Duration);
}

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

/// Options of the publishing client.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stream that must confirm the messages.
    pub stream: String,
    /// Most events in one message.
    pub max_events: usize,
    /// Which events may share a message.
    pub subjects: Subjects,
    /// Receives the measurements.
    pub observer: Option<Arc<dyn Observer>>,
    /// Creates a span for each message.
    pub tracer: Tracer,
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

/// Passes events to the driver. Cheap to clone; the driver ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Publisher {
    chunks: mpsc::Sender<Chunk>,
    budget: Arc<Semaphore>,
    max_events: usize,
    subjects: Subjects,
    obstacle: watch::Receiver<Option<String>>,
}

/// Events from one call, confirmed as a whole or not at all.
#[derive(Debug)]
struct Chunk {
    /// The topic of all events; `None` if they have several.
    topic: Option<Topic>,
    events: Vec<Bytes>,
    bytes: usize,
    origin: Origin,
    done: oneshot::Sender<Outcome>,
    /// Released when the chunk is confirmed or given up.
    _permit: OwnedSemaphorePermit,
}

/// The request that a chunk belongs to.
#[derive(Debug, Clone)]
struct Origin {
    /// The trace context of the request.
    context: Option<TraceContext>,
    /// The log span of the request.
    log: Span,
}

impl Origin {
    fn current() -> Self {
        Self {
            context: TraceContext::current(),
            log: Span::current(),
        }
    }
}

/// The outcome for a chunk: the `PubAck` of its message, and the position of its first event in the message.
type Outcome = Result<(PubAck, usize), PublishError>;

/// Confirmation that a message is in the stream.
#[derive(Debug, Clone, Copy)]
struct PubAck {
    sequence: u64,
    /// Time from the first attempt to the `PubAck`.
    latency: Duration,
}

/// Resolves once the events of a call are in the stream.
#[derive(Debug)]
#[must_use = "events are in the stream only once the receipt resolves"]
pub struct Receipt {
    chunks: Vec<oneshot::Receiver<Outcome>>,
    /// For each event of the call, its chunk and its position in the chunk.
    positions: Vec<(usize, usize)>,
}

/// Events that are in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The longest time from the first attempt to the `PubAck`.
    pub latency: Duration,
    /// For each event of the call, in order, the stream sequence of its message and its position in the message, from 0.
    pub positions: Vec<(u64, usize)>,
}

impl Receipt {
    /// Waits for every `PubAck`.
    ///
    /// # Errors
    /// The first error of a chunk; the other chunks may be in the stream.
    pub async fn confirmed(self) -> Result<Confirmed, PublishError> {
        let mut acks = Vec::with_capacity(self.chunks.len());
        let mut outcome = Ok(());
        for chunk in self.chunks {
            match chunk.await.unwrap_or(Err(PublishError::Stopped)) {
                Ok(ack) => acks.push(ack),
                Err(err) => outcome = outcome.and(Err(err)),
            }
        }
        outcome?;
        let position = |(chunk, within): (usize, usize)| {
            let (ack, first) = acks[chunk];
            (ack.sequence, first + within)
        };
        let latencies = acks.iter().map(|(ack, _)| ack.latency);
        Ok(Confirmed {
            latency: latencies.max().unwrap_or_default(),
            positions: self.positions.into_iter().map(position).collect(),
        })
    }
}

impl Publisher {
    /// Creates a publisher and its driver, which must run for the publisher to make progress.
    #[must_use]
    pub fn new(connection: Connection, options: Options) -> (Self, Driver) {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let (obstacle_sender, obstacle) = watch::channel(None);
        let publisher = Self {
            chunks: sender,
            budget: Arc::new(Semaphore::new(MAX_UNCONFIRMED_BYTES)),
            max_events: options.max_events,
            subjects: options.subjects,
            obstacle,
        };
        let driver = Driver {
            chunks: receiver,
            connection,
            options,
            obstacle: obstacle_sender,
        };
        (publisher, driver)
    }

    /// Submits events, waiting while too many bytes are unconfirmed. Events keep their order within a message; the order of
    /// messages is not guaranteed.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] if the driver has ended.
    pub async fn submit(&self, events: Vec<Outgoing>) -> Result<Receipt, PublishError> {
        let (split, positions) = split(events, self.max_events, self.subjects);
        let origin = Origin::current();
        let mut chunks = Vec::with_capacity(split.len());
        for (topic, events) in split {
            chunks.push(self.enqueue(topic, events, origin.clone()).await?);
        }
        Ok(Receipt { chunks, positions })
    }

    /// Submits events as one chunk, which is sent in one message and so confirmed as a whole or not at all. The caller must
    /// respect [`Options::max_events`], for more than one event [`CHUNK_BYTES`], and with [`Subjects::Topic`] must name
    /// their topic. `topic` is that of all events, or `None` if they have several.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] if the driver has ended.
    pub async fn submit_chunk(
        &self,
        topic: Option<Topic>,
        events: Vec<Bytes>,
    ) -> Result<Receipt, PublishError> {
        let positions = (0..events.len()).map(|within| (0, within)).collect();
        let chunks = vec![self.enqueue(topic, events, Origin::current()).await?];
        Ok(Receipt { chunks, positions })
    }

    /// A human-readable reason why the broker did not confirm a message that is being retried. `None` once it has confirmed a message
    /// since.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        self.obstacle.borrow().clone()
    }

    /// Bytes of submitted events that are not confirmed yet, at most [`MAX_UNCONFIRMED_BYTES`].
    #[must_use]
    pub fn unconfirmed_bytes(&self) -> usize {
        MAX_UNCONFIRMED_BYTES - self.budget.available_permits()
    }

    async fn enqueue(
        &self,
        topic: Option<Topic>,
        events: Vec<Bytes>,
        origin: Origin,
    ) -> Result<oneshot::Receiver<Outcome>, PublishError> {
        let bytes = events.iter().map(Bytes::len).sum::<usize>();
        let permits = u32::try_from(bytes.min(MAX_UNCONFIRMED_BYTES))
            .expect("the bound on unconfirmed bytes fits 32 bits");
        let permit = Arc::clone(&self.budget)
            .acquire_many_owned(permits)
            .await
            .expect("the budget is never closed");
        let (done, receipt) = oneshot::channel();
        let chunk = Chunk {
            topic,
            events,
            bytes,
            origin,
            done,
            _permit: permit,
        };
        match self.chunks.send(chunk).await {
            Ok(()) => Ok(receipt),
            Err(_) => Err(PublishError::Stopped),
        }
    }
}

/// Chunks of a call, each with the topic of its events, or `None` if they have several.
type Chunks = Vec<(Option<Topic>, Vec<Bytes>)>;

/// Splits the events of a call into chunks that each fit in a message. Also returns, for each event, its chunk and its
/// position in the chunk.
fn split(
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

/// Combines chunks into messages and sends them.
#[derive(Debug)]
pub struct Driver {
    chunks: mpsc::Receiver<Chunk>,
    connection: Connection,
    options: Options,
    obstacle: watch::Sender<Option<String>>,
}

impl Driver {
    /// Runs until every [`Publisher`] is dropped, then waits up to one second for messages in flight.
    pub async fn run(mut self) {
        let delivery = Delivery {
            connection: &self.connection,
            stream: &self.options.stream,
            obstacle: &self.obstacle,
            observer: self.options.observer.as_deref(),
            tracer: &self.options.tracer,
        };
        let mut gather = Gather::new(self.options.max_events, self.options.subjects);
        let mut chunks = Vec::new();
        let mut in_flight = FuturesUnordered::new();
        let send = |message| delivery.run(message);
        loop {
            while let Some(message) = gather.pop(in_flight.len(), Instant::now()) {
                in_flight.push(send(message));
            }
            let due = gather.next_due(in_flight.len());
            tokio::select! {
                arrived = self.chunks.recv_many(&mut chunks, CHANNEL) => {
                    if arrived == 0 {
                        break;
                    }
                    let (now, max_payload) = (Instant::now(), self.connection.client().max_payload());
                    for chunk in chunks.drain(..) {
                        gather.add(chunk, max_payload, now);
                    }
                }
                Some(puback) = in_flight.next() => gather.record(puback),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
        in_flight.extend(gather.into_messages().map(send));
        let drained = async { while in_flight.next().await.is_some() {} };
        // No caller waits for the messages that remain.
        let _ = timeout_at(Instant::now() + DRAIN, drained).await;
    }
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
