//! Whoever waits for what became of events: registered before they are published, told after the COMMIT.
//!
//! A commit can come before the `PubAck` that says which place in the stream an event has. So what became of all arrivals
//! of an identity is told to those who wait for it, by place, and they pick their own.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// Events that are waited for at once, in the process. Each takes about 200 bytes, and up to ten times that where others send
/// the same identities.
const MOST: usize = 100_000;

/// What is kept for one wait beyond the events that it waits for: arrivals of others.
const STRANGERS: usize = 1_000;

/// Where an event stands in the stream: the sequence of its message, and its place in it from 0.
pub type Place = (u64, usize);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is the event of this sequence.
    Stored(i64),
    /// The event of this sequence was there first, and is the same.
    Duplicate(i64),
    /// The event of this sequence was there first, and is another.
    Conflict(i64),
    /// It could not be stored; `GET /rejected` has it.
    Rejected,
}

/// What became of one arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutcomeNotice {
    pub identity: u128,
    pub place: Place,
    pub outcome: Outcome,
}

/// All waits. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits {
    wanted: Arc<Mutex<HashMap<u128, Vec<Arc<Inbox>>>>>,
    /// Events that are waited for, so that an append without any takes no lock.
    count: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Inbox {
    told: Mutex<HashMap<Place, Outcome>>,
    most: usize,
    bell: Notify,
}

/// A wait for what becomes of events.
#[derive(Debug)]
pub struct Wait {
    waits: Waits,
    identities: HashSet<u128>,
    events: usize,
    inbox: Arc<Inbox>,
}

impl Waits {
    /// Begins to wait for so many events of these identities; none where too many are waited for already. Must be called before the events are published.
    pub fn begin(&self, identities: HashSet<u128>, events: usize) -> Option<Wait> {
        let counted = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count + events <= MOST).then_some(count + events)
            });
        counted.ok()?;
        let inbox = Arc::new(Inbox {
            told: Mutex::default(),
            most: 10 * events + STRANGERS,
            bell: Notify::new(),
        });
        let mut wanted = self.wanted();
        for identity in &identities {
            wanted
                .entry(*identity)
                .or_default()
                .push(Arc::clone(&inbox));
        }
        drop(wanted);
        Some(Wait {
            waits: self.clone(),
            identities,
            events,
            inbox,
        })
    }

    /// Those of the identities that somebody waits for; none at all where nobody waits.
    pub fn wanted_of(&self, identities: impl Iterator<Item = u128>) -> HashSet<u128> {
        if self.count.load(Ordering::Acquire) == 0 {
            return HashSet::new();
        }
        let wanted = self.wanted();
        identities
            .filter(|identity| wanted.contains_key(identity))
            .collect()
    }

    /// Tells what has committed.
    pub fn tell(&self, told: &[OutcomeNotice]) {
        if told.is_empty() {
            return;
        }
        let mut touched = HashMap::new();
        let wanted = self.wanted();
        for OutcomeNotice {
            identity,
            place,
            outcome,
        } in told
        {
            for inbox in wanted.get(identity).into_iter().flatten() {
                inbox.put(*place, *outcome);
                touched
                    .entry(Arc::as_ptr(inbox))
                    .or_insert_with(|| Arc::clone(inbox));
            }
        }
        drop(wanted);
        // Once each: whoever wakes looks at all its places.
        for inbox in touched.values() {
            inbox.bell.notify_one();
        }
    }

    fn wanted(&self) -> MutexGuard<'_, HashMap<u128, Vec<Arc<Inbox>>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn put(&self, place: Place, outcome: Outcome) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else sends these identities again and again. What is left out stays pending for its waiter.
        if told.len() < self.most {
            told.insert(place, outcome);
        }
    }
}

impl Wait {
    /// Waits until what became of all these places is known. To be given up at any time: what is known then,
    /// [`Self::known`] tells.
    pub async fn all(&self, places: &[Place]) {
        while self.known(places).contains(&None) {
            self.inbox.bell.notified().await;
        }
    }

    /// What is known of these places, in their order.
    #[must_use]
    pub fn known(&self, places: &[Place]) -> Vec<Option<Outcome>> {
        let told = self.inbox.told.lock();
        let told = told.unwrap_or_else(PoisonError::into_inner);
        places
            .iter()
            .map(|place| told.get(place).copied())
            .collect()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut wanted = self.waits.wanted();
        for identity in &self.identities {
            if let Some(inboxes) = wanted.get_mut(identity) {
                inboxes.retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
                if inboxes.is_empty() {
                    wanted.remove(identity);
                }
            }
        }
        drop(wanted);
        self.waits.count.fetch_sub(self.events, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(identity: u128, place: Place, outcome: Outcome) -> OutcomeNotice {
        OutcomeNotice {
            identity,
            place,
            outcome,
        }
    }

    #[tokio::test]
    async fn each_waiter_learns_of_its_own_place_also_what_came_before_it_asked() {
        let waits = Waits::default();
        let first = waits.begin(HashSet::from([7]), 1).unwrap();
        let second = waits.begin(HashSet::from([7, 8]), 2).unwrap();
        let wanted = waits.wanted_of([6, 7, 8].into_iter());
        assert_eq!(wanted, HashSet::from([7, 8]));
        waits.tell(&[
            told(7, (1, 0), Outcome::Stored(5)),
            told(7, (1, 1), Outcome::Duplicate(5)),
        ]);
        first.all(&[(1, 0)]).await;
        assert_eq!(first.known(&[(1, 0)]), [Some(Outcome::Stored(5))]);
        let places = [(1, 1), (2, 0)];
        assert_eq!(second.known(&places), [Some(Outcome::Duplicate(5)), None]);
        let all = second.all(&places);
        waits.tell(&[told(8, (2, 0), Outcome::Conflict(3))]);
        all.await;
        assert_eq!(second.known(&places)[1], Some(Outcome::Conflict(3)));
    }

    #[test]
    fn what_is_not_waited_for_any_more_is_forgotten_and_there_is_an_end_to_it() {
        let waits = Waits::default();
        let all = waits.begin((0..MOST as u128).collect(), MOST).unwrap();
        assert!(waits.begin(HashSet::from([1]), 1).is_none());
        drop(all);
        assert!(waits.wanted_of([1].into_iter()).is_empty());
        assert!(waits.wanted().is_empty());
        assert!(waits.begin(HashSet::from([1]), 1).is_some());
    }

    #[test]
    fn what_strangers_send_again_and_again_is_kept_up_to_a_bound() {
        let waits = Waits::default();
        let wait = waits.begin(HashSet::from([1]), 1).unwrap();
        for sequence in 0..5_000 {
            waits.tell(&[told(1, (sequence, 0), Outcome::Duplicate(1))]);
        }
        assert_eq!(wait.inbox.told.lock().unwrap().len(), 10 + STRANGERS);
    }
}
