//! Waiters for event outcomes: registered before publishing, notified after COMMIT.
//!
//! A commit can precede the `PubAck` that gives an event's place in the stream. So the outcomes of all arrivals of an identity,
//! by place, go to everyone who waits for the identity, and each waiter picks its own.

mod awaited;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

pub(super) use self::awaited::{Awaited, AwaitedPlace};

/// Events that may be waited for concurrently in the process. Each takes about 200 bytes, and up to ten times that if others
/// send the same identities.
const MOST: usize = 100_000;

/// Outcomes kept for one wait in addition to ten per event that it waits for: arrivals from other senders.
const FROM_OTHERS: usize = 1_000;

/// An event's place in the stream: the sequence of its message, and its position in the message, from 0.
pub type StreamPlace = (u64, usize);

/// The outcome of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was stored with this sequence.
    Stored(i64),
    /// The event of this sequence was stored first and is the same.
    Duplicate(i64),
    /// The event of this sequence was stored first and differs.
    Conflict(i64),
    /// It could not be stored; `GET /rejected` lists it.
    Rejected,
}

/// The outcome of one arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutcomeNotice {
    pub identity: u128,
    pub place: StreamPlace,
    pub outcome: Outcome,
}

/// All waits. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits {
    wanted: Arc<Mutex<HashMap<u128, Vec<Arc<Inbox>>>>>,
    /// The number of events waited for, so that an append takes no lock if there are none.
    count: Arc<AtomicUsize>,
    /// Where the events are, if others append to the store, too: their outcomes have to be read from it.
    awaited: Option<Arc<Awaited>>,
}

#[derive(Debug)]
struct Inbox {
    outcomes: Mutex<HashMap<StreamPlace, Outcome>>,
    most: usize,
    changed: Notify,
}

/// A wait for the outcomes of events.
#[derive(Debug)]
pub struct Wait {
    waits: Waits,
    /// Of each event, in the order of the events.
    identities: Vec<u128>,
    inbox: Arc<Inbox>,
}

impl Waits {
    /// Those of a store to which others append, too.
    pub fn shared() -> Self {
        Self {
            awaited: Some(Arc::default()),
            ..Self::default()
        }
    }

    /// The places that are waited for, if others append to the store, too.
    pub fn awaited(&self) -> Option<&Arc<Awaited>> {
        self.awaited.as_ref()
    }

    /// Begins to wait for events of these identities; `None` if too many are waited for already. Must be called before the events
    /// are published.
    pub fn begin(&self, identities: Vec<u128>) -> Option<Wait> {
        let events = identities.len();
        let counted = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count + events <= MOST).then_some(count + events)
            });
        counted.ok()?;
        let inbox = Arc::new(Inbox {
            outcomes: Mutex::default(),
            most: 10 * events + FROM_OTHERS,
            changed: Notify::new(),
        });
        let mut wanted = self.wanted();
        for identity in identities.iter().copied().collect::<HashSet<_>>() {
            wanted.entry(identity).or_default().push(Arc::clone(&inbox));
        }
        drop(wanted);
        Some(Wait {
            waits: self.clone(),
            identities,
            inbox,
        })
    }

    /// The identities among these that are waited for.
    pub fn wanted_of(&self, identities: impl Iterator<Item = u128>) -> HashSet<u128> {
        if self.count.load(Ordering::Acquire) == 0 {
            return HashSet::new();
        }
        let wanted = self.wanted();
        identities
            .filter(|identity| wanted.contains_key(identity))
            .collect()
    }

    /// Notifies the waiters of committed outcomes.
    pub fn notify(&self, notices: &[OutcomeNotice]) {
        if notices.is_empty() {
            return;
        }
        let mut touched = HashMap::new();
        let wanted = self.wanted();
        for OutcomeNotice {
            identity,
            place,
            outcome,
        } in notices
        {
            for inbox in wanted.get(identity).into_iter().flatten() {
                inbox.put(*place, *outcome);
                touched
                    .entry(Arc::as_ptr(inbox))
                    .or_insert_with(|| Arc::clone(inbox));
            }
        }
        drop(wanted);
        // Once each: a waiter that wakes checks all its places.
        for inbox in touched.values() {
            inbox.changed.notify_one();
        }
    }

    fn wanted(&self) -> MutexGuard<'_, HashMap<u128, Vec<Arc<Inbox>>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn put(&self, place: StreamPlace, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        // Beyond the limit another sender repeats these identities. What is dropped stays pending for its waiter.
        if outcomes.len() < self.most {
            outcomes.insert(place, outcome);
        }
    }
}

impl Wait {
    /// Waits until the outcomes at all these places are known: those of the events, in their order. Cancel-safe: [`Self::known`]
    /// returns the outcomes known until then.
    pub async fn all(&self, places: &[StreamPlace]) {
        let awaited = self.waits.awaited.as_ref();
        let _listed = awaited.map(|awaited| awaited.list(&self.inbox, places, &self.identities));
        while self.known(places).contains(&None) {
            self.inbox.changed.notified().await;
        }
    }

    /// The outcomes at these places, in their order, as far as they are known.
    #[must_use]
    pub fn known(&self, places: &[StreamPlace]) -> Vec<Option<Outcome>> {
        let outcomes = self.inbox.outcomes.lock();
        let outcomes = outcomes.unwrap_or_else(PoisonError::into_inner);
        places
            .iter()
            .map(|place| outcomes.get(place).copied())
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
        let events = self.identities.len();
        self.waits.count.fetch_sub(events, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(identity: u128, place: StreamPlace, outcome: Outcome) -> OutcomeNotice {
        OutcomeNotice {
            identity,
            place,
            outcome,
        }
    }

    #[tokio::test]
    async fn each_waiter_sees_the_outcomes_at_its_places_even_those_committed_before_it_asked() {
        let waits = Waits::default();
        let first = waits.begin(vec![7]).unwrap();
        let second = waits.begin(vec![7, 8]).unwrap();
        let wanted = waits.wanted_of([6, 7, 8].into_iter());
        assert_eq!(wanted, HashSet::from([7, 8]));
        waits.notify(&[
            notice(7, (1, 0), Outcome::Stored(5)),
            notice(7, (1, 1), Outcome::Duplicate(5)),
        ]);
        first.all(&[(1, 0)]).await;
        assert_eq!(first.known(&[(1, 0)]), [Some(Outcome::Stored(5))]);
        let places = [(1, 1), (2, 0)];
        assert_eq!(second.known(&places), [Some(Outcome::Duplicate(5)), None]);
        let all = second.all(&places);
        waits.notify(&[notice(8, (2, 0), Outcome::Conflict(3))]);
        all.await;
        assert_eq!(second.known(&places)[1], Some(Outcome::Conflict(3)));
    }

    #[test]
    fn a_dropped_wait_is_forgotten_and_the_number_of_events_waited_for_is_bounded() {
        let waits = Waits::default();
        let all = waits.begin((0..MOST as u128).collect()).unwrap();
        assert!(waits.begin(vec![1]).is_none());
        drop(all);
        assert!(waits.wanted_of([1].into_iter()).is_empty());
        assert!(waits.wanted().is_empty());
        assert!(waits.begin(vec![1]).is_some());
    }

    #[test]
    fn outcomes_of_other_senders_are_kept_up_to_a_bound() {
        let waits = Waits::default();
        let wait = waits.begin(vec![1]).unwrap();
        for sequence in 0..5_000 {
            waits.notify(&[notice(1, (sequence, 0), Outcome::Duplicate(1))]);
        }
        assert_eq!(wait.inbox.outcomes.lock().unwrap().len(), 10 + FROM_OTHERS);
    }
}
