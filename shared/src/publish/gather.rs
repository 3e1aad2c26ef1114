//! Combines chunks into messages, by size and by how busy the broker is.
//!
//! The broker syncs one message after the other, and a sync takes about as long for many events as for one. So while a
//! message is in flight, the next one is filled instead of sent: the longer a `PubAck` takes, the more events share a sync.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    chunk::{Chunk, Subjects},
    senders::Senders,
};
use crate::{event::Topic, stream::LARGEST_MESSAGE, subject};

/// Messages in flight that keep the broker's disk busy: while it syncs one, others arrive, and callers react to the `PubAck`
/// of another.
const BUSY: usize = 4;

/// Most messages in flight, regardless of waiting time.
const MAX_IN_FLIGHT: usize = 64;

/// Bytes of a message that are reserved for its headers.
const HEADER_BYTES: usize = 4 * 1024;

/// Chunks that are sent together.
#[derive(Debug)]
pub(super) struct Message {
    /// The topic of all its events; `None` if they have several.
    pub topic: Option<Topic>,
    pub chunks: Vec<Chunk>,
    /// The senders of its events.
    senders: Senders,
    /// Bytes of the array of its events.
    body: usize,
    pub events: usize,
    /// When its first chunk was added.
    since: Instant,
}

/// Which chunks may share a message: those of a topic, or with `None` all.
type Lane = Option<Topic>;

/// Messages being filled, and full messages not sent yet.
#[derive(Debug)]
pub(super) struct Gather {
    max_events: usize,
    subjects: Subjects,
    /// How long the latest `PubAck` took.
    puback: Duration,
    open: HashMap<Lane, Message>,
    /// The open messages in the order of their age. A message that becomes full leaves a stale entry, which matches no open
    /// message.
    order: VecDeque<(Instant, Lane)>,
    full: VecDeque<Message>,
}

impl Message {
    /// The subject to publish it on.
    pub fn subject(&self) -> String {
        let topic = self.topic.as_ref();
        topic.map_or_else(|| subject::MIXED.to_owned(), subject::of)
    }

    /// The senders of its events. Not those that were gathered: chunks may have been given up since.
    pub fn senders(&self) -> Senders {
        let mut senders = Senders::default();
        for chunk in &self.chunks {
            senders.add(chunk.origin.sender.as_ref(), chunk.events.len());
        }
        senders
    }
}

impl Gather {
    pub fn new(max_events: usize, subjects: Subjects) -> Self {
        Self {
            max_events,
            subjects,
            puback: Duration::ZERO,
            open: HashMap::new(),
            order: VecDeque::new(),
            full: VecDeque::new(),
        }
    }

    /// Records how long a `PubAck` took, if it arrived.
    pub fn record(&mut self, puback: Option<Duration>) {
        self.puback = puback.unwrap_or(self.puback);
    }

    /// Adds a chunk. The broker accepts messages of at most `max_payload` bytes.
    pub fn add(&mut self, chunk: Chunk, max_payload: usize, now: Instant) {
        let max_body = max_payload
            .min(LARGEST_MESSAGE)
            .saturating_sub(HEADER_BYTES);
        // Each event is followed by a comma or the closing bracket.
        let bytes = chunk.bytes + chunk.events.len();
        let fits = |message: &Message| {
            message.events + chunk.events.len() <= self.max_events
                && message.body + bytes <= max_body
                && message.senders.has_room(chunk.origin.sender.as_ref())
        };
        let lane = match self.subjects {
            Subjects::Mixed => None,
            Subjects::Topic => chunk.topic.clone(),
        };
        if self.open.get(&lane).is_some_and(|open| !fits(open)) {
            self.full.extend(self.open.remove(&lane));
        }
        let message = self.open.entry(lane.clone()).or_insert_with(|| {
            self.order.push_back((now, lane.clone()));
            Message {
                topic: chunk.topic.clone(),
                chunks: Vec::new(),
                senders: Senders::default(),
                body: 1,
                events: 0,
                since: now,
            }
        });
        message.body += bytes;
        message.events += chunk.events.len();
        let sender = chunk.origin.sender.as_ref();
        message.senders.add(sender, chunk.events.len());
        if message.topic != chunk.topic {
            message.topic = None;
        }
        let is_full = message.events >= self.max_events || message.body >= max_body;
        message.chunks.push(chunk);
        if is_full {
            self.full.extend(self.open.remove(&lane));
        }
    }

