//! The leader of a stream with several replicas. One that was suspended, and does not know yet that another was elected, answers
//! with what it had then, as if the stream had lost its latest messages.

use std::time::Duration;

use async_nats::jetstream::stream::{Info, Stream};
use shared::stream::StreamError;
use tokio::time::{Instant, sleep};
use tracing::debug;

/// How long the answers may be behind the store before the stream is taken to have lost its latest messages. A leader learns
/// within a second of another one, and steps down within ten if it reaches none of the others.
const PATIENCE: Duration = Duration::from_secs(15);

/// Time between two requests.
const PAUSE: Duration = Duration::from_millis(250);

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
