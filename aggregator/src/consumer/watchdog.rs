//! The watchdog: a session in which messages wait and the store's floor does not rise is ended, so that the next one
//! compares stream and store, and pulls, anew.

use std::time::Duration;

use async_nats::jetstream::stream::{Info, Stream};
use shared::stream::StreamState;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use super::{Consumer, SessionError};
use crate::health::Part;

/// How long messages may wait. Less than [`super::durable::ACK_WAIT`], after which the broker delivers again what was lost
/// on its way.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// So often in that time it looks.
const LOOKS: u32 = 15;

/// Watches a session; returns when it stalls.
pub(super) async fn run(consumer: &Consumer, stream: &Stream<Info>) -> SessionError {
    let patience = consumer.patience;
    let mut ticks = interval(patience / LOOKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::new(consumer.writer.standing().floor);
    loop {
        ticks.tick().await;
        let info = match stream.get_info().await {
            Ok(info) => info,
            Err(err) => {
                debug!(error = %err, "the stream's state is not known");
                continue;
            }
        };
        let floor = consumer.writer.standing().floor;
        // A store that fails says so itself, and a new session would not help it.
        let is_failing = consumer.health.is_failing(Part::Store);
        let waiting = waiting(&StreamState::of(&info), floor);
        if is_failing || watch.has_moved(floor, waiting) {
            watch = Watch::new(floor);
            if waiting == 0 {
                consumer.health.works(Part::Progress);
            }
        } else if watch.since.elapsed() >= patience {
            let messages = if waiting == 1 {
                "message waits"
            } else {
                "messages wait"
            };
            let reason = format!(
                "{waiting} {messages} and none of the next was applied for {patience:?}; comparing and pulling anew"
            );
            consumer.health.stalls(reason);
            return SessionError::Stalled;
        }
    }
}

/// Sequences after the floor that the stream has given out, and not trimmed.
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

    fn has_moved(&self, floor: u64, waiting: u64) -> bool {
        waiting == 0 || floor != self.floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trimmed_or_applied_does_not_wait() {
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
