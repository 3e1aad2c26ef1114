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
    /// Events that are in the stream more than once, perhaps: all of the batch where an outcome stayed unknown.
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
        let mut possibly_doubled = 0;
        let mut pause = FIRST_PAUSE;
        loop {
            let submitted = self
                .publisher
                .submit_piece(topic.clone(), batch.events.clone());
            let outcome = match submitted.await {
                Ok(receipt) => receipt.confirmed().await,
                Err(err) => Err(err),
            };
            match outcome {
                Ok(confirmed) => {
                    return Ok(Confirmed {
                        topic: batch.topic,
                        events,
                        bytes: batch.bytes,
                        new: batch.new,
                        possibly_doubled,
                        latency: confirmed.latency,
                    });
                }
                Err(PublishError::StreamFull(_)) => {
                    let _waits = Waits::new(&self.waiting_for_room);
                    sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(PublishError::Unconfirmed(reason)) => {
                    warn!(
                        event.topic = topic.as_str(),
                        batch.events = events,
                        reason,
                        "no PubAck came in time; sending the events again, which may store them in the stream twice"
                    );
                    possibly_doubled = events;
                }
                Err(source @ (PublishError::Refused(_) | PublishError::Stopped)) => {
                    return Err(Refused {
                        topic: topic.as_str().to_owned(),
                        events: batch.events.len(),
                        source,
                    });
                }
            }
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
