//! Places for connections, or for requests over HTTP/2, limited for each address so that some remain for the others.
//!
//! An address may hold as many places as are free, the one that it is about to get included. So an address alone gets half of
//! all places, two get a third each, and an address without any gets the last one. No number has to be chosen for that, and a proxy,
//! whose connections all have one address, has enough places as long as others are few.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::edge::access::failures::network;

/// The places. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Arc<Semaphore>,
    /// How many each address holds; those that hold none are not in it.
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// This many places.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Shared {
            free: Arc::new(Semaphore::new(count)),
            held: Mutex::default(),
        }))
    }

    /// Waits until a place is free, and keeps it for [`Self::take`].
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn free(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.0.free).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Gives a free place to this address, unless the address already holds as many as are free: then the error is how many
    /// it holds.
    pub fn take(&self, free: OwnedSemaphorePermit, address: IpAddr) -> Result<Place, usize> {
        let address = network(address);
        let mut held = self.held();
        let left = self.0.free.available_permits() + 1;
        let count = held.get(&address).copied().unwrap_or(0);
        if count >= left {
            return Err(count);
        }
        held.insert(address, count + 1);
        Ok(Place {
            places: self.clone(),
            address,
            _permit: free,
        })
    }

    /// Gives a place to this address, if one is free and [`Self::take`] gives it.
    pub fn try_take(&self, address: IpAddr) -> Option<Place> {
        let free = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        self.take(free, address).ok()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.places.held().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(places: &Places, address: u8) -> Option<Place> {
        places.try_take(IpAddr::from([192, 0, 2, address]))
    }

    /// How many places each of these addresses gets if it takes as many as it can, in turn with the others.
    fn greedy(count: usize, addresses: u8) -> Vec<usize> {
        let places = Places::new(count);
        let mut taken: Vec<Vec<Place>> = (0..addresses).map(|_| Vec::new()).collect();
        loop {
            let mut got = false;
            for (address, taken) in (0..).zip(&mut taken) {
                if let Some(place) = take(&places, address) {
                    taken.push(place);
                    got = true;
                }
            }
            if !got {
                break;
            }
        }
        taken.iter().map(Vec::len).collect()
    }

    #[test]
    fn greedy_addresses_get_equal_shares_and_leave_one_free() {
        assert_eq!(greedy(2_048, 1), [1_024]);
        assert_eq!(greedy(2_048, 2), [683, 683]);
        assert_eq!(greedy(2_048, 15), [128; 15]);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let places = Places::new(2);
        let take = |address: &str| places.try_take(address.parse().unwrap());
        let first = take("2001:db8::1");
        assert!(first.is_some() && take("2001:db8::2").is_none());
        assert!(take("2001:db8:0:1::1").is_some());
    }

    proptest! {
        #[test]
        fn a_free_place_is_never_refused_to_an_address_without_one_and_all_come_back(
            steps in prop::collection::vec((0..4_u8, any::<bool>()), 0..200),
        ) {
            let places = Places::new(8);
            let mut taken: Vec<Place> = Vec::new();
            for (address, is_taking) in steps {
                let ip = IpAddr::from([192, 0, 2, address]);
                let held = taken.iter().filter(|place| place.address == ip).count();
                if is_taking {
                    let free = 8 - taken.len();
                    let place = take(&places, address);
                    prop_assert_eq!(place.is_some(), held < free);
                    taken.extend(place);
                } else if let Some(at) = taken.iter().position(|place| place.address == ip) {
                    drop(taken.swap_remove(at));
                }
            }
            drop(taken);
            prop_assert_eq!(places.0.free.available_permits(), 8);
            prop_assert!(places.held().is_empty());
        }
    }
}
