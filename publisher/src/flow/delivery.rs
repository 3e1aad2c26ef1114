//! The delivery of one batch, tried again until its `PubAck` comes.

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
use crate::sent::Tally;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A batch that will never be confirmed, and so the end.
#[derive(Debug, thiserror::Error)]
#[error("{events} events of topic {topic:?} cannot be published")]
pub struct Refused {
    topic: String,
    events: usize,
    source: PublishError,
}

/// A batch that is in the stream.
#[derive(Debug)]
pub(super) struct Confirmed {
    pub topic: usize,
    pub events: u64,
    pub bytes: usize,
    pub new: u64,
    /// Copies of events that are in the stream in addition, perhaps: all of the batch for each outcome that stayed unknown.
    pub possibly_doubled: u64,
    /// From sending to `PubAck`, of the message that was confirmed.
    pub latency: Duration,
}

impl Confirmed {
    pub fn tally(&self) -> Tally {
        Tally {
            sent: self.events,
            unique: self.new,
            possibly_doubled: self.possibly_doubled,
        }
    }
}

/// What deliveries need and share.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub publisher: &'a Publisher,
    pub topics: &'a [Topic],
    /// Batches that wait for room in the stream.
    pub waiting_for_room: AtomicUsize,
}

impl Delivery<'_> {
    /// Sends a batch until it is confirmed.
    ///
    /// The publishing client tries one message again under one id. What comes back from it is either not in the
    /// stream, so that another try is exact; or unknown, and then another try may put the events there twice.
    pub async fn run(&self, batch: Batch) -> Result<Confirmed, Refused> {
        let topic = &self.topics[batch.topic];
        let events = batch.events.len() as u64;
        let mut tries = Tries::of(events);
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
                    return Ok(Confirmed {
                        topic: batch.topic,
                        events,
                        bytes: batch.bytes,
                        new: batch.new,
                        possibly_doubled: tries.possibly_doubled,
                        latency: confirmed.latency,
                    });
                }
                Err(err) => err,
            };
            match tries.next(&err) {
                Next::Now => warn!(
                    event.topic = topic.as_str(),
                    batch.events = events,
                    error = %err,
                    "no PubAck came in time; sending the events again, which may store them in the stream twice"
                ),
                Next::After(pause) => {
                    let _waits = Waits::new(&self.waiting_for_room);
                    sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                }
                Next::Never => {
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

/// What the tries of a batch came to so far.
#[derive(Debug)]
struct Tries {
    events: u64,
    possibly_doubled: u64,
    pause: Duration,
}

/// When a batch is tried again.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Now,
    After(Duration),
    Never,
}

impl Tries {
    fn of(events: u64) -> Self {
        Self {
            events,
            possibly_doubled: 0,
            pause: FIRST_PAUSE,
        }
    }

    /// What follows from a try that was not confirmed. Each one of unknown outcome may have left a copy.
    fn next(&mut self, err: &PublishError) -> Next {
        match err {
            PublishError::StreamFull(_) => {
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                Next::After(pause)
            }
            PublishError::Unconfirmed(_) => {
                self.possibly_doubled += self.events;
                Next::Now
            }
            PublishError::Refused(_) | PublishError::Stopped => Next::Never,
        }
    }
}

/// One that waits, counted while it lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_try_of_unknown_outcome_may_have_left_a_copy_of_the_batch() {
        let full = || PublishError::StreamFull(String::new());
        let unconfirmed = || PublishError::Unconfirmed(String::new());
        let mut tries = Tries::of(7);
        assert_eq!(tries.next(&full()), Next::After(FIRST_PAUSE));
        assert_eq!(tries.possibly_doubled, 0);
        for (round, pauses) in [(1, 2), (2, 4), (3, 8)] {
            assert_eq!(tries.next(&unconfirmed()), Next::Now);
            assert_eq!(tries.possibly_doubled, 7 * round);
            assert_eq!(tries.next(&full()), Next::After(FIRST_PAUSE * pauses));
        }
        assert_eq!(tries.next(&PublishError::Stopped), Next::Never);
        assert_eq!(tries.possibly_doubled, 21);
    }
}
