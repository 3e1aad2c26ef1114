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
#[error("{events} events of topic {topic:?} cannot be published")]
pub struct Refused {
    topic: String,
    events: usize,
    source: PublishError,
}

/// A batch that is in the stream.
#[derive(Debug)]
pub(super) struct Confirmation {
    pub topic: usize,
    pub events: u64,
    pub bytes: usize,
    pub new: u64,
    /// Additional copies of events that may be in the stream: the whole batch for each attempt of unknown outcome.
    pub possibly_doubled: u64,
    /// Time from the first attempt to send the confirmed message until its `PubAck` arrived.
    pub latency: Duration,
}

impl Confirmation {
    pub fn tally(&self) -> Tally {
        Tally {
            sent: self.events,
            unique: self.new,
            possibly_doubled: self.possibly_doubled,
        }
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
        let topic = &self.topics[batch.topic];
        let events = batch.events.len() as u64;
        let mut attempts = Attempts::of(events);
        loop {
            let submitted = self
                .publisher
                .submit_chunk(topic.clone(), batch.events.clone());
            let outcome = match submitted.await {
                Ok(receipt) => receipt.confirmed().await,
                Err(err) => Err(err),
            };
            let err = match outcome {
                Ok(confirmed) => {
                    return Ok(Confirmation {
                        topic: batch.topic,
                        events,
                        bytes: batch.bytes,
                        new: batch.new,
                        possibly_doubled: attempts.possibly_doubled,
                        latency: confirmed.latency,
                    });
                }
                Err(err) => err,
            };
            match attempts.retry(&err) {
                Retry::Immediately => warn!(
                    event.topic = topic.as_str(),
                    batch.events = events,
                    error = %err,
                    "no PubAck arrived in time; sending the events again, which may store them in the stream twice"
                ),
                Retry::After(pause) => {
                    let _guard = WaitGuard::new(&self.waiting_for_space);
                    sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                }
                Retry::Never => {
                    return Err(Refused {
                        topic: topic.as_str().to_owned(),
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
    events: u64,
    possibly_doubled: u64,
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
    fn of(events: u64) -> Self {
        Self {
            events,
            possibly_doubled: 0,
            pause: FIRST_PAUSE,
        }
    }

    /// When to retry after a failed attempt. Each attempt of unknown outcome may have stored a copy.
    fn retry(&mut self, err: &PublishError) -> Retry {
        match err {
            PublishError::StreamFull(_) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                Retry::After(pause)
            }
            PublishError::Unconfirmed(_) => {
                self.possibly_doubled += self.events;
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
        let mut attempts = Attempts::of(7);
        assert_eq!(attempts.retry(&full()), Retry::After(FIRST_PAUSE));
        assert_eq!(attempts.possibly_doubled, 0);
        for (round, pauses) in [(1, 2), (2, 4), (3, 8)] {
            assert_eq!(attempts.retry(&unconfirmed()), Retry::Immediately);
            assert_eq!(attempts.possibly_doubled, 7 * round);
            assert_eq!(attempts.retry(&full()), Retry::After(FIRST_PAUSE * pauses));
        }
        assert_eq!(attempts.retry(&PublishError::Stopped), Retry::Never);
        assert_eq!(attempts.possibly_doubled, 21);
    }
}
