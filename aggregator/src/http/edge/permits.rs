//! Permits: limits on large responses in memory, on endless responses, and on bodies parsed on blocking threads.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of large responses in memory at the same time, from reading the store until they are sent; further ones wait.
const MAX_PAGES: usize = 4;

/// How many of these may be chunks of exports and tails, so that clients that read slowly do not hold up pages.
const MAX_CHUNKS: usize = MAX_PAGES / 2;

/// Maximum number of clients that follow `/events/tail` or `/live` at the same time; further ones are refused with 503.
const MAX_TAILS: usize = 256;

/// Maximum number of bodies parsed on blocking threads at the same time; further ones wait. A decoded OTLP log record can take
/// about sixty times its encoded size in memory, up to 30 MiB; each request decodes one record at a time.
const MAX_PARSING: usize = 4;

/// The permits that requests and responses need.
#[derive(Debug)]
pub struct Permits {
    /// For large responses in memory.
    pub pages: Arc<Semaphore>,
    /// For chunks of exports and tails, each of which needs a page permit too.
    pub chunks: Arc<Semaphore>,
    /// For clients that follow events or live samples.
    pub tails: Arc<Semaphore>,
    /// For parsing on a blocking thread: OTLP bodies of any size, and other large bodies.
    pub parsing: Arc<Semaphore>,
}

impl Default for Permits {
    fn default() -> Self {
        Self::new(MAX_PAGES, MAX_CHUNKS, MAX_TAILS)
    }
}

impl Permits {
    /// Creates this many permits of each kind for responses, and a fixed number for parsing.
    #[must_use]
    pub fn new(pages: usize, chunks: usize, tails: usize) -> Self {
        Self {
            pages: Arc::new(Semaphore::new(pages)),
            chunks: Arc::new(Semaphore::new(chunks)),
            tails: Arc::new(Semaphore::new(tails)),
            parsing: Arc::new(Semaphore::new(MAX_PARSING)),
        }
    }

    /// Waits for a permit to hold a large response in memory.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn page(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.pages).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Waits for both permits that a chunk of an export or tail needs.
    ///
    /// # Panics
    /// Never: the semaphores are not closed.
    pub async fn chunk(&self) -> Vec<OwnedSemaphorePermit> {
        let chunk = Arc::clone(&self.chunks).acquire_owned().await;
        let chunk = chunk.expect("the semaphore is never closed");
        vec![chunk, self.page().await]
    }

    /// Waits for a permit to parse a body on a blocking thread.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn parsing(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.parsing).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_names_the_number_of_large_responses() {
        let readme = include_str!("../../../README.md");
        let responses = format!("| {MAX_PAGES} of 4 MiB, or of one larger row");
        let chunks = format!("At most {MAX_CHUNKS} of the {MAX_PAGES} are chunks of exports");
        assert!(readme.contains(&responses) && readme.contains(&chunks));
    }
}
