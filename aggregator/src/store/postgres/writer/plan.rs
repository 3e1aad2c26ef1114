//! What a batch holds, and what became of each event: decided from what the database returned, without a database.

use std::collections::{BTreeMap, HashMap, HashSet};

use shared::{
    event::{Content, Event},
    message::Rejection,
};

use crate::store::{
    Appended, Delivery,
    digest::Digest,
    fingerprint::{Fingerprint, Key},
    kept::collision,
    postgres::{
        lives::{Life, signed},
        place,
    },
    waits::{Outcome, OutcomeNotice},
};

/// An event of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub event: &'a Event,
    pub fingerprint: Fingerprint,
    pub origin: Origin<'a>,
}

/// Where an arrival is in the stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub delivery: &'a Delivery,
    pub position: usize,
    pub place: i64,
}

/// The arrivals of the messages that are applied by this batch, in the order of the batch.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub events: Vec<Arrived<'a>>,
    pub rejections: Vec<(&'a Rejection, Origin<'a>)>,
    /// The events to insert: the first of each identity, in the order of fingerprints. All aggregators insert in this
    /// order, so that no two of them wait for each other's rows.
    pub firsts: Vec<usize>,
}

/// A stored event, as far as it is needed to recognize it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::postgres) struct Stored {
    pub place: i64,
    pub content: u64,
}

/// A stored event whose content is not the same byte for byte.
#[derive(Debug, Clone)]
pub(in crate::store::postgres) struct StoredContent {
    pub topic: Vec<u8>,
    pub event_id: Vec<u8>,
    pub timestamp: String,
    pub timestamp_filled: bool,
    pub source: Vec<u8>,
    pub payload: String,
}

/// What a batch adds to a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TopicDelta {
    pub unique: u64,
    pub duplicates: u64,
    pub digest: Digest,
}

/// A duplicate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat<'a> {
    pub topic: &'a str,
    /// The place of the event that has its identity.
    pub stored: i64,
    pub place: i64,
    /// That of a conflict.
    pub source: Option<&'a str>,
}

/// What a batch did, and the rows to write for it.
#[derive(Debug, Default)]
pub(super) struct Outcomes<'a> {
    pub done: Appended,
    /// In the order of names, in which all writers change them.
    pub topics: BTreeMap<&'a str, TopicDelta>,
    pub conflicts: Vec<&'a Arrived<'a>>,
    pub repeats: Vec<Repeat<'a>>,
    pub rejected: Vec<(std::borrow::Cow<'a, Rejection>, Origin<'a>)>,
    /// The first and the last place of what was stored.
    pub places: Option<(i64, i64)>,
    pub notices: Vec<OutcomeNotice>,
}

/// The fingerprints of a batch's events, one list for each delivery.
pub(super) fn fingerprints(key: &Key, batch: &[Delivery]) -> Vec<Vec<Fingerprint>> {
    batch
        .iter()
        .map(|delivery| {
            let events = delivery.arrivals.iter().flatten();
            events.map(|event| key.fingerprint(&event.into())).collect()
        })
        .collect()
}

impl<'a> Plan<'a> {
    /// The plan for these deliveries of a batch, each with the fingerprints of its events.
    pub fn of(
        applied: impl Iterator<Item = (&'a Delivery, &'a [Fingerprint])>,
        life: &Life,
    ) -> Self {
        let mut plan = Self::default();
        for (delivery, fingerprints) in applied {
            let message = life.base + signed(delivery.sequence);
            let mut fingerprints = fingerprints.iter();
            for (position, arrival) in delivery.arrivals.iter().enumerate() {
                let origin = Origin {
                    delivery,
                    position,
                    place: place::of(message, position),
                };
                match arrival {
                    Ok(event) => plan.events.push(Arrived {
                        event,
                        fingerprint: *fingerprints.next().expect("each event has one"),
                        origin,
                    }),
                    Err(rejection) => plan.rejections.push((rejection, origin)),
                }
            }
        }
        plan.firsts = (0..plan.events.len()).collect();
        let identity = |index: usize| plan.events[index].fingerprint.identity;
        // Stable: the first in the batch stays the first of its identity.
        plan.firsts.sort_by_key(|index| identity(*index));
        plan.firsts.dedup_by_key(|index| identity(*index));
        plan
    }

    /// The identities that were not inserted.
    pub fn known(&self, inserted: &HashSet<i64>) -> Vec<u128> {
        let events = self.firsts.iter().map(|index| &self.events[*index]);
        events
            .filter(|event| !inserted.contains(&event.origin.place))
            .map(|event| event.fingerprint.identity)
            .collect()
    }

    /// The identities whose stored content has to be read, because it differs from that of an arrival.
    pub fn differing(&self, stored: &HashMap<u128, Stored>) -> Vec<u128> {
        let mut differing: Vec<_> = self
            .events
            .iter()
            .filter(|arrived| {
                let stored = stored.get(&arrived.fingerprint.identity);
                stored.is_some_and(|stored| stored.content != arrived.fingerprint.content)
            })
            .map(|arrived| arrived.fingerprint.identity)
            .collect();
        differing.sort_unstable();
        differing.dedup();
        differing
    }

