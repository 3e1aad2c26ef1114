//! Trimming: the oldest messages that every store has acked leave the stream beyond a budget; what one of them has not acked
//! never does. Each look checks the stream's configuration and its size, too: both can be changed while it is consumed.

use std::{convert::Infallible, time::Duration};

use async_nats::jetstream::stream::{Info, Stream};
use shared::stream::{self, StreamState};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::{
    Consumer,
    stores::{Other, Stores},
};
use crate::{
    health::{Notice, Part},
    store::{Standing, Witness},
};

/// How often the stream's size is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Purges of one look, each of twice the messages of the one before where that did not make enough room.
const ROUNDS: u32 = 24;

/// What the broker accounts for a message besides its body and headers: its subject, which is at most a few kilobytes for the
/// longest topic, and 22 bytes or more.
const MESSAGE_OVERHEAD: usize = 4 * 1024;

/// Trims for as long as the session runs in which the stream was met as `met`.
pub(super) async fn run(
    consumer: &Consumer,
    stream: &Stream<Info>,
    met: &StreamState,
    connects: u64,
    stores: &mut Stores,
) -> Infallible {
    let look = Look {
        consumer,
        stream,
        met,
        connects,
    };
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(err) = look.take(stores).await {
            debug!(error = %err, "the stream was not trimmed; trying again");
        }
    }
}

/// What one look at the stream needs.
struct Look<'a> {
    consumer: &'a Consumer,
    stream: &'a Stream<Info>,
    met: &'a StreamState,
    connects: u64,
}

