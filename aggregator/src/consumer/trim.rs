//! Trimming: the oldest applied messages leave the stream beyond a budget; what is not applied never does.

use std::{convert::Infallible, time::Duration};

use async_nats::jetstream::stream::{Info, Stream};
use shared::stream::{self, StreamState};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::Consumer;
use crate::store::Standing;

/// How often the stream's size is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Trims for as long as the session runs in which the stream was met as `met`.
pub(super) async fn run(
    consumer: &Consumer,
    stream: &Stream<Info>,
    met: &StreamState,
    connects: u64,
) -> Infallible {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(err) = trim(consumer, stream, met, connects).await {
            debug!(error = %err, "the stream was not trimmed; trying again");
        }
    }
}

async fn trim(
    consumer: &Consumer,
    stream: &Stream<Info>,
    met: &StreamState,
    connects: u64,
) -> Result<(), async_nats::Error> {
    // Read first: it can only be behind what the stream is then found to hold.
    let Standing { floor, witness } = consumer.writer.standing();
    let info = stream.get_info().await?;
    let now = StreamState::of(&info);
    // Another stream under the same name, or one that lost its tail: the floor says nothing of it.
    if now.created != met.created || now.last < met.last.max(floor) {
        return Ok(());
    }
    let Some(before) = cut(&now, consumer.keep_bytes, floor) else {
        return Ok(());
    };
    // The broker may have lost its tail with the connection standing, and what is under these numbers was never applied.
    // It could still do so within the next round trip.
    let Some(witness) = witness else {
        return Ok(());
    };
    if stream::time_of(stream, witness.sequence).await? != Some(witness.time) {
        return Ok(());
    }
    // The client keeps a request while it is disconnected. It would reach a broker that may have lost its tail.
    let link = consumer.connection.link();
    if !link.connected || link.connects != connects {
        return Ok(());
    }
    let purged = stream.purge().sequence(before).await?;
    if !purged.success {
        warn!(
            stream.name = now.name,
            "the broker does not trim the stream"
        );
    }
    debug!(
        stream.name = now.name,
        messages = purged.purged,
        "trimmed the stream"
    );
    Ok(())
}

/// The sequence before which messages may go, so that about `keep` bytes stay. JetStream purges by sequence,
/// so an average message size decides.
fn cut(state: &StreamState, keep: u64, floor: u64) -> Option<u64> {
    let surplus = state.bytes.checked_sub(keep).filter(|bytes| *bytes > 0)?;
    let average = state.bytes.div_ceil(state.messages.max(1)).max(1);
    let target = state.first + surplus / average;
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
        assert_eq!(cut(&state(1, 100, 10_000), 10_000, 100), None);
        assert_eq!(cut(&state(1, 100, 10_000), 4_000, 100), Some(61));
    }

    #[test]
    fn what_is_not_applied_stays_whatever_the_budget() {
        assert_eq!(cut(&state(1, 100, 10_000), 0, 30), Some(31));
        assert_eq!(cut(&state(31, 70, 7_000), 0, 30), None);
        assert_eq!(cut(&state(1, 100, 10_000), 0, 100), Some(101));
    }
}