    /// What became of each arrival. `stored` has the events that were stored before this batch, and `contents` those of
    /// them that were read. `None` if one of them is in neither, which means that the database lost a row.
    pub fn outcomes(
        &'a self,
        key: &Key,
        stored: &HashMap<u128, Stored>,
        contents: &HashMap<u128, StoredContent>,
        wanted: &HashSet<u128>,
    ) -> Option<Outcomes<'a>> {
        let mut outcomes = Outcomes::default();
        let firsts = self.firsts.iter().map(|index| &self.events[*index]);
        let firsts: HashMap<u128, &Arrived<'_>> = firsts
            .map(|first| (first.fingerprint.identity, first))
            .collect();
        for arrived in &self.events {
            let identity = arrived.fingerprint.identity;
            let seen = match stored.get(&identity) {
                Some(known) if known.content == arrived.fingerprint.content => {
                    Seen::Same(known.place)
                }
                Some(known) => contents.get(&identity)?.compare(arrived.event, known.place),
                None => {
                    let first = *firsts.get(&identity)?;
                    if first.origin.place == arrived.origin.place {
                        Seen::Never
                    } else {
                        compare_in_batch(first, arrived)
                    }
                }
            };
            let outcome = outcomes.add(key, arrived, seen);
            if wanted.contains(&identity) {
                outcomes.notices.push(OutcomeNotice {
                    identity,
                    place: (arrived.origin.delivery.sequence, arrived.origin.position),
                    outcome,
                });
            }
        }
        for (rejection, origin) in &self.rejections {
            outcomes.done.rejected += 1;
            outcomes
                .rejected
                .push((std::borrow::Cow::Borrowed(*rejection), *origin));
        }
        Some(outcomes)
    }
}

/// Whether and how the identity of an event is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Never,
    Same(i64),
    Other(i64),
    Collision(i64),
}

impl StoredContent {
    fn compare(&self, event: &Event, place: i64) -> Seen {
        let is_identity = self.topic == event.topic.as_str().as_bytes()
            && self.event_id == event.event_id.as_str().as_bytes();
        let content = Content {
            timestamp: (!self.timestamp_filled).then_some(self.timestamp.as_bytes()),
            source: &self.source,
            payload: self.payload.as_bytes(),
        };
        seen(is_identity, event, &content, place)
    }
}

/// Compares an event with the first of its fingerprint in the same batch, which was inserted.
fn compare_in_batch(first: &Arrived<'_>, arrived: &Arrived<'_>) -> Seen {
    let place = first.origin.place;
    if first.fingerprint.content == arrived.fingerprint.content {
        return Seen::Same(place);
    }
    let (stored, event) = (first.event, arrived.event);
    let is_identity = stored.topic == event.topic && stored.event_id == event.event_id;
    let timestamp = &stored.timestamp;
    let content = Content {
        timestamp: (!timestamp.is_filled()).then_some(timestamp.as_str().as_bytes()),
        source: stored.source.as_str().as_bytes(),
        payload: stored.payload.as_bytes(),
    };
    seen(is_identity, event, &content, place)
}

fn seen(is_identity: bool, event: &Event, content: &Content<'_>, place: i64) -> Seen {
    match (is_identity, event.differing(content)) {
        (true, None) => Seen::Same(place),
        (true, Some(_)) => Seen::Other(place),
        (false, _) => Seen::Collision(place),
    }
}

impl<'a> Outcomes<'a> {
    fn add(&mut self, key: &Key, arrived: &'a Arrived<'a>, seen: Seen) -> Outcome {
        let place = arrived.origin.place;
        if let Seen::Collision(stored) = seen {
            self.done.rejected += 1;
            let rejection = collision(arrived.event, stored);
            self.rejected
                .push((std::borrow::Cow::Owned(rejection), arrived.origin));
            return Outcome::Rejected;
        }
        let topic = self.topics.entry(arrived.event.topic.as_str()).or_default();
        match seen {
            Seen::Never | Seen::Collision(_) => {
                topic.unique += 1;
                topic.digest.add(key, arrived.fingerprint);
                self.done.unique += 1;
                let (first, last) = self.places.unwrap_or((place, place));
                self.places = Some((first.min(place), last.max(place)));
                Outcome::Stored(place)
            }
            Seen::Same(stored) => {
                topic.duplicates += 1;
                self.done.duplicates += 1;
                self.repeats.push(Repeat::of(arrived, stored, None));
                Outcome::Duplicate(stored)
            }
            Seen::Other(stored) => {
                topic.duplicates += 1;
                self.done.duplicates += 1;
                self.done.conflicts += 1;
                self.conflicts.push(arrived);
                let source = Some(arrived.event.source.as_str());
                self.repeats.push(Repeat::of(arrived, stored, source));
                Outcome::Conflict(stored)
            }
        }
    }
}

impl<'a> Repeat<'a> {
    fn of(arrived: &'a Arrived<'a>, stored: i64, source: Option<&'a str>) -> Self {
        Self {
            topic: arrived.event.topic.as_str(),
            stored,
            place: arrived.origin.place,
            source,
        }
    }
}
