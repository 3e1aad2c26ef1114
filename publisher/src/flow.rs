//! The flow of events from their source to the stream: paced, batched into messages and bounded in bytes, until every
//! `PubAck` has arrived.

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
    publish::{Publisher, Subjects},
    stream::StreamError,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::delivery::Refused;
use self::{
    batch::{Batch, Limits, split},
    delivery::{Confirmation, Delivery},
    pace::{Pace, Rate},
};
use crate::{
    broker::unusable,
    progress::{Progress, ProgressState},
    send_stats::SendStats,
};

/// How long a stopped flow waits for outstanding `PubAck`s.
pub const STOP_DEADLINE: Duration = Duration::from_secs(9);

/// Interval at which progress is shown.
pub const SHOW_EVERY: Duration = Duration::from_millis(100);

/// An event to send.
#[derive(Debug)]
pub struct Sample {
    /// The index of its topic.
    pub topic: usize,
    /// Its JSON.
    pub json: Bytes,
    /// Whether this is the first event with its identity.
    pub is_new: bool,
}

/// Where events come from.
pub trait Source {
    /// Why the source failed.
    type Error;

    /// The next events, at least one and at most `limit`; `None` at the end. Cancel safe: no event is lost if the future
    /// is dropped before it completes.
    fn chunk(
        &mut self,
        limit: usize,
    ) -> impl Future<Output = Result<Option<Vec<Sample>>, Self::Error>>;
}

/// Why the flow ended early.
#[derive(Debug, thiserror::Error)]
pub enum FlowError<E: std::error::Error + 'static> {
    /// The source failed before its end.
    #[error(transparent)]
    Source(E),
    /// A batch can never be published.
    #[error(transparent)]
    Refused(Refused),
    /// The stream's configuration changed, and events sent to it could be lost.
    #[error(transparent)]
    Unusable(StreamError),
    /// The flow was stopped and the broker did not confirm every event in time.
    #[error("stopped before every event was confirmed by a PubAck")]
    Unconfirmed,
}

/// The parameters of a flow, other than its source.
pub struct Flow<'a> {
    /// The publishing client.
    pub publisher: &'a Publisher,
    /// The publishing client's connection.
    pub connection: &'a Connection,
    /// The stream's name.
    pub stream: &'a str,
    /// All topics of the events.
    pub topics: &'a [Topic],
    /// Maximum events in one message, at least one.
    pub batch: usize,
    /// Which events may share a message.
    pub subjects: Subjects,
    /// Events per second.
    pub rate: Rate,
    /// Stops the flow.
    pub stop: &'a CancellationToken,
}

impl Flow<'_> {
    /// Sends the events of the source until its end, or until the flow is stopped or fails. Always returns what was sent,
    /// and the error if it failed; then the sending is not complete.
    pub async fn run<S>(
        &self,
        mut source: S,
        mut progress: Progress,
    ) -> (SendStats, Result<(), FlowError<S::Error>>)
    where
        S: Source<Error: std::error::Error + 'static>,
    {
        let delivery = Delivery {
            publisher: self.publisher,
            topics: self.topics,
            waiting_for_space: AtomicUsize::new(0),
        };
        let limits = Limits::of(self.subjects);
        let mut sent = SendStats::new(self.topics.len());
        let mut read = Vec::new();
        let mut read_bytes = 0;
        let mut deliveries = FuturesUnordered::new();
        let mut pace = Pace::new(self.rate, Instant::now());
        let mut show = interval(SHOW_EVERY);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut confirmed, mut unconfirmed_bytes) = (0_u64, 0_usize);
        let mut stopped: Option<Instant> = None;
        let mut ended = Ok(());
        let mut unusable = pin!(unusable(self.connection, self.stream));
        loop {
            let is_open = !sent.complete && stopped.is_none();
            if !is_open && deliveries.is_empty() {
                break;
            }
            let now = Instant::now();
            // Includes the batches that wait for a retry.
            let has_room = is_open && unconfirmed_bytes < limits.unconfirmed;
            let allowance = if has_room { pace.allowance(now) } else { 0 };
            let deadline = stopped.map_or(now, |stopped| stopped + STOP_DEADLINE);
            tokio::select! {
                biased;
                // Batches in flight would only be retried, so they are not waited for.
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
                    Ok(outcome @ Confirmation { .. }) => {
                        unconfirmed_bytes -= outcome.bytes;
                        confirmed += outcome.events();
                        for (topic, tally) in outcome.tallies() {
                            sent.add(topic, tally);
                        }
                        sent.record_confirmation(outcome.events(), outcome.latency, Instant::now());
                    }
                    // Other batches in flight may still be confirmed.
                    Err(refused) => {
                        ended = ended.and(Err(FlowError::Refused(refused)));
                        stopped.get_or_insert(now);
                    }
                },
                _ = show.tick() => progress.show(ProgressState {
                    sent: confirmed,
                    obstacle: self.obstacle(&delivery),
                }, now),
                chunk = source.chunk(allowance), if allowance > 0 => match chunk {
                    Ok(Some(chunk)) => {
                        pace.record(chunk.len());
                        read_bytes += chunk.iter().map(|sample| sample.json.len()).sum::<usize>();
                        read.extend(chunk);
                    }
                    Ok(None) => sent.complete = true,
                    Err(err) => {
                        ended = ended.and(Err(FlowError::Source(err)));
                        stopped.get_or_insert(now);
                    }
                },
                () = sleep_until(pace.next(now)), if has_room && allowance == 0 => {}
            }
            // Paced events do not wait here for others; they wait in the publishing client.
            let waits = !sent.complete && stopped.is_none() && self.rate.is_unlimited();
            if waits && read_bytes < limits.read {
                continue;
            }
            read_bytes = 0;
            for batch in split(std::mem::take(&mut read), self.batch, self.subjects) {
                sent.record_send(batch.events.len() as u64, now);
                unconfirmed_bytes += batch.bytes;
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
        if delivery.waiting_for_space.load(Ordering::Relaxed) > 0 {
            return Some("the stream is full: waiting for the aggregator to free space".to_owned());
        }
        let obstacle = self.publisher.obstacle()?;
        Some(format!("the broker does not confirm: {obstacle}"))
    }
}
