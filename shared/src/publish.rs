//! The publishing client: gathers events of a topic into messages and learns of each message's `PubAck`.
//!
//! A call's events are cut into pieces of one topic. Pieces of many callers become one message, so that the
//! broker's sync is paid once for all of them. A piece waits for a short time, or longer while enough messages are
//! under way to keep the broker busy: the wait grows with the load by itself, and with it the messages.

mod delivery;
mod gather;
mod trace;

use std::{collections::HashMap, sync::Arc, time::Duration};

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

/// Bytes of events that may wait for their `PubAck` in one process; further callers wait.
pub const MAX_UNCONFIRMED_BYTES: usize = 32 * 1024 * 1024;

/// A message is not filled beyond this many bytes, unless by a single larger event.
pub const MESSAGE_BYTES: usize = 256 * 1024;

/// Pieces between callers and driver. They are bounded in bytes by [`MAX_UNCONFIRMED_BYTES`] already.
const CHANNEL: usize = 1024;

/// How long messages under way are waited for after the last caller has gone.
const DRAIN: Duration = Duration::from_secs(1);

/// Told of every message that was confirmed.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// A message's `PubAck` came, so long after it was first sent.
    fn confirmed(&self, latency: Duration);
}

/// What callers decide about publishing.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stream that must confirm.
    pub stream: String,
    /// Most events in one message.
    pub max_events: usize,
    /// How long a piece waits for company while the broker is not busy.
    pub linger: Duration,
    /// Who measures.
    pub observer: Option<Arc<dyn Observer>>,
    /// Makes a span of each message.
    pub tracer: Tracer,
}

/// A valid event: its identity, and the JSON to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its topic, which decides its subject.
    pub topic: Topic,
    /// Its identity within the topic. It is not sent by itself; callers use it to wait for the event's outcome.
    pub event_id: EventId,
    /// Its JSON, at most [`crate::event::MAX_EVENT_BYTES`].
    pub json: Bytes,
}

/// Why events were not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The stream has no room. Nothing of the piece is in it.
    #[error("the stream is full: {0}")]
    StreamFull(String),
    /// The broker will never take it as it is. Nothing of the piece is in the stream.
    #[error("the broker refuses it: {0}")]
    Refused(String),
    /// No `PubAck` came while the broker would know the message again. It may be in the stream or not.
    #[error("unconfirmed: {0}")]
    Unconfirmed(String),
    /// The process is stopping. It may be in the stream or not.
    #[error("the publishing client has stopped")]
    Stopped,
}

/// Hands events to the driver. Cheap to clone; the driver ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Publisher {
    pieces: mpsc::Sender<Piece>,
    budget: Arc<Semaphore>,
    max_events: usize,
    obstacle: watch::Receiver<Option<String>>,
}

/// Events of one topic from one call: confirmed, or not, as a whole.
#[derive(Debug)]
struct Piece {
    topic: Topic,
    events: Vec<Bytes>,
    bytes: usize,
    origin: Origin,
    done: oneshot::Sender<Outcome>,
    /// Returned when the piece is confirmed or given up.
    _permit: OwnedSemaphorePermit,
}

/// Where a piece comes from.
#[derive(Debug, Clone)]
struct Origin {
    /// The trace of its request.
    context: Option<TraceContext>,
    /// What log lines on its request have in common.
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

/// What became of a piece: the `PubAck` of its message, and its first event's place in it.
type Outcome = Result<(PubAck, usize), PublishError>;

/// A message is in the stream.
#[derive(Debug, Clone, Copy)]
struct PubAck {
    sequence: u64,
    /// From sending to `PubAck`.
    latency: Duration,
}

/// What tells a caller that its events are in the stream.
#[derive(Debug)]
#[must_use = "events are in the stream only once the receipt says so"]
pub struct Receipt {
    pieces: Vec<oneshot::Receiver<Outcome>>,
    /// Of each event of the call: its piece, and its place there.
    places: Vec<(usize, usize)>,
}

/// Events that are in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The longest time from sending to `PubAck`.
    pub latency: Duration,
    /// The place of each event of the call, in their order: the stream sequence of its message, and its place in the
    /// message from 0.
    pub places: Vec<(u64, usize)>,
}

impl Receipt {
    /// Waits for every `PubAck`.
    ///
    /// # Errors
    /// The first of the pieces' errors; the other pieces may be in the stream.
    pub async fn confirmed(self) -> Result<Confirmed, PublishError> {
        let mut acks = Vec::with_capacity(self.pieces.len());
        let mut outcome = Ok(());
        for piece in self.pieces {
            match piece.await.unwrap_or(Err(PublishError::Stopped)) {
                Ok(ack) => acks.push(ack),
                Err(err) => outcome = outcome.and(Err(err)),
            }
        }
        outcome?;
        let place = |(piece, within): (usize, usize)| {
            let (ack, first) = acks[piece];
            (ack.sequence, first + within)
        };
        let latencies = acks.iter().map(|(ack, _)| ack.latency);
        Ok(Confirmed {
            latency: latencies.max().unwrap_or_default(),
            places: self.places.into_iter().map(place).collect(),
        })
    }
}

impl Publisher {
    /// A publisher, and the driver that must run for it to do anything.
    #[must_use]
    pub fn new(connection: Connection, options: Options) -> (Self, Driver) {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let (obstacle_sender, obstacle) = watch::channel(None);
        let publisher = Self {
            pieces: sender,
            budget: Arc::new(Semaphore::new(MAX_UNCONFIRMED_BYTES)),
            max_events: options.max_events,
            obstacle,
        };
        let driver = Driver {
            pieces: receiver,
            connection,
            options,
            obstacle: obstacle_sender,
        };
        (publisher, driver)
    }