impl Look<'_> {
    /// Checks the stream, sees to its size, and trims it until it is within the budget or holds only what some store has
    /// not acked.
    async fn take(&self, stores: &mut Stores) -> Result<(), async_nats::Error> {
        let consumer = self.consumer;
        for round in 0..ROUNDS {
            // Read first: it can only be behind what the stream is then found to hold.
            let Standing { floor, witness } = consumer.writer.standing();
            let info = self.stream.get_info().await?;
            let now = StreamState::of(&info);
            // Another stream under the same name: the next session meets it.
            if now.created != self.met.created {
                return Ok(());
            }
            if let Err(err) = stream::check(&info) {
                consumer.health.fails(Part::Stream, err.to_string());
                return Ok(());
            }
            consumer.health.works(Part::Stream);
            // A stream that lost its tail: the floor says nothing of it.
            if now.last < self.met.last.max(floor) {
                return Ok(());
            }
            if round == 0
                && let Err(err) = resize(consumer, &info, stores).await
            {
                debug!(error = %err, "the stream's size was not changed; trying again");
            }
            let keep = budget(consumer, &info);
            let Some(wanted) = cut(&now, keep, floor, round) else {
                hold(consumer, None);
                return Ok(());
            };
            stores
                .look(
                    consumer.connection.jetstream(),
                    &now.name,
                    &consumer.durable,
                    Instant::now(),
                )
                .await?;
            let other = stores.lowest().filter(|other| other.floor < floor);
            let shared_floor = other.map_or(floor, |other| other.floor);
            let before = cut(&now, keep, shared_floor, round);
            let held = wanted - before.unwrap_or(now.first);
            hold(consumer, other.filter(|_| held > 0).map(|o| (o, held)));
            let (Some(before), Some(witness)) = (before, witness) else {
                return Ok(());
            };
            if !self.purge(before, witness).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Purges what comes before a sequence; false where the stream may not be the one that it was.
    async fn purge(&self, before: u64, witness: Witness) -> Result<bool, async_nats::Error> {
        // The broker may have lost its tail with the connection standing, and what is under these numbers was never
        // applied. It could still do so within the next round trip.
        if stream::time_of(self.stream, witness.sequence).await? != Some(witness.time) {
            return Ok(false);
        }
        // The client keeps a request while it is disconnected. It would reach a broker that may have lost its tail.
        let link = self.consumer.connection.link();
        if !link.connected || link.connects != self.connects {
            return Ok(false);
        }
        let purged = self.stream.purge().sequence(before).await?;
        if !purged.success {
            warn!(
                stream.name = self.met.name,
                "the broker does not trim the stream"
            );
            return Ok(false);
        }
        debug!(
            stream.name = self.met.name,
            messages = purged.purged,
            "trimmed the stream"
        );
        Ok(true)
    }
}

/// Brings the stream's size and replicas to what settings say, as far as that is possible now, and says where it is not.
pub(super) async fn resize(
    consumer: &Consumer,
    info: &Info,
    stores: &mut Stores,
) -> Result<(), async_nats::Error> {
    let jetstream = consumer.connection.jetstream();
    let settings = &consumer.stream;
    if stream::is_above(info, settings) {
        let (name, own) = (&settings.name, &consumer.durable);
        stores.look(jetstream, name, own, Instant::now()).await?;
    }
    let sharer = stores.lowest().map(Other::name);
    let notice = stream::resize(jetstream, info, settings, sharer.as_deref()).await?;
    consumer.health.notices(Notice::StreamSize, notice);
    Ok(())
}

/// Says which store holds trimming back, and how many messages.
fn hold(consumer: &Consumer, held: Option<(&Other, u64)>) {
    let notice = held.map(|(other, _)| {
        format!(
            "{} has not acked messages that would be trimmed; start its aggregator, or delete the durable if the store is gone for good",
            other.name()
        )
    });
    consumer.health.notices(Notice::Trimming, notice);
    let held = held.map(|(other, messages)| (other.durable.as_str(), messages));
    consumer.metrics.trimming_held(held);
}

/// How many bytes stay: never so many that there is no room for one more message.
fn budget(consumer: &Consumer, info: &Info) -> u64 {
    let largest = consumer.connection.client().max_payload() + MESSAGE_OVERHEAD;
    match u64::try_from(info.config.max_bytes) {
        Ok(max) if max > 0 => consumer.keep_bytes.min(max.saturating_sub(largest as u64)),
        _ => consumer.keep_bytes,
    }
}

/// The sequence before which messages may go, so that about `keep` bytes stay; none where nothing may go. JetStream purges by
/// sequence and says nothing of the sizes of single messages, so an average decides. Where the oldest are smaller than that,
/// later rounds go further.
fn cut(state: &StreamState, keep: u64, floor: u64, round: u32) -> Option<u64> {
    let surplus = state.bytes.checked_sub(keep).filter(|bytes| *bytes > 0)?;
    let share = u128::from(surplus) * u128::from(state.messages);
    let messages = share.div_ceil(u128::from(state.bytes)) << round;
    let messages = u64::try_from(messages).unwrap_or(u64::MAX);
    let target = state.first.saturating_add(messages);
    let before = target.min(floor + 1);
    (before > state.first).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(first: u64, messages: u64, bytes: u64) -> StreamState {
        StreamState {
            name: "EVENTS".to_owned(),
            created: 1,
            first,
            last: first + messages - 1,
            messages,
            bytes,
        }
    }

    #[test]
    fn only_what_exceeds_the_budget_goes() {
        assert_eq!(cut(&state(1, 100, 10_000), 10_000, 100, 0), None);
        assert_eq!(cut(&state(1, 100, 10_000), 4_000, 100, 0), Some(61));
    }

    #[test]
    fn what_is_not_applied_stays_whatever_the_budget() {
        assert_eq!(cut(&state(1, 100, 10_000), 0, 30, 0), Some(31));
        assert_eq!(cut(&state(31, 70, 7_000), 0, 30, 0), None);
        assert_eq!(cut(&state(1, 100, 10_000), 0, 100, 0), Some(101));
    }

    #[test]
    fn a_surplus_of_less_than_a_message_takes_one() {
        assert_eq!(cut(&state(1, 100, 10_000), 9_999, 100, 0), Some(2));
        assert_eq!(cut(&state(1, 4, 2_000_000), 1_536 * 1024, 4, 0), Some(2));
        assert_eq!(cut(&state(7, 1, 500_000), 0, 7, 0), Some(8));
    }

    #[test]
    fn trimming_gets_within_the_budget_whatever_the_sizes_of_the_oldest() {
        let sizes: [Vec<u64>; 4] = [
            [vec![100; 10_000], vec![500_000; 100]].concat(),
            [vec![500_000; 100], vec![100; 10_000]].concat(),
            [vec![1; 100_000], vec![1_000_000; 1]].concat(),
            vec![500_000; 4],
        ];
        for sizes in sizes {
            let total: u64 = sizes.iter().sum();
            let keep = total - total / 10;
            let (last, mut first) = (sizes.len() as u64, 1);
            let fits = (0..ROUNDS).any(|round| {
                let left = &sizes[usize::try_from(first).unwrap() - 1..];
                let state = state(first, left.len() as u64, left.iter().sum());
                match cut(&state, keep, last, round) {
                    Some(before) => {
                        first = before;
                        false
                    }
                    None => true,
                }
            });
            assert!(fits, "{first} of {last}");
        }
    }
}
