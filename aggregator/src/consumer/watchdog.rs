//! The watchdog: ends a session in which messages wait and the store's floor does not rise, so that the next session
//! compares stream and store and pulls again.

use std::time::Duration;

use async_nats::jetstream::stream::{Info, Stream};
use shared::stream::StreamState;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use super::{Consumer, SessionError};
use crate::health::Part;

/// How long messages may wait while nothing is applied. Less than the ack wait of one aggregator, so that messages lost
/// in transit are pulled again without waiting for the broker to redeliver them.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Checks per [`Consumer::patience`].
const CHECKS: u32 = 15;

/// Watches a session; returns when it stalls.
pub(super) async fn run(consumer: &Consumer, stream: &Stream<Info>) -> SessionError {
    let patience = consumer.patience;
    let mut ticks = interval(patience / CHECKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::new(consumer.writer.standing().floor);
    loop {
        ticks.tick().await;
        let info = match stream.get_info().await {
            Ok(info) => info,
            Err(err) => {
                debug!(error = %err, "cannot get the stream's state");
                continue;
            }
        };
        let floor = consumer.writer.standing().floor;
        // A failing store reports itself, and a new session would not help.
        let is_failing = consumer.health.is_failing(Part::Store);
        let waiting = waiting(&StreamState::of(&info), floor);
        if is_failing || !watch.is_stuck(floor, waiting) {
            watch = Watch::new(floor);
            if waiting == 0 {
                consumer.health.works(Part::Progress);
            }
        } else if watch.since.elapsed() >= patience {
            let messages = if waiting == 1 {
                "message is waiting"
            } else {
                "messages are waiting"
            };
            let reason = format!(
                "{waiting} {messages} and nothing has been applied for {patience:?}; comparing stream and store, then pulling again"
            );
            consumer.health.stalls(reason);
            return SessionError::Stalled;
        }
    }
}

/// The number of sequences after the floor that the stream has assigned and not trimmed.
fn waiting(stream: &StreamState, floor: u64) -> u64 {
    let floor = floor.max(stream.first.saturating_sub(1));
    stream.last.saturating_sub(floor)
}

struct Watch {
    floor: u64,
    since: Instant,
}

impl Watch {
    fn new(floor: u64) -> Self {
        let since = Instant::now();
        Self { floor, since }
    }

    fn is_stuck(&self, floor: u64, waiting: u64) -> bool {
        waiting > 0 && floor == self.floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimmed_and_applied_messages_do_not_wait() {
        let stream = |first, last| StreamState {
            name: "EVENTS".to_owned(),
            created: 1,
            first,
            last,
            messages: 0,
            bytes: 0,
        };
        assert_eq!(waiting(&stream(1, 0), 0), 0);
        assert_eq!(waiting(&stream(1, 10), 4), 6);
        assert_eq!(waiting(&stream(8, 10), 4), 3);
        assert_eq!(waiting(&stream(11, 10), 4), 0);
    }
}
