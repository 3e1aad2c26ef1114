//! What the sender of a request may do.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{pattern::Patterns, subject::Subject};

/// What the sender of a request may do.
#[derive(Debug)]
pub struct Grant {
    /// The token's name; `None` if the service has no tokens.
    pub name: Option<Arc<str>>,
    /// The SHA-256 of the token's text; `None` if it is shown by a certificate, or if the service has no tokens.
    pub sha256: Option<[u8; 32]>,
    /// The subject of the client certificate that shows it in place of a token's text.
    pub subject: Option<Subject>,
    /// The topics whose events it may publish.
    pub publish: Patterns,
    /// The topics whose events it may read.
    pub read: Arc<Patterns>,
    /// Whether it may operate the service.
    pub admin: bool,
    /// When it ends, in microseconds since 1970.
    pub expires: Option<i64>,
    /// How many events it may publish.
    pub rate: Option<Rate>,
}

impl Grant {
    /// That of everybody if the service has no tokens.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: None,
            sha256: None,
            subject: None,
            publish: Patterns::every(),
            read: Arc::new(Patterns::every()),
            admin: true,
            expires: None,
            rate: None,
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it allows the same to the same client as another one, other than by its rate.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            name,
            sha256,
            subject,
            publish,
            read,
            admin,
            expires,
            rate: _,
        } = self;
        *name == other.name
            && *sha256 == other.sha256
            && *subject == other.subject
            && *publish == other.publish
            && *read == other.read
            && *admin == other.admin
            && *expires == other.expires
    }

    /// Whether it may read what is about all topics.
    #[must_use]
    pub fn reads_everything(&self) -> bool {
        self.read.is_every()
    }
}

/// A limit on the events that are published with a token, as the generic cell rate algorithm keeps it: a second's worth may come
/// at once. A larger request is accepted when nothing is owed, since it could never be sent otherwise, and what it exceeds the
/// limit by is owed afterwards. Clones share what is owed.
#[derive(Debug, Clone)]
pub struct Rate {
    per_second: NonZeroU32,
    /// When all events so far would have been sent at exactly this rate.
    paid: Arc<Mutex<Option<Instant>>>,
}

/// What may come at once.
const BURST: Duration = Duration::from_secs(1);

impl Rate {
    /// A limit on the events in each second.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        Self {
            per_second,
            paid: Arc::default(),
        }
    }

    /// The events in each second.
    #[must_use]
    pub fn per_second(&self) -> NonZeroU32 {
        self.per_second
    }

    /// Counts events that are to be published at `now`.
    ///
    /// # Errors
    /// With the time after which they may be. They are not counted then.
    pub fn spend(&self, events: usize, now: Instant) -> Result<(), Duration> {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let due = paid.map_or(now, |paid| paid.max(now));
        let cost = Duration::from_secs(events as u64) / self.per_second.get();
        // The part of the burst that the request does not fit into; a larger one needs all of the burst.
        let over = (due + cost.min(BURST)).saturating_duration_since(now + BURST);
        if !over.is_zero() {
            return Err(over);
        }
        *paid = Some(due + cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u32) -> Rate {
        Rate::new(NonZeroU32::new(per_second).unwrap())
    }

    #[test]
    fn a_second_of_events_may_come_at_once_and_the_next_when_they_are_due() {
        let (rate, start) = (rate(10), Instant::now());
        for _ in 0..10 {
            assert_eq!(rate.spend(1, start), Ok(()));
        }
        assert_eq!(rate.spend(1, start), Err(Duration::from_millis(100)));
        assert_eq!(rate.spend(3, start), Err(Duration::from_millis(300)));
        let later = start + Duration::from_millis(300);
        assert_eq!(rate.spend(3, later), Ok(()));
        assert_eq!(rate.spend(1, later), Err(Duration::from_millis(100)));
    }

    #[test]
    fn a_larger_request_is_accepted_and_owes_the_rest() {
        let (rate, start) = (rate(10), Instant::now());
        assert_eq!(rate.spend(1, start), Ok(()));
        assert_eq!(rate.spend(50, start), Err(Duration::from_millis(100)));
        let due = start + Duration::from_millis(100);
        assert_eq!(rate.spend(50, due), Ok(()));
        assert_eq!(rate.spend(1, due), Err(Duration::from_millis(4_100)));
    }

    proptest! {
        #[test]
        fn accepted_events_never_exceed_the_rate_by_more_than_a_burst_and_a_request(
            requests in prop::collection::vec((1..30_usize, 0..2_000_u64), 1..50),
        ) {
            let (rate, start) = (rate(10), Instant::now());
            let (mut now, mut accepted) = (start, 0);
            for (events, pause) in requests {
                now += Duration::from_millis(pause);
                match rate.spend(events, now) {
                    Ok(()) => accepted += events,
                    Err(after) => {
                        prop_assert!(!after.is_zero());
                        now += after;
                        prop_assert_eq!(rate.spend(events, now), Ok(()));
                        accepted += events;
                    }
                }
                // One more for the part of an event that the division drops.
                let allowed = (now - start).as_millis() / 100 + 10 + 30 + 1;
                prop_assert!(accepted as u128 <= allowed);
            }
        }
    }
}
