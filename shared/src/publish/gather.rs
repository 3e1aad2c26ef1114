//! Combines chunks into messages, by size, by age and by how busy the broker is.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{Chunk, MESSAGE_BYTES, Subjects};
use crate::{event::Topic, subject};

/// Messages in flight that keep the broker's disk busy. The broker syncs them one after the other, so more messages would
/// wait there, where nothing can be added to them; here they keep filling. Measured with 64 callers sending single events
/// of 10 topics: 12,000 to 16,000 events/s, compared with 9,000 to 11,000 with 16 in flight.
const BUSY: usize = 4;

/// Longest extra wait while the broker is busy. Beyond it, the latency is due to the network rather than the broker's disk.
const MAX_EXTRA_WAIT: Duration = Duration::from_millis(25);

/// Most messages in flight, regardless of waiting time.
const MAX_IN_FLIGHT: usize = 64;

/// Chunks that are sent together.
#[derive(Debug)]
pub(super) struct Message {
    /// The topic of all its events; `None` if they have several.
    pub topic: Option<Topic>,
    pub chunks: Vec<Chunk>,
    bytes: usize,
    pub events: usize,
    due: Instant,
}

/// Which chunks may share a message: those of a topic, or with `None` all.
type Lane = Option<Topic>;

/// Messages being filled, and full messages not sent yet.
#[derive(Debug)]
pub(super) struct Gather {
    max_events: usize,
    linger: Duration,
    subjects: Subjects,
    open: HashMap<Lane, Message>,
    /// Due times of the open messages, in order. A message that becomes full earlier leaves a stale entry, which matches no
    /// open message.
    order: VecDeque<(Instant, Lane)>,
    full: VecDeque<Message>,
}

impl Message {
    /// The subject to publish it on.
    pub fn subject(&self) -> String {
        let topic = self.topic.as_ref();
        topic.map_or_else(|| subject::MIXED.to_owned(), subject::of)
    }
}

impl Gather {
    pub fn new(max_events: usize, linger: Duration, subjects: Subjects) -> Self {
        Self {
            max_events,
            linger,
            subjects,
            open: HashMap::new(),
            order: VecDeque::new(),
            full: VecDeque::new(),
        }
    }

    pub fn add(&mut self, chunk: Chunk, now: Instant) {
        let fits = |message: &Message| {
            message.events + chunk.events.len() <= self.max_events
                && message.bytes + chunk.bytes <= MESSAGE_BYTES
        };
        let lane = match self.subjects {
            Subjects::Mixed => None,
            Subjects::Topic => chunk.topic.clone(),
        };
        if self.open.get(&lane).is_some_and(|open| !fits(open)) {
            self.full.extend(self.open.remove(&lane));
        }
        let due = now + self.linger;
        let message = self.open.entry(lane.clone()).or_insert_with(|| {
            self.order.push_back((due, lane.clone()));
            Message {
                topic: chunk.topic.clone(),
                chunks: Vec::new(),
                bytes: 0,
                events: 0,
                due,
            }
        });
        message.bytes += chunk.bytes;
        message.events += chunk.events.len();
        if message.topic != chunk.topic {
            message.topic = None;
        }
        let is_full = message.events >= self.max_events || message.bytes >= MESSAGE_BYTES;
        message.chunks.push(chunk);
        if is_full {
            self.full.extend(self.open.remove(&lane));
        }
    }

    /// The next message that is full or due and may be sent with `in_flight` messages in flight.
    pub fn pop(&mut self, in_flight: usize, now: Instant) -> Option<Message> {
        let extra_wait = extra_wait(in_flight)?;
        let is_due = |due: &Instant| *due + extra_wait <= now;
        self.remove_stale();
        let full = self.full.front().map(|message| message.due);
        let full = full.filter(|due| extra_wait.is_zero() || is_due(due));
        let open = self.order.front().map(|(due, _)| *due).filter(is_due);
        match (full, open) {
            // The older one first; otherwise a busy topic would starve a quiet one.
            (Some(full), open) if open.is_none_or(|open| full <= open) => self.full.pop_front(),
            (_, Some(_)) => {
                let (_, lane) = self.order.pop_front()?;
                self.open.remove(&lane)
            }
            _ => None,
        }
    }

    /// Removes stale entries from the front of `order`.
    fn remove_stale(&mut self) {
        while let Some((due, lane)) = self.order.front() {
            let open = self.open.get(lane);
            if open.is_some_and(|open| open.due == *due) {
                return;
            }
            self.order.pop_front();
        }
    }

    /// When to call [`Self::pop`] again, if nothing is added and the number in flight does not change.
    pub fn next_due(&self, in_flight: usize) -> Option<Instant> {
        let extra_wait = extra_wait(in_flight)?;
        let full = self.full.front().map(|message| message.due);
        let open = self.order.front().map(|(due, _)| *due);
        let first = full.into_iter().chain(open).min()?;
        Some(first + extra_wait)
    }

    /// All remaining messages, full or not.
    pub fn into_messages(self) -> impl Iterator<Item = Message> {
        self.full.into_iter().chain(self.open.into_values())
    }
}

