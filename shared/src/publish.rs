//! The publishing client: batches events into messages and waits for each message's `PubAck`.
//!
//! The events of a call are split into chunks. Chunks of many callers are combined into one message, so that they share one
//! sync of the broker. A message whose events are all of one topic is published on the topic's subject, others on the subject
//! for mixed messages. A chunk waits for a short time, or until the messages in flight are confirmed: the size of messages
//! follows the time that a `PubAck` takes, and the load.

mod chunk;
mod delivery;
mod gather;
mod senders;
mod trace;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout_at},
};

pub use self::{
    chunk::{CHUNK_BYTES, Outgoing, PublishError, Subjects},
    senders::{HEADER as SENDERS, Senders},
};
use self::{
    chunk::{Chunk, Origin, Outcome, split},
    delivery::Delivery,
    gather::Gather,
};
use crate::{connection::Connection, event::Topic, trace::Tracer};

/// Most bytes of events that may await their `PubAck` in one process; further callers wait.
pub const MAX_UNCONFIRMED_BYTES: usize = 32 * 1024 * 1024;

/// Capacity, in chunks, of the channel from callers to the driver. Their bytes are bounded by [`MAX_UNCONFIRMED_BYTES`].
const CHANNEL: usize = 1024;

/// How long the driver waits for messages in flight after the last [`Publisher`] is dropped.
const DRAIN: Duration = Duration::from_secs(1);

/// Notified of every confirmed message.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// A message was confirmed, `latency` after it was first sent.
    fn confirmed(&self, latency: Duration);
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

/// Passes events to the driver. Cheap to clone; the driver ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Publisher {
    chunks: mpsc::Sender<Chunk>,
    budget: Arc<Semaphore>,
    max_events: usize,
    subjects: Subjects,
    obstacle: watch::Receiver<Option<String>>,
    refusal: watch::Receiver<Option<String>>,
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
        let (refusal_sender, refusal) = watch::channel(None);
        let publisher = Self {
            chunks: sender,
            budget: Arc::new(Semaphore::new(MAX_UNCONFIRMED_BYTES)),
            max_events: options.max_events,
            subjects: options.subjects,
            obstacle,
            refusal,
        };
        let driver = Driver {
            chunks: receiver,
            connection,
            options,
            obstacle: obstacle_sender,
            refusal: refusal_sender,
        };
        (publisher, driver)
    }

    /// Submits events, waiting while too many bytes are unconfirmed. Events keep their order within a message; the order of
    /// messages is not guaranteed. The message names their sender, if it is given.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] if the driver has ended.
    pub async fn submit(
        &self,
        sender: Option<Arc<str>>,
        events: Vec<Outgoing>,
    ) -> Result<Receipt, PublishError> {
        let (split, positions) = split(events, self.max_events, self.subjects);
        let origin = Origin {
            sender,
            ..Origin::current()
        };
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

    /// A human-readable reason why the broker does not permit a message. `None` once it has confirmed a message since.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.refusal.borrow().clone()
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

/// Combines chunks into messages and sends them.
#[derive(Debug)]
pub struct Driver {
    chunks: mpsc::Receiver<Chunk>,
    connection: Connection,
    options: Options,
    obstacle: watch::Sender<Option<String>>,
    refusal: watch::Sender<Option<String>>,
}

impl Driver {
    /// Runs until every [`Publisher`] is dropped, then waits up to one second for messages in flight.
    pub async fn run(mut self) {
        let delivery = Delivery {
            connection: &self.connection,
            stream: &self.options.stream,
            obstacle: &self.obstacle,
            refusal: &self.refusal,
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
