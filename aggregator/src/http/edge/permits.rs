//! Permits: bounds on large responses in memory, on responses without an end, and on large bodies that are parsed.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Large responses in memory at the same time, being read from the store or sent. Further ones wait.
const MAX_PAGES: usize = 4;

/// How many of them may be chunks of exports and tails, so that clients that read those slowly do not hold up pages.
const MAX_CHUNKS: usize = MAX_PAGES / 2;

/// Clients that follow events at the same time; further ones are refused with 503.
const MAX_TAILS: usize = 256;

/// Large bodies that are parsed at the same time, each on a blocking thread. The current record of an OTLP request can take about
/// sixty times its bytes, up to 30 MiB.
pub const MAX_PARSING: usize = 4;

/// The permits that requests and responses need.
#[derive(Debug)]
pub struct Permits {
    /// For large responses in memory.
    pub pages: Arc<Semaphore>,
    /// For chunks of exports and tails, each of which needs a page permit too.
    pub chunks: Arc<Semaphore>,
    /// For clients that follow events.
    pub tails: Arc<Semaphore>,
    /// For large bodies that are parsed.
    pub parsing: Arc<Semaphore>,
}

impl Default for Permits {
    fn default() -> Self {
        Self::new(MAX_PAGES, MAX_CHUNKS, MAX_TAILS)
    }
}

impl Permits {
    /// This many permits of each kind for responses.
    #[must_use]
    pub fn new(pages: usize, chunks: usize, tails: usize) -> Self {
        Self {
            pages: Arc::new(Semaphore::new(pages)),
            chunks: Arc::new(Semaphore::new(chunks)),
            tails: Arc::new(Semaphore::new(tails)),
            parsing: Arc::new(Semaphore::new(MAX_PARSING)),
        }
    }

    /// Waits for the permit of a large response in memory.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn page(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.pages).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Waits for both permits of a chunk of an endless response.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn chunk(&self) -> Vec<OwnedSemaphorePermit> {
        let chunk = Arc::clone(&self.chunks).acquire_owned().await;
        let chunk = chunk.expect("the semaphore is never closed");
        vec![chunk, self.page().await]
    }

    /// Waits for the permit to parse a large body.
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
