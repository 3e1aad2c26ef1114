//! Trimming: while the stream exceeds a budget, its oldest messages are purged, but only those that every store has acked. Each
//! pass also checks the stream's configuration and size, because both can be changed while the stream is consumed.

use std::{convert::Infallible, fmt::Display, time::Duration};

use async_nats::jetstream::stream::{Info, Stream};
use shared::stream::{self, StreamError, StreamState};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use super::{
    Consumer,
    replicas::Replicas,
    sizes::Sizes,
    stores::{Other, Stores},
};
use crate::{
    health::{Notice, Part},
    store::{Standing, Witness},
};

/// Time between passes.
const PERIOD: Duration = Duration::from_secs(1);

/// Number of consecutive failed passes after which `/health` reports the failure.
const FAILED_PASSES: u32 = 5;

/// The lease on trimming, if several aggregators share a store.
const LEASE: &str = "trim";

/// How long another aggregator waits before it takes over.
const LEASE_SECONDS: f64 = 10.0;

/// Maximum number of purges in one pass; the next pass continues.
const ROUNDS: u32 = 24;

/// Upper bound on the bytes that the broker counts for a message in addition to its body and headers: the subject, at most a few
/// kilobytes for the longest topic, and the record's overhead of 30 to 34 bytes.
const MESSAGE_OVERHEAD: usize = 4 * 1024;

/// Trims the stream until the session ends. `observed` is the state of the stream when the session started, and `connects` the
/// number of its connection to the broker.
pub(super) async fn run(
    consumer: &Consumer,
    stream: &Stream<Info>,
    observed: &StreamState,
    connects: u64,
    stores: &mut Stores,
) -> Infallible {
    let pass = Pass {
        consumer,
        stream,
        observed,
        connects,
    };
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sizes, mut replicas) = (Sizes::default(), Replicas::default());
    let notices = Notices(consumer);
    let mut failed = 0;
    loop {
        ticks.tick().await;
        let passed =
            consumer
                .connection
                .permitted(Box::pin(pass.run(stores, &mut sizes, &mut replicas)));
        match passed.await {
            Ok(Ok(held)) => {
                failed = 0;
                notices.set_held(held.as_ref());
            }
            Err(denial) => {
                failed = FAILED_PASSES;
                notices.set_failed(&format!("{denial}; permit it"));
            }
            Ok(Err(err)) => {
                debug!(error = %err, "the stream was not trimmed; retrying");
                failed += 1;
                if failed >= FAILED_PASSES {
                    notices.set_failed(&err);
                }
            }
        }
    }
}

/// The context of a pass, the same for all passes of a session.
struct Pass<'a> {
    consumer: &'a Consumer,
    stream: &'a Stream<Info>,
    observed: &'a StreamState,
    connects: u64,
}

