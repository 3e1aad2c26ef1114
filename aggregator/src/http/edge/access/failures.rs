//! Attempts with tokens that are not valid: counted, limited and logged by address.
//!
//! A valid token is accepted from every address, however many attempts failed there: many clients can share the address of a
//! proxy, and a token cannot be guessed. The limit keeps a client that was misconfigured from filling the log and the metrics.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::Metrics;

/// Failed attempts of an address that are answered with 401 in each [`PERIOD`]; further ones are answered with 429.
const LIMIT: u64 = if cfg!(test) { 5 } else { 60 };

/// The time after which attempts are logged, and are counted from 0 again.
const PERIOD: Duration = Duration::from_secs(60);

/// Addresses that are counted apart in each period; all others are counted together.
const ADDRESSES: usize = 1_000;

/// The failed attempts of the current period. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct Failures(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    metrics: Metrics,
    period: Mutex<Period>,
}

#[derive(Debug)]
struct Period {
    began: Instant,
    /// By address; `None` for those that are not counted apart.
    counts: HashMap<Option<IpAddr>, u64>,
}

impl Failures {
    pub(super) fn new(metrics: Metrics) -> Self {
        let period = Period {
            began: Instant::now(),
            counts: HashMap::new(),
        };
        Self(Arc::new(Counted {
            metrics,
            period: Mutex::new(period),
        }))
    }

    /// Counts an attempt at `now`. If the address has had too many, returns the time after which it can try again.
    pub fn count(&self, peer: Option<IpAddr>, now: Instant) -> Option<Duration> {
        self.0.metrics.authentication_failed();
        let mut period = self.0.period.lock().unwrap_or_else(PoisonError::into_inner);
        let address = peer.map(network);
        let is_apart = period.counts.len() < ADDRESSES || period.counts.contains_key(&address);
        let count = period
            .counts
            .entry(address.filter(|_| is_apart))
            .or_default();
        *count += 1;
        let is_over = *count > LIMIT;
        let pause = PERIOD.saturating_sub(now.saturating_duration_since(period.began));
        is_over.then(|| pause.max(Duration::from_secs(1)))
    }

    /// Begins a new period, and returns the counts of the one that ends.
    fn end_period(&self, now: Instant) -> HashMap<Option<IpAddr>, u64> {
        let mut period = self.0.period.lock().unwrap_or_else(PoisonError::into_inner);
        period.began = now;
        std::mem::take(&mut period.counts)
    }

    /// Logs the attempts of each period.
    pub async fn keep_reporting(self, token: CancellationToken) {
        let mut ticks = interval_at(tokio::time::Instant::now() + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_end = tokio::select! {
                _ = ticks.tick() => false,
                () = token.cancelled() => true,
            };
            for (address, attempts) in self.end_period(Instant::now()) {
                let address =
                    address.map_or_else(|| "others".to_owned(), |address| address.to_string());
                warn!(
                    client.address = address,
                    attempts, "requests were refused because their token is not valid"
                );
            }
            if is_end {
                return;
            }
        }
    }
}

/// What is counted as one address: of IPv6 the network, since a client has all addresses of it.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_limit_in_each_period() {
        let failures = Failures::new(Metrics::new());
        let now = Instant::now();
        let count = |address: &str| failures.count(Some(address.parse().unwrap()), now);
        for _ in 0..LIMIT {
            assert_eq!(count("192.0.2.1"), None);
            assert_eq!(count("2001:db8::1"), None);
        }
        assert!(count("192.0.2.1").is_some_and(|pause| pause <= PERIOD));
        assert!(count("::ffff:192.0.2.1").is_some());
        assert!(count("2001:db8::2").is_some(), "the same network");
        assert_eq!(count("2001:db8:0:1::1"), None);
        assert_eq!(count("192.0.2.2"), None);
        let ended = failures.end_period(now);
        let address = Some("192.0.2.1".parse().unwrap());
        assert_eq!(ended[&address], LIMIT + 2);
        assert_eq!(count("192.0.2.1"), None);
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let failures = Failures::new(Metrics::new());
        for number in 0..2_000_u32 {
            let address = IpAddr::V4(number.to_be().into());
            failures.count(Some(address), Instant::now());
        }
        let ended = failures.end_period(Instant::now());
        assert_eq!(ended.len(), ADDRESSES + 1);
        assert_eq!(ended[&None], 1_000);
    }
}
