//! Waiting for a condition with a deadline, never for a guessed time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Far more than anything here takes on a slow machine, so that only a condition that never holds fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(20);

/// Retries until the probe succeeds, and returns its result.
///
/// Panics with the last error after [`DEADLINE`].
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(DEADLINE, what, probe).await
}

/// Like [`eventually`], with the caller's deadline.
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match probe().await {
            Ok(answer) => return answer,
            Err(last) if Instant::now() >= end => {
                panic!("{what}: not after {deadline:?}; last: {last}")
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// A condition as a result for [`eventually`], with the observed value as the error.
///
/// # Errors
/// The observed value, if the condition does not hold.
pub fn holds(condition: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(format!("{seen:?}"))
    }
}