impl Pass<'_> {
    /// Checks the stream, adjusts its size, and trims it until it is within the budget, the next message is not acked by every
    /// store, or [`ROUNDS`] is reached. If another store holds trimming back, returns it and the estimated number of messages
    /// that it holds back.
    ///
    /// # Errors
    /// If the stream cannot be trimmed. An unusable configuration is not an error here: it is reported as [`Part::Stream`].
    async fn run(
        &self,
        stores: &mut Stores,
        sizes: &mut Sizes,
        replicas: &mut Replicas,
    ) -> Result<Option<(Other, u64)>, async_nats::Error> {
        let consumer = self.consumer;
        for round in 0..ROUNDS {
            // Read before the stream's state, so the floor may lag behind that state but is never ahead of it.
            let Standing { floor, witness } = consumer.writer.standing();
            let info = self.stream.get_info().await?;
            let now = StreamState::of(&info);
            // A different stream with the same name; the next session compares it with the store.
            if now.created != self.observed.created {
                return Err("the stream was replaced by another one of the same name".into());
            }
            if let Err(err) = stream::check(&info) {
                consumer.health.fails(Part::Stream, err.to_string());
                return Ok(None);
            }
            consumer.health.works(Part::Stream);
            replicas.observe(stream::missing_replicas(&info), consumer);
            // The stream lost its tail, so the floor does not apply to it.
            if now.last < self.observed.last.max(floor) {
                return Err("the broker lost its latest messages".into());
            }
            if round == 0
                && let Err(err) = resize(consumer, &info, stores).await
            {
                debug!(error = %err, "the stream's size was not changed; retrying");
            }
            let largest = largest(consumer);
            let keep = budget(
                consumer.keep_bytes,
                info.config.max_bytes,
                largest,
                &consumer.stream,
                stores.lowest().is_some(),
            );
            let surplus = now.bytes.saturating_sub(keep);
            let expected = expected(&now, surplus);
            let wanted = (now.first + expected).min(floor + 1);
            if wanted <= now.first {
                return Ok(None);
            }
            // The floor is that of all aggregators; one of them trims, so that the others need not ask.
            if !consumer.writer.lease(LEASE, LEASE_SECONDS).await? {
                return Ok(None);
            }
            stores
                .refresh(
                    consumer.connection.jetstream(),
                    &now.name,
                    &consumer.durable,
                    Instant::now(),
                )
                .await?;
            let other = stores.lowest().filter(|other| other.floor < floor);
            let shared_floor = other.map_or(floor, |other| other.floor);
            let limit = shared_floor + 1;
            let held = wanted.saturating_sub(limit.max(now.first));
            let other = other.filter(|_| held > 0);
            let Some(witness) = witness.filter(|_| limit > now.first) else {
                return Ok(other.map(|other| (other.clone(), held)));
            };
            let surely = surely(surplus, largest);
            let before = if expected <= 2 * surely {
                now.first + surely
            } else {
                let cut = sizes.cut(self.stream, now.first, surplus, limit).await;
                cut.unwrap_or_else(|err| {
                    debug!(error = %err, "the sizes of messages are not known; trimming only a few");
                    now.first + surely
                })
            };
            let before = before.min(limit);
            self.purge(before, witness).await?;
        }
        Ok(None)
    }

    /// Purges the messages before a sequence.
    ///
    /// # Errors
    /// If the broker refuses or does not respond, or if the stream may have been replaced or have lost its tail.
    async fn purge(&self, before: u64, witness: Witness) -> Result<(), async_nats::Error> {
        // The broker may have lost the stream's tail without a lost connection, and stored new messages, never applied, at the
        // same sequences. This check cannot rule out that it happens between here and the purge.
        if stream::time_of(self.stream, witness.sequence).await? != Some(witness.time) {
            return Err("the stream does not have the last applied message".into());
        }
        // While disconnected, the client queues requests. The purge would be sent after reconnecting, and the broker may have
        // lost the stream's tail by then.
        let link = self.consumer.connection.link();
        if !link.connected || link.connects != self.connects {
            return Err("the connection to the broker was lost".into());
        }
        let purged = self.stream.purge().sequence(before).await?;
        if !purged.success {
            return Err("the broker did not purge the messages".into());
        }
        debug!(
            stream.name = self.observed.name,
            messages = purged.purged,
            "trimmed the stream"
        );
        Ok(())
    }
}

/// Changes the stream's maximum size and replicas to the settings, as far as possible now. Sets a notice about any value that
/// could not be changed yet, and clears it otherwise.
pub(super) async fn resize(
    consumer: &Consumer,
    info: &Info,
    stores: &mut Stores,
) -> Result<(), StreamError> {
    let jetstream = consumer.connection.jetstream();
    let settings = &consumer.stream;
    if stream::is_above(info, settings) {
        let (name, own) = (&settings.name, &consumer.durable);
        let refreshed = stores.refresh(jetstream, name, own, Instant::now()).await;
        refreshed.map_err(StreamError::of_request)?;
    }
    let sharer = stores.lowest().map(Other::name);
    let notice = stream::resize(jetstream, info, settings, sharer.as_deref()).await?;
    consumer.health.notices(Notice::StreamSize, notice);
    Ok(())
}

/// The notice and the metric about trimming, cleared when the session ends.
struct Notices<'a>(&'a Consumer);

