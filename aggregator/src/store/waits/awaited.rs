//! The places that are waited for, for a store to which others append, too.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{Inbox, StreamPlace};

/// Lists the places whose outcomes are not known.
#[derive(Debug, Default)]
pub(in crate::store) struct Awaited {
    waits: Mutex<Listed>,
    more: Notify,
    /// The current life of the stream. In a later one, other messages have the same sequences.
    life: AtomicI64,
}

#[derive(Debug, Default)]
struct Listed {
    next: u64,
    waits: HashMap<u64, ListedWait>,
}

#[derive(Debug)]
struct ListedWait {
    life: i64,
    inbox: Arc<Inbox>,
    places: Vec<AwaitedPlace>,
}

/// A place, and the identity of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct AwaitedPlace {
    pub place: StreamPlace,
    pub identity: u128,
}

/// A wait whose places are listed until this is dropped.
#[derive(Debug)]
pub(super) struct OnList {
    awaited: Arc<Awaited>,
    number: u64,
}

impl Awaited {
    /// Lists the places of a wait.
    pub(super) fn list(
        self: &Arc<Self>,
        inbox: &Arc<Inbox>,
        places: &[StreamPlace],
        identities: &[u128],
    ) -> OnList {
        let places = places.iter().zip(identities);
        let places = places.map(|(place, identity)| AwaitedPlace {
            place: *place,
            identity: *identity,
        });
        let wait = ListedWait {
            life: self.life.load(Ordering::Relaxed),
            inbox: Arc::clone(inbox),
            places: places.collect(),
        };
        let mut listed = self.listed();
        let number = listed.next;
        listed.next += 1;
        listed.waits.insert(number, wait);
        drop(listed);
        self.more.notify_one();
        OnList {
            awaited: Arc::clone(self),
            number,
        }
    }

    /// Places that are listed from now on are of this life of the stream.
    pub fn is_in(&self, life: i64) {
        self.life.store(life, Ordering::Relaxed);
    }

    /// Waits until a place is listed. For one task.
    pub async fn any(&self) {
        while self.listed().waits.is_empty() {
            self.more.notified().await;
        }
    }

    /// The places in a life whose outcomes are not known, in the order of the stream.
    pub fn places(&self, life: i64) -> Vec<AwaitedPlace> {
        let mut open = Vec::new();
        let mut listed = self.listed();
        for wait in listed.waits.values_mut().filter(|wait| wait.life == life) {
            let known = wait.inbox.outcomes.lock();
            let known = known.unwrap_or_else(PoisonError::into_inner);
            // One that is known stays known.
            wait.places
                .retain(|awaited| !known.contains_key(&awaited.place));
            open.extend_from_slice(&wait.places);
        }
        open.sort_unstable();
        open.dedup();
        open
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnList {
    fn drop(&mut self) {
        self.awaited.listed().waits.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;

    use super::super::{Outcome, OutcomeNotice, Waits};
    use super::*;

    #[tokio::test]
    async fn places_are_listed_while_their_outcomes_are_waited_for_and_not_known() {
        let waits = Waits::shared();
        let awaited = Arc::clone(waits.awaited().unwrap());
        let wait = waits.begin(vec![8, 7]).unwrap();
        awaited.is_in(1);
        assert!(awaited.places(1).is_empty(), "they have no place yet");
        let places = [(5, 1), (5, 0)];
        let mut all = Box::pin(wait.all(&places));
        assert!(poll!(&mut all).is_pending());
        assert!(poll!(pin!(awaited.any())).is_ready());
        let of = |place, identity| AwaitedPlace { place, identity };
        awaited.is_in(2);
        assert!(awaited.places(2).is_empty(), "other messages have them");
        assert_eq!(awaited.places(1), [of((5, 0), 7), of((5, 1), 8)]);
        waits.notify(&[OutcomeNotice {
            identity: 7,
            place: (5, 0),
            outcome: Outcome::Stored(1),
        }]);
        assert_eq!(awaited.places(1), [of((5, 1), 8)]);
        drop(all);
        assert!(awaited.places(1).is_empty(), "the request has ended");
        assert!(poll!(pin!(awaited.any())).is_pending());
    }
}