/// How long a message waits beyond its due time with `in_flight` messages in flight; `None` if nothing may be sent.
fn extra_wait(in_flight: usize) -> Option<Duration> {
    match in_flight {
        0..BUSY => Some(Duration::ZERO),
        BUSY..MAX_IN_FLIGHT => Some(MAX_EXTRA_WAIT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::sync::{Semaphore, oneshot};

    use super::{super::Origin, *};

    const LINGER: Duration = Duration::from_millis(2);

    fn chunk(topic: &str, events: usize, bytes: usize) -> Chunk {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Chunk {
            topic: Some(Topic::new(topic).unwrap()),
            events: vec![Bytes::new(); events],
            bytes,
            origin: Origin::current(),
            done: oneshot::channel().0,
            _permit: permit,
        }
    }

    fn shape(message: Option<Message>) -> Option<(String, usize)> {
        message.map(|message| (message.subject(), message.events))
    }

    #[test]
    fn chunks_of_a_topic_are_sent_together_once_they_are_due() {
        let start = Instant::now();
        let mut gather = Gather::new(100, LINGER, Subjects::Topic);
        gather.add(chunk("a", 1, 1), start);
        gather.add(chunk("b", 1, 1), start);
        gather.add(chunk("a", 2, 1), start + LINGER / 2);
        assert_eq!(shape(gather.pop(0, start)), None);
        assert_eq!(gather.next_due(0), Some(start + LINGER));
        assert_eq!(
            shape(gather.pop(0, start + LINGER)),
            Some(("events.a".to_owned(), 3))
        );
        assert_eq!(
            shape(gather.pop(0, start + LINGER)),
            Some(("events.b".to_owned(), 1))
        );
        assert_eq!(shape(gather.pop(0, start + LINGER)), None);
        assert_eq!(gather.next_due(0), None);
    }

    #[test]
    fn chunks_of_all_topics_share_a_message_unless_each_topic_has_its_own() {
        let start = Instant::now();
        for (subjects, expected) in [
            (Subjects::Mixed, vec![("events", 3), ("events.b", 1)]),
            (
                Subjects::Topic,
                vec![("events.a", 2), ("events.b", 1), ("events.b", 1)],
            ),
        ] {
            let mut gather = Gather::new(3, LINGER, subjects);
            gather.add(chunk("a", 1, 1), start);
            gather.add(chunk("b", 1, 1), start);
            gather.add(chunk("a", 1, 1), start);
            let due = start + LINGER;
            let mut sent = Vec::new();
            sent.extend(std::iter::from_fn(|| shape(gather.pop(0, due))));
            gather.add(chunk("b", 1, 1), due);
            sent.extend(shape(gather.pop(0, due + LINGER)));
            let sent: Vec<_> = sent
                .iter()
                .map(|(on, events)| (on.as_str(), *events))
                .collect();
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn a_full_message_does_not_wait_and_the_next_one_has_its_own_due_time() {
        let start = Instant::now();
        let mut gather = Gather::new(3, LINGER, Subjects::Topic);
        gather.add(chunk("a", 2, 1), start);
        gather.add(chunk("a", 2, 1), start + LINGER / 2);
        assert_eq!(
            shape(gather.pop(0, start)),
            Some(("events.a".to_owned(), 2))
        );
        assert_eq!(shape(gather.pop(0, start + LINGER)), None);
        let later = start + LINGER / 2 + LINGER;
        assert_eq!(
            shape(gather.pop(0, later)),
            Some(("events.a".to_owned(), 2))
        );
    }

    #[test]
    fn messages_wait_and_fill_while_the_broker_is_busy() {
        let start = Instant::now();
        let mut gather = Gather::new(3, LINGER, Subjects::Topic);
        gather.add(chunk("a", 1, 1), start);
        gather.add(chunk("b", 3, 1), start);
        let due = start + LINGER;
        assert_eq!(shape(gather.pop(BUSY, due)), None);
        assert_eq!(gather.next_due(BUSY), Some(due + MAX_EXTRA_WAIT));
        gather.add(chunk("a", 1, 1), due);
        assert_eq!(shape(gather.pop(MAX_IN_FLIGHT, due + MAX_EXTRA_WAIT)), None);
        assert_eq!(gather.next_due(MAX_IN_FLIGHT), None);
        let late = due + MAX_EXTRA_WAIT;
        assert_eq!(
            shape(gather.pop(BUSY, late)),
            Some(("events.b".to_owned(), 3))
        );
        assert_eq!(
            shape(gather.pop(BUSY - 1, due)),
            Some(("events.a".to_owned(), 2))
        );
    }

    #[test]
    fn a_busy_topic_does_not_starve_a_quiet_one() {
        let start = Instant::now();
        let mut gather = Gather::new(2, LINGER, Subjects::Topic);
        gather.add(chunk("quiet", 1, 1), start);
        let later = start + LINGER;
        for _ in 0..3 {
            gather.add(chunk("busy", 2, 1), later);
        }
        assert_eq!(
            shape(gather.pop(0, later)),
            Some(("events.quiet".to_owned(), 1))
        );
        assert_eq!(
            shape(gather.pop(0, later)),
            Some(("events.busy".to_owned(), 2))
        );
    }

    #[test]
    fn a_message_is_also_limited_in_bytes() {
        let start = Instant::now();
        let mut gather = Gather::new(100, LINGER, Subjects::Topic);
        gather.add(chunk("a", 1, MESSAGE_BYTES - 1), start);
        gather.add(chunk("a", 1, 2), start);
        gather.add(chunk("a", 1, 2 * MESSAGE_BYTES), start);
        let left: Vec<_> = gather.into_messages().map(|m| m.bytes).collect();
        assert_eq!(left, [MESSAGE_BYTES - 1, 2, 2 * MESSAGE_BYTES]);
    }
}
