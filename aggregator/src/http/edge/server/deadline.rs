//! How long a client may take for an answer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long a client may take for an answer, or a piece of an endless one, however small.
pub const SHORTEST: Duration = Duration::from_secs(30);

/// Bytes for each of which it may take a second more.
const BYTES_PER_SECOND: usize = 128 * 1024;

/// When a client must have taken so many bytes that are sent from now on.
#[must_use]
pub fn of(bytes: usize) -> Instant {
    Instant::now() + SHORTEST + Duration::from_secs((bytes / BYTES_PER_SECOND) as u64)
}

/// When the client must have taken what was sent so far; until it is set, there is no such time. An answer has it among
/// its extensions, its body sets it for each of its pieces, and its connection is closed when it has passed and bytes
/// are still waiting. All clones are one.
#[derive(Debug, Clone, Default)]
pub struct Deadline(Arc<Mutex<Option<Instant>>>);

impl Deadline {
    /// Replaces it.
    pub fn set(&self, deadline: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    /// The time, once there is one.
    pub fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
