//! How long a client may take to read a response.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long a client may take to read a response, or a chunk of an endless one, however small.
pub const SHORTEST: Duration = Duration::from_secs(30);

/// The client gets an additional second for each of this many bytes.
const BYTES_PER_SECOND: usize = 128 * 1024;

/// When a client must have read this many bytes if they are sent from now on.
#[must_use]
pub fn of(bytes: usize) -> Instant {
    Instant::now() + SHORTEST + Duration::from_secs((bytes / BYTES_PER_SECOND) as u64)
}

/// When the client must have read what was sent so far, if set. A response carries it in its extensions, its body sets it for
/// each chunk, and the connection is closed when it has passed and bytes are still waiting. Clones share their value.
#[derive(Debug, Clone, Default)]
pub struct Deadline(Arc<Mutex<Option<Instant>>>);

impl Deadline {
    /// Replaces it.
    pub fn set(&self, deadline: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    /// The time, if it is set.
    pub fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