    /// The next message that may be sent with `in_flight` messages in flight.
    pub fn pop(&mut self, in_flight: usize, now: Instant) -> Option<Message> {
        self.remove_stale();
        let full = self.full_due(in_flight).filter(|due| *due <= now);
        let open = self.open_due(in_flight).filter(|due| *due <= now);
        match (full, open) {
            // The one that was due first; otherwise a busy topic would starve a quiet one.
            (Some(full), open) if open.is_none_or(|open| full <= open) => self.full.pop_front(),
            (_, Some(_)) => {
                let (_, lane) = self.order.pop_front()?;
                self.open.remove(&lane)
            }
            _ => None,
        }
    }

    /// When to call [`Self::pop`] again, if nothing is added and the number in flight does not change.
    pub fn next_due(&self, in_flight: usize) -> Option<Instant> {
        let (full, open) = (self.full_due(in_flight), self.open_due(in_flight));
        full.into_iter().chain(open).min()
    }

    /// All remaining messages, full or not.
    pub fn into_messages(self) -> impl Iterator<Item = Message> {
        self.full.into_iter().chain(self.open.into_values())
    }

    /// When the first full message may be sent. It cannot grow, so it waits only for what the broker has to do before it.
    fn full_due(&self, in_flight: usize) -> Option<Instant> {
        let message = self.full.front()?;
        Some(message.since + extra_wait(in_flight, BUSY, self.puback)?)
    }

    /// When the oldest open message may be sent. One of any topics waits for every message in flight: it grows with every
    /// event meanwhile. Those of one topic each are too many for that.
    fn open_due(&self, in_flight: usize) -> Option<Instant> {
        let (since, _) = self.order.front()?;
        let busy = match self.subjects {
            Subjects::Mixed => 1,
            Subjects::Topic => BUSY,
        };
        Some(*since + extra_wait(in_flight, busy, self.puback)?)
    }

    /// Removes stale entries from the front of `order`.
    fn remove_stale(&mut self) {
        while let Some((since, lane)) = self.order.front() {
            let open = self.open.get(lane);
            if open.is_some_and(|open| open.since == *since) {
                return;
            }
            self.order.pop_front();
        }
    }
}

