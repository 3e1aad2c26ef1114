//! The delivery of one batch, retried until its `PubAck` arrives.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use shared::{
    event::Topic,
    publish::{PublishError, Publisher},
};
use tokio::time::sleep;
use tracing::warn;

use super::Batch;
use crate::send_stats::Tally;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A batch that can never be published, which ends the flow.
#[derive(Debug, thiserror::Error)]
#[error("{events} events{} cannot be published", of_topic(.topic.as_deref()))]
pub struct Refused {
    /// The topic of all events; `None` if they have several.
    topic: Option<String>,
    events: usize,
    source: PublishError,
}

fn of_topic(topic: Option<&str>) -> String {
    topic
        .map(|topic| format!(" of topic {topic:?}"))
        .unwrap_or_default()
}

/// A batch that is in the stream.
#[derive(Debug)]
pub(super) struct Confirmation {
    pub bytes: usize,
    /// As in the batch.
    kinds: Vec<(usize, bool)>,
    /// Additional copies of each event that may be in the stream: one for each attempt of unknown outcome.
    possible_copies: u64,
    /// Time from the first attempt to send the confirmed message until its `PubAck` arrived.
    pub latency: Duration,
}

impl Confirmation {
    pub fn events(&self) -> u64 {
        self.kinds.len() as u64
    }

    /// For each event, the index of its topic and what to count for it.
    pub fn tallies(&self) -> impl Iterator<Item = (usize, Tally)> {
        self.kinds.iter().map(|(topic, is_new)| {
            let tally = Tally {
                sent: 1,
                unique: u64::from(*is_new),
                possibly_doubled: self.possible_copies,
            };
            (*topic, tally)
        })
    }
}

/// What all deliveries share.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub publisher: &'a Publisher,
    pub topics: &'a [Topic],
    /// Number of batches waiting for space in the stream.
    pub waiting_for_space: AtomicUsize,
}

impl Delivery<'_> {
    /// Sends a batch until it is confirmed.
    ///
    /// The publishing client itself retries a message with the same id. If it returns an error, either the message is
    /// not in the stream, and sending the events again is safe, or the outcome is unknown, and sending them again may
    /// store them twice.
    ///
    /// # Errors
    /// If the broker rejects the message or the publishing client has stopped.
    pub async fn run(&self, batch: Batch) -> Result<Confirmation, Refused> {
        let topic = batch.topic().map(|topic| &self.topics[topic]);
        let mut attempts = Attempts::new();
        loop {
            let submitted = self
                .publisher
                .submit_chunk(topic.cloned(), batch.events.clone());
            let outcome = match submitted.await {
                Ok(receipt) => receipt.confirmed().await,
                Err(err) => Err(err),
            };
            let err = match outcome {
                Ok(confirmed) => {
                    return Ok(Confirmation {
                        bytes: batch.bytes,
                        kinds: batch.kinds,
                        possible_copies: attempts.possible_copies,
                        latency: confirmed.latency,
                    });
                }
                Err(err) => err,
            };
            match attempts.retry(&err) {
                Retry::Immediately => warn!(
                    event.topic = topic.map(Topic::as_str),
                    batch.events = batch.events.len(),
                    error = %err,
                    "no PubAck arrived in time; sending the events again, which may store them in the stream twice"
                ),
                Retry::After(pause) => {
                    let _guard = WaitGuard::new(&self.waiting_for_space);
                    sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                }
                Retry::Never => {
                    return Err(Refused {
                        topic: topic.map(Topic::to_string),
                        events: batch.events.len(),
                        source: err,
                    });
                }
            }
        }
    }
}

/// The attempts to publish a batch so far.
#[derive(Debug)]
struct Attempts {
    /// Attempts of unknown outcome, each of which may have stored a copy.
    possible_copies: u64,
    pause: Duration,
}

/// When to retry a batch.
#[derive(Debug, PartialEq, Eq)]
enum Retry {
    Immediately,
    After(Duration),
    Never,
}

impl Attempts {
    fn new() -> Self {
        Self {
            possible_copies: 0,
            pause: FIRST_PAUSE,
        }
    }

    /// When to retry after a failed attempt.
    fn retry(&mut self, err: &PublishError) -> Retry {
        match err {
            PublishError::StreamFull(_) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                Retry::After(pause)
            }
            PublishError::Unconfirmed(_) => {
                self.possible_copies += 1;
                Retry::Immediately
            }
            PublishError::Refused(_) | PublishError::Stopped => Retry::Never,
        }
    }
}

/// Counts a batch as waiting until the guard is dropped.
struct WaitGuard<'a>(&'a AtomicUsize);

impl<'a> WaitGuard<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_of_unknown_outcome_may_have_stored_a_copy_of_the_batch() {
        let full = || PublishError::StreamFull(String::new());
        let unconfirmed = || PublishError::Unconfirmed(String::new());
        let mut attempts = Attempts::new();
        assert_eq!(attempts.retry(&full()), Retry::After(FIRST_PAUSE));
        assert_eq!(attempts.possible_copies, 0);
        for (round, pauses) in [(1, 2), (2, 4), (3, 8)] {
            assert_eq!(attempts.retry(&unconfirmed()), Retry::Immediately);
            assert_eq!(attempts.possible_copies, round);
            assert_eq!(attempts.retry(&full()), Retry::After(FIRST_PAUSE * pauses));
        }
        assert_eq!(attempts.retry(&PublishError::Stopped), Retry::Never);
        let confirmed = Confirmation {
            bytes: 9,
            kinds: vec![(0, true), (2, false)],
            possible_copies: attempts.possible_copies,
            latency: Duration::ZERO,
        };
        let tally = |unique| Tally {
            sent: 1,
            unique,
            possibly_doubled: 3,
        };
        let tallies: Vec<_> = confirmed.tallies().collect();
        assert_eq!(tallies, [(0, tally(1)), (2, tally(0))]);
    }
}
