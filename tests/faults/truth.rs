//! What was published: every identity, whether it was confirmed, and how many events were sent.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use e2e::event::Event;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Topics of the traffic.
pub const TOPICS: usize = 5;

/// One in this many events has an identity that was sent before.
const REPEATED: u32 = 3;

/// An identity: the topic's number, and the number within the topic.
pub type Identity = (usize, u32);

/// All that the publishers know. The content of an event follows from its identity.
#[derive(Debug, Default)]
pub struct Truth(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Per topic: when each identity was last confirmed.
    topics: [Vec<Option<Instant>>; TOPICS],
    /// Events sent, counting each repetition.
    sent: u64,
    /// Of those, events whose sending was confirmed.
    confirmed: u64,
    /// Arrivals that are not valid events.
    noise: u64,
    /// Whether the broker lost messages that it had confirmed, or the store forgot what it had counted.
    is_lossy: bool,
}

/// Bounds of what may have been counted.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Events that were certainly received.
    pub least: u64,
    /// Events that may have been received.
    pub most: u64,
}

impl Truth {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chooses the events of a publisher's next message, and records that they are sent.
    pub fn choose(&self, events: u32, random: &mut ChaCha8Rng) -> Vec<Identity> {
        let mut inner = self.inner();
        let topic = random.random_range(0..TOPICS);
        let known = &mut inner.topics[topic];
        let chosen: Vec<_> = (0..events)
            .map(|_| {
                let count = u32::try_from(known.len()).expect("fewer than 2^32 events");
                if count > 0 && random.random_ratio(1, REPEATED) {
                    return (topic, random.random_range(0..count));
                }
                known.push(None);
                (topic, count)
            })
            .collect();
        inner.sent += u64::from(events);
        chosen
    }

    /// Records that events are sent once more.
    pub fn resend(&self, identities: &[Identity]) {
        self.inner().sent += identities.len() as u64;
    }

    /// Records that the broker has confirmed them.
    pub fn confirm(&self, identities: &[Identity]) {
        let mut inner = self.inner();
        for &(topic, number) in identities {
            inner.topics[topic][number as usize] = Some(Instant::now());
        }
        inner.confirmed += identities.len() as u64;
    }

    /// Records an event that was sent and confirmed, in none of the topics of the traffic.
    pub fn one_more(&self) {
        let mut inner = self.inner();
        inner.sent += 1;
        inner.confirmed += 1;
    }

    /// Records events from other senders that may have been received.
    pub fn others(&self, least: u64, most: u64) {
        let mut inner = self.inner();
        inner.sent += most;
        inner.confirmed += least;
    }

    /// Records arrivals that are not valid events.
    pub fn noise(&self, count: u64) {
        self.inner().noise += count;
    }

    /// Arrivals that are not valid events.
    pub fn noise_sent(&self) -> u64 {
        self.inner().noise
    }

    /// What was confirmed since `then` may be lost, and its senders must send it again.
    pub fn forget_since(&self, then: Option<Instant>) {
        let mut inner = self.inner();
        inner.is_lossy = true;
        for confirmed in inner.topics.iter_mut().flatten() {
            if confirmed.is_some_and(|at| then.is_none_or(|then| at >= then)) {
                *confirmed = None;
            }
        }
    }

    /// Whether the broker may have lost confirmed messages, or a store forgotten counted ones.
    pub fn is_lossy(&self) -> bool {
        self.inner().is_lossy
    }

    /// The identities that must be sent again.
    pub fn unconfirmed(&self) -> Vec<Identity> {
        let inner = self.inner();
        let topics = inner.topics.iter().enumerate();
        topics
            .flat_map(|(topic, known)| {
                let open = known.iter().zip(0..).filter(|(at, _)| at.is_none());
                open.map(move |(_, number)| (topic, number))
            })
            .collect()
    }

    /// Identities per topic.
    pub fn identities(&self) -> BTreeMap<String, u64> {
        let inner = self.inner();
        let topics = inner.topics.iter().enumerate();
        let counts = topics.map(|(topic, known)| (name(topic), known.len() as u64));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// How many events of the publishers may have been received.
    pub fn bounds(&self) -> Bounds {
        let inner = self.inner();
        Bounds {
            least: if inner.is_lossy { 0 } else { inner.confirmed },
            most: inner.sent,
        }
    }
}

/// A topic's name.
pub fn name(topic: usize) -> String {
    format!("faults.t{topic}")
}

/// An event, whose content follows from its identity.
pub fn event((topic, number): Identity) -> Event {
    Event {
        topic: name(topic),
        event_id: format!("e-{number}"),
        timestamp: "2026-01-31T12:00:00Z".to_owned(),
        source: "faults".to_owned(),
        payload: payload(number),
    }
}

/// The payload of an event.
pub fn payload(number: u32) -> String {
    let length = 20 + number as usize % 150;
    format!(r#"{{"number":{number},"text":"{:x>length$}"}}"#, number % 7)
}