    /// Hands over events, waiting while too many bytes are unconfirmed. Events of one topic keep their
    /// order within a message; order between messages is not promised.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] where the driver has ended.
    pub async fn submit(&self, events: Vec<Outgoing>) -> Result<Receipt, PublishError> {
        let (split, places) = split(events, self.max_events);
        let origin = Origin::current();
        let mut pieces = Vec::with_capacity(split.len());
        for (topic, events) in split {
            pieces.push(self.hand_over(topic, events, origin.clone()).await?);
        }
        Ok(Receipt { pieces, places })
    }

    /// Hands over events of one topic in one piece: all of them travel in one message, so that they are confirmed or
    /// not as a whole. The caller keeps within [`Options::max_events`] and, with more than one event,
    /// [`MESSAGE_BYTES`].
    ///
    /// # Errors
    /// [`PublishError::Stopped`] where the driver has ended.
    pub async fn submit_piece(
        &self,
        topic: Topic,
        events: Vec<Bytes>,
    ) -> Result<Receipt, PublishError> {
        let places = (0..events.len()).map(|within| (0, within)).collect();
        let pieces = vec![self.hand_over(topic, events, Origin::current()).await?];
        Ok(Receipt { pieces, places })
    }

    /// Why the broker did not confirm a message that is being tried again, for people. None once it has confirmed one
    /// since.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        self.obstacle.borrow().clone()
    }

    /// Bytes of events that were handed over and are not confirmed, of at most [`MAX_UNCONFIRMED_BYTES`].
    #[must_use]
    pub fn unconfirmed_bytes(&self) -> usize {
        MAX_UNCONFIRMED_BYTES - self.budget.available_permits()
    }

    async fn hand_over(
        &self,
        topic: Topic,
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
        let piece = Piece {
            topic,
            events,
            bytes,
            origin,
            done,
            _permit: permit,
        };
        match self.pieces.send(piece).await {
            Ok(()) => Ok(receipt),
            Err(_) => Err(PublishError::Stopped),
        }
    }
}

/// Pieces of one topic each.
type Pieces = Vec<(Topic, Vec<Bytes>)>;

/// Cuts a call's events into pieces of one topic that each fit a message. Returns where each event went, too: its piece,
/// and its place there.
fn split(events: Vec<Outgoing>, max_events: usize) -> (Pieces, Vec<(usize, usize)>) {
    let mut pieces = Pieces::new();
    let mut places = Vec::with_capacity(events.len());
    let mut open: HashMap<Topic, (usize, usize)> = HashMap::new();
    for event in events {
        let Outgoing {
            topic,
            event_id: _,
            json,
        } = event;
        if let Some((index, bytes)) = open.get_mut(&topic) {
            let piece = &mut pieces[*index].1;
            if piece.len() < max_events && *bytes + json.len() <= MESSAGE_BYTES {
                *bytes += json.len();
                places.push((*index, piece.len()));
                piece.push(json);
                continue;
            }
        }
        open.insert(topic.clone(), (pieces.len(), json.len()));
        places.push((pieces.len(), 0));
        pieces.push((topic, vec![json]));
    }
    (pieces, places)
}

/// Gathers pieces into messages and sends them.
#[derive(Debug)]
pub struct Driver {
    pieces: mpsc::Receiver<Piece>,
    connection: Connection,
    options: Options,
    obstacle: watch::Sender<Option<String>>,
}

impl Driver {
    /// Runs until every [`Publisher`] is dropped, then waits a little for what is under way.
    pub async fn run(mut self) {
        let delivery = Delivery {
            connection: &self.connection,
            stream: &self.options.stream,
            obstacle: &self.obstacle,
            observer: self.options.observer.as_deref(),
            tracer: &self.options.tracer,
        };
        let mut gather = Gather::new(self.options.max_events, self.options.linger);
        let mut in_flight = FuturesUnordered::new();
        let send = |message| delivery.run(message);
        loop {
            while let Some(message) = gather.pop(in_flight.len(), Instant::now()) {
                in_flight.push(send(message));
            }
            let due = gather.next_due(in_flight.len());
            tokio::select! {
                piece = self.pieces.recv() => match piece {
                    Some(piece) => gather.add(piece, Instant::now()),
                    None => break,
                },
                Some(()) = in_flight.next() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
        in_flight.extend(gather.into_messages().map(send));
        let drained = async { while in_flight.next().await.is_some() {} };
        // What is left then has nobody who waits for it.
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

    #[test]
    fn a_call_is_cut_into_pieces_of_one_topic() {
        let events = vec![
            outgoing("a", 1),
            outgoing("b", 1),
            outgoing("a", 2),
            outgoing("a", MESSAGE_BYTES),
            outgoing("a", 3),
        ];
        let (pieces, places) = split(events, 100);
        assert_eq!(places, [(0, 0), (1, 0), (0, 1), (2, 0), (3, 0)]);
        let shape: Vec<_> = pieces
            .into_iter()
            .map(|(topic, events)| {
                let sizes: Vec<_> = events.iter().map(Bytes::len).collect();
                (topic.to_string(), sizes)
            })
            .collect();
        let expected = [
            ("a".to_owned(), vec![1, 2]),
            ("b".to_owned(), vec![1]),
            ("a".to_owned(), vec![MESSAGE_BYTES]),
            ("a".to_owned(), vec![3]),
        ];
        assert_eq!(shape, expected);
    }

    #[test]
    fn a_piece_never_has_more_events_than_a_message() {
        let events = (0..250).map(|_| outgoing("a", 1)).collect();
        let (pieces, _) = split(events, 100);
        let sizes: Vec<_> = pieces.into_iter().map(|(_, e)| e.len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
    }
}