impl Notices<'_> {
    /// Reports which store holds trimming back, and the number of messages; `None` clears the report.
    fn set_held(&self, held: Option<&(Other, u64)>) {
        let Self(consumer) = self;
        let notice = held.map(|(other, _)| {
            format!(
                "{} has not acked messages that would be trimmed; start its aggregator, or delete the durable if the store no longer exists",
                other.name()
            )
        });
        consumer.health.notices(Notice::Trimming, notice);
        let held = held.map(|(other, n)| (other.durable.as_str(), *n));
        consumer.metrics.trimming_held(held);
    }

    /// Reports that trimming keeps failing, and why.
    fn set_failed(&self, err: &impl Display) {
        let Self(consumer) = self;
        let notice = format!("the stream is not trimmed, and may become full: {err}");
        consumer.health.notices(Notice::Trimming, Some(notice));
        consumer.metrics.trimming_held(None);
    }
}

impl Drop for Notices<'_> {
    fn drop(&mut self) {
        self.set_held(None);
    }
}

/// Upper bound on the bytes that a message takes in the stream.
fn largest(consumer: &Consumer) -> u64 {
    (consumer.connection.client().max_payload() + MESSAGE_OVERHEAD) as u64
}

/// How many bytes to keep in the stream: `keep`, or less, so that there is room for one more message. If the stream is larger
/// than its settings and no other store shares it, also few enough that its size can be lowered to them.
fn budget(
    keep: u64,
    max_bytes: i64,
    largest: u64,
    settings: &stream::Settings,
    is_shared: bool,
) -> u64 {
    let max = u64::try_from(max_bytes).ok().filter(|max| *max > 0);
    let wanted = u64::try_from(settings.max_bytes).unwrap_or(0);
    let is_lowered = !is_shared && max.is_none_or(|max| max > wanted);
    let keep = max.map_or(keep, |max| keep.min(max.saturating_sub(largest)));
    if is_lowered {
        keep.min(stream::most_held(settings))
    } else {
        keep
    }
}

/// How many messages must be purged to free `surplus` bytes if all have the same size.
fn expected(state: &StreamState, surplus: u64) -> u64 {
    let share = u128::from(surplus) * u128::from(state.messages);
    let messages = share.div_ceil(u128::from(state.bytes.max(1)));
    u64::try_from(messages).unwrap_or(u64::MAX)
}

/// How many messages can be purged without freeing more than `surplus` bytes, whatever their sizes; at least one, even if
/// `surplus` is less than `largest`.
fn surely(surplus: u64, largest: u64) -> u64 {
    (surplus / largest.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(messages: u64, bytes: u64) -> StreamState {
        StreamState {
            name: "EVENTS".to_owned(),
            created: 1,
            first: 1,
            last: messages,
            messages,
            bytes,
        }
    }

    #[test]
    fn only_what_exceeds_the_budget_is_purged() {
        assert_eq!(expected(&state(100, 10_000), 0), 0);
        assert_eq!(expected(&state(100, 10_000), 6_000), 60);
        assert_eq!(expected(&state(100, 10_000), 1), 1);
        assert_eq!(expected(&state(100, 10_000), 10_000), 100);
        assert_eq!(expected(&state(0, 0), 0), 0);
    }

    #[test]
    fn a_stream_that_must_shrink_keeps_no_more_than_its_new_size_allows() {
        const MEBIBYTE: u64 = 1024 * 1024;
        let settings = stream::Settings {
            name: "EVENTS".to_owned(),
            max_bytes: 64 * 1024 * 1024,
            replicas: 1,
        };
        let keeps = |max: u64, is_shared| {
            let max = i64::try_from(max * MEBIBYTE).unwrap();
            budget(62 * MEBIBYTE, max, MEBIBYTE, &settings, is_shared) / MEBIBYTE
        };
        assert_eq!(keeps(64, false), 62);
        assert_eq!(keeps(90, false), 56);
        assert_eq!(keeps(90, true), 62);
        assert_eq!(keeps(60, false), 59);
        assert_eq!(keeps(0, false), 56);
    }

    #[test]
    fn messages_of_unknown_size_are_never_more_than_the_surplus_and_one_message() {
        for (surplus, largest) in [(1, 100), (99, 100), (100, 100), (250, 100), (99_999, 100)] {
            let most = surely(surplus, largest) * largest;
            assert!(most <= surplus.max(largest), "{surplus} of {largest}");
            assert!(most > 0);
        }
    }
}
