//! The replicas of a stream in a cluster: whether its leader is believed, and which replicas are missing.
//!
//! A leader that was suspended, and does not know yet that another was elected, answers with what it had then, as if the stream had
//! lost its latest messages.

use std::time::Duration;

use async_nats::jetstream::stream::{Info, Stream};
use shared::stream::StreamError;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::Consumer;
use crate::health::Notice;

/// How long the answers may be behind the store before the stream is taken to have lost its latest messages. A leader learns
/// within a second of another one, and steps down within ten if it reaches none of the others.
const PATIENCE: Duration = Duration::from_secs(15);

/// Time between two requests.
const PAUSE: Duration = Duration::from_millis(250);

/// How long replicas may be missing before `/health` reports it: a leader that was just elected has not heard from the others yet.
const ELECTION: Duration = Duration::from_secs(10);

/// Reads the state of the stream until it has the latest applied message, or for [`PATIENCE`]. A stream with one replica has no
/// other state.
///
/// # Errors
/// Any [`StreamError`].
pub(super) async fn caught_up(stream: &mut Stream<Info>, applied: u64) -> Result<(), StreamError> {
    let deadline = Instant::now() + PATIENCE;
    while is_behind(stream.cached_info(), applied) && Instant::now() < deadline {
        debug!(
            applied,
            last = stream.cached_info().state.last_sequence,
            "the stream's leader is behind the store; asking again"
        );
        sleep(PAUSE).await;
        stream.info().await.map_err(StreamError::of_request)?;
    }
    Ok(())
}

fn is_behind(info: &Info, applied: u64) -> bool {
    info.config.num_replicas > 1 && info.state.last_sequence < applied
}

/// The replicas of the stream, as observed in each pass.
#[derive(Default)]
pub(super) struct Replicas {
    /// Since when some are missing.
    missing_since: Option<Instant>,
}

impl Replicas {
    /// Reports replicas that have been missing for [`ELECTION`].
    pub fn observe(&mut self, missing: Option<String>, consumer: &Consumer) {
        if missing.is_none() {
            self.missing_since = None;
        }
        let notice = missing.filter(|_| {
            let since = *self.missing_since.get_or_insert_with(Instant::now);
            since.elapsed() >= ELECTION
        });
        consumer.health.notices(Notice::Replicas, notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(replicas: usize, last: u64) -> Info {
        serde_json::from_value(serde_json::json!({
            "config": {
                "name": "EVENTS",
                "retention": "limits",
                "max_consumers": -1,
                "max_msgs": -1,
                "max_bytes": -1,
                "max_age": 0,
                "max_msgs_per_subject": -1,
                "storage": "file",
                "num_replicas": replicas,
                "discard": "new",
            },
            "created": "2026-01-31T12:00:00Z",
            "state": {
                "messages": last,
                "bytes": 0,
                "first_seq": 1,
                "first_ts": "2026-01-31T12:00:00Z",
                "last_seq": last,
                "last_ts": "2026-01-31T12:00:00Z",
                "consumer_count": 1,
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_a_replicated_stream_can_have_a_leader_that_is_behind() {
        assert!(is_behind(&info(3, 99), 100));
        assert!(!is_behind(&info(3, 100), 100));
        assert!(!is_behind(&info(3, 101), 100));
        assert!(!is_behind(&info(1, 99), 100));
    }
}
