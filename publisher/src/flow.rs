//! The flow of events from their source to the stream: paced, gathered into messages, bounded in bytes, until every
//! `PubAck` has come.

mod batch;
mod delivery;
pub mod http;
pub mod pace;

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use shared::{
    connection::Connection,
    event::Topic,
    publish::{MAX_UNCONFIRMED_BYTES, Publisher},
    stream::StreamError,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::delivery::Refused;
use self::{
    batch::{Batch, Batches},
    delivery::{Confirmed, Delivery},
    pace::{Pace, Rate},
};
use crate::{
    broker::unusable,
    progress::{Moment, Progress},
    sent::Sent,
};

/// How long outstanding `PubAck`s are waited for after the flow was told to stop.
pub const STOP_DEADLINE: Duration = Duration::from_secs(9);

/// How often progress is shown.
pub const SHOW_EVERY: Duration = Duration::from_millis(100);

/// An event on its way.
#[derive(Debug)]
pub struct Sample {
    /// The index of its topic.
    pub topic: usize,
    /// Its JSON.
    pub json: Bytes,
    /// Whether its identity comes for the first time.
    pub is_new: bool,
}

/// Where events come from.
pub trait Source {
    /// Why there may be no more of them.
    type Error;

    /// The next events, at least one and at most `limit`; none at the end. Nothing is lost where the future is
    /// dropped before it is ready.
    fn chunk(
        &mut self,
        limit: usize,
    ) -> impl Future<Output = Result<Option<Vec<Sample>>, Self::Error>>;
}

/// Why the flow ended early.
#[derive(Debug, thiserror::Error)]
pub enum FlowError<E: std::error::Error + 'static> {
    /// There is no next event, though it is not the end.
    #[error(transparent)]
    Source(E),
    /// The broker will not take it.
    #[error(transparent)]
    Refused(Refused),
    /// The stream was changed, and what is sent to it could be lost.
    #[error(transparent)]
    Unusable(StreamError),
    /// The flow was stopped and the broker did not confirm in time.
    #[error("stopped while events wait for their PubAck")]
    Unconfirmed,
}

/// What the flow needs beside its source.
pub struct Flow<'a> {
    /// Publishes.
    pub publisher: &'a Publisher,
    /// What the publisher publishes over.
    pub connection: &'a Connection,
    /// The name of the stream that it publishes to.
    pub stream: &'a str,
    /// All topics that events may have.
    pub topics: &'a [Topic],
    /// Most events in one message.
    pub batch: usize,
    /// Events a second.
    pub rate: Rate,
    /// Ends the flow.
    pub stop: &'a CancellationToken,
}

impl Flow<'_> {
    /// Sends all events of the source, or those until the flow is stopped or fails. Returns what was sent in any case,
    /// and why it failed, if it did: then it is not complete.
    pub async fn run<S>(
        &self,
        mut source: S,
        mut progress: Progress,
    ) -> (Sent, Result<(), FlowError<S::Error>>)
    where
        S: Source<Error: std::error::Error + 'static>,
    {
        let delivery = Delivery {
            publisher: self.publisher,
            topics: self.topics,
            waiting_for_room: AtomicUsize::new(0),
        };
        let mut sent = Sent::nothing(self.topics.len());
        let mut batches = Batches::new(self.topics.len(), self.batch);
        let mut deliveries = FuturesUnordered::new();
        let mut pace = Pace::new(self.rate, Instant::now());
        let mut show = interval(SHOW_EVERY);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut confirmed, mut in_hand_bytes) = (0_u64, 0_usize);
        let mut stopped: Option<Instant> = None;
        let mut ended = Ok(());
        let mut unusable = pin!(unusable(self.connection, self.stream));
        loop {
            let is_open = !sent.complete && stopped.is_none();
            if !is_open && deliveries.is_empty() {
                break;
            }
            let now = Instant::now();
            // The publishing client's own bound, kept here too, for batches that wait to be tried again.
            let has_room = is_open && in_hand_bytes < MAX_UNCONFIRMED_BYTES;
            let allowance = if has_room { pace.allowance(now) } else { 0 };
            let deadline = stopped.map_or(now, |stopped| stopped + STOP_DEADLINE);
            tokio::select! {
                biased;
                // What is under way would be tried again, so nobody waits for it.
                err = &mut unusable => {
                    ended = ended.and(Err(FlowError::Unusable(err)));
                    break;
                }
                () = self.stop.cancelled(), if stopped.is_none() => stopped = Some(now),
                () = sleep_until(deadline), if stopped.is_some() => {
                    ended = ended.and(Err(FlowError::Unconfirmed));
                    break;
                }
                Some(outcome) = deliveries.next() => match outcome {
                    Ok(outcome @ Confirmed { .. }) => {
                        in_hand_bytes -= outcome.bytes;
                        confirmed += outcome.events;
                        sent.add(outcome.topic, outcome.tally());
                        sent.confirmed(outcome.events, outcome.latency, Instant::now());
                    }
                    // The others under way may still be confirmed.
                    Err(refused) => {
                        ended = ended.and(Err(FlowError::Refused(refused)));
                        stopped.get_or_insert(now);
                    }
                },
                _ = show.tick() => progress.show(Moment {
                    sent: confirmed,
                    obstacle: self.obstacle(&delivery),
                }, now),
                chunk = source.chunk(allowance), if allowance > 0 => {
                    match chunk {
                        Ok(Some(chunk)) => {
                            pace.sent(chunk.len());
                            for sample in chunk {
                                batches.add(sample);
                            }
                        }
                        Ok(None) => sent.complete = true,
                        Err(err) => {
                            ended = ended.and(Err(FlowError::Source(err)));
                            stopped.get_or_insert(now);
                        }
                    }
                    // Paced events do not wait here for others of their topic; the publishing client has them wait.
                    if sent.complete || !self.rate.is_unlimited() {
                        batches.flush();
                    }
                }
                () = sleep_until(pace.next(now)), if has_room && allowance == 0 => {}
            }
            if stopped.is_some() {
                batches.flush();
            }
            for batch in batches.closed() {
                sent.handed_over(batch.events.len() as u64, now);
                in_hand_bytes += batch.bytes;
                deliveries.push(delivery.run(batch));
            }
        }
        sent.complete &= ended.is_ok();
        (sent, ended)
    }

    fn obstacle(&self, delivery: &Delivery<'_>) -> Option<String> {
        let link = self.connection.link();
        if !link.connected {
            let reason = link.last_error.map(|reason| format!(": {reason}"));
            return Some(format!(
                "no connection to the broker{}",
                reason.unwrap_or_default()
            ));
        }
        if delivery.waiting_for_room.load(Ordering::Relaxed) > 0 {
            return Some("the stream is full: waiting until the aggregator makes room".to_owned());
        }
        let obstacle = self.publisher.obstacle()?;
        Some(format!("the broker does not confirm: {obstacle}"))
    }
}