/// How long a message waits for those in flight, if `busy` of them keep the broker busy; `None` if it may not be sent.
///
/// It waits no longer than the latest `PubAck` took. A broker that is limited by its disk confirms one of the messages in
/// flight before that, whether its sync takes 0.1 or 100 ms. If none was confirmed, the time passes in the network, or a
/// `PubAck` was lost: then more messages in flight help.
fn extra_wait(in_flight: usize, busy: usize, puback: Duration) -> Option<Duration> {
    if in_flight < busy {
        Some(Duration::ZERO)
    } else if in_flight < MAX_IN_FLIGHT {
        Some(puback)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::sync::{Semaphore, oneshot};

    use super::{super::chunk::Origin, *};

    const PUBACK: Duration = Duration::from_millis(10);

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

    fn gather(max_events: usize, subjects: Subjects) -> Gather {
        let mut gather = Gather::new(max_events, subjects);
        gather.record(Some(PUBACK));
        gather
    }

    impl Gather {
        fn adds(&mut self, topic: &str, events: usize, now: Instant) {
            self.add(chunk(topic, events, 1), LARGEST_MESSAGE, now);
        }

        /// The subject and the events of the message that is sent.
        fn sends(&mut self, in_flight: usize, now: Instant) -> Option<(String, usize)> {
            let message = self.pop(in_flight, now)?;
            Some((message.subject(), message.events))
        }
    }

    fn on(subject: &str, events: usize) -> (String, usize) {
        (subject.to_owned(), events)
    }

    #[test]
    fn chunks_that_arrive_together_are_sent_together_at_once() {
        let start = Instant::now();
        for (subjects, expected) in [
            (Subjects::Mixed, vec![("events", 3), ("events.b", 1)]),
            (
                Subjects::Topic,
                vec![("events.a", 2), ("events.b", 1), ("events.b", 1)],
            ),
        ] {
            let mut gather = gather(3, subjects);
            for topic in ["a", "b", "a"] {
                gather.adds(topic, 1, start);
            }
            let mut sent = Vec::new();
            sent.extend(std::iter::from_fn(|| gather.sends(0, start)));
            gather.adds("b", 1, start);
            sent.extend(std::iter::from_fn(|| gather.sends(0, start)));
            let sent: Vec<_> = sent
                .iter()
                .map(|(on, events)| (on.as_str(), *events))
                .collect();
            assert_eq!(sent, expected);
            assert_eq!(gather.next_due(0), None);
        }
    }

    #[test]
    fn a_message_grows_while_another_is_in_flight() {
        let start = Instant::now();
        let mut gather = gather(100, Subjects::Mixed);
        let ms = |ms| start + Duration::from_millis(ms);
        for i in 0..10 {
            gather.adds("a", 1, ms(i));
            assert_eq!(gather.sends(1, ms(i)), None);
        }
        assert_eq!(gather.next_due(1), Some(start + PUBACK));
        assert_eq!(gather.sends(0, ms(9)), Some(on("events.a", 10)));
    }

    #[test]
    fn a_message_waits_no_longer_than_the_latest_puback_took() {
        let start = Instant::now();
        let mut gather = gather(100, Subjects::Mixed);
        // Given up: there was no PubAck.
        gather.record(None);
        gather.adds("a", 1, start);
        let late = start + PUBACK;
        assert_eq!(gather.sends(MAX_IN_FLIGHT, late), None);
        assert_eq!(gather.next_due(MAX_IN_FLIGHT), None);
        assert_eq!(
            gather.sends(MAX_IN_FLIGHT - 1, late),
            Some(on("events.a", 1))
        );
    }

    #[test]
    fn full_messages_are_sent_until_the_broker_is_busy() {
        let start = Instant::now();
        let mut gather = gather(3, Subjects::Mixed);
        for _ in 0..3 {
            gather.adds("a", 3, start);
        }
        gather.adds("b", 1, start);
        assert_eq!(gather.sends(BUSY - 1, start), Some(on("events.a", 3)));
        assert_eq!(gather.sends(BUSY, start), None);
        assert_eq!(gather.sends(BUSY, start + PUBACK), Some(on("events.a", 3)));
        assert_eq!(gather.sends(1, start), Some(on("events.a", 3)));
        assert_eq!(gather.sends(1, start), None);
        assert_eq!(gather.sends(0, start), Some(on("events.b", 1)));
    }

    #[test]
    fn messages_of_one_topic_each_are_sent_until_the_broker_is_busy() {
        let start = Instant::now();
        let mut gather = gather(3, Subjects::Topic);
        gather.adds("a", 1, start);
        gather.adds("b", 1, start);
        assert_eq!(gather.sends(BUSY - 1, start), Some(on("events.a", 1)));
        assert_eq!(gather.sends(BUSY, start), None);
        assert_eq!(gather.next_due(BUSY), Some(start + PUBACK));
    }

    #[test]
    fn a_busy_topic_does_not_starve_a_quiet_one() {
        let start = Instant::now();
        let mut gather = gather(2, Subjects::Topic);
        gather.adds("quiet", 1, start);
        let later = start + PUBACK;
        for _ in 0..3 {
            gather.adds("busy", 2, later);
        }
        assert_eq!(gather.sends(0, later), Some(on("events.quiet", 1)));
        assert_eq!(gather.sends(0, later), Some(on("events.busy", 2)));
    }

    #[test]
    fn a_message_is_also_limited_in_bytes() {
        let start = Instant::now();
        for (max_payload, largest) in [
            (8 * LARGEST_MESSAGE, LARGEST_MESSAGE - HEADER_BYTES),
            (LARGEST_MESSAGE / 2, LARGEST_MESSAGE / 2 - HEADER_BYTES),
        ] {
            let mut gather = gather(usize::MAX, Subjects::Mixed);
            // With the array around them, the first two fill a message exactly; no other fits the last one.
            for bytes in [largest - 102, 1, 1, 2 * largest] {
                let events = if bytes == 1 { 1 } else { 99 };
                gather.add(chunk("a", events, bytes), max_payload, start);
            }
            let left: Vec<_> = gather.into_messages().map(|m| m.body).collect();
            assert_eq!(left, [largest, 3, 2 * largest + 100], "{max_payload}");
        }
    }
}
