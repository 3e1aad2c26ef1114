//! Places: how much of what takes memory, or goes on without an end, there may be at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Large answers in memory at once, being read from the store or sent. Further ones wait.
const MAX_PAGES: usize = 4;

/// Most of them that are pieces of exports and tails: a client that reads one slowly holds up no pages.
const MAX_PIECES: usize = MAX_PAGES / 2;

/// Clients that follow at once; further ones are refused with 503.
const MAX_TAILS: usize = 256;

/// The places that answers take.
#[derive(Debug)]
pub struct Places {
    /// For large answers in memory.
    pub pages: Arc<Semaphore>,
    /// For pieces of exports and tails, each of which needs one of a page, too.
    pub pieces: Arc<Semaphore>,
    /// For clients that follow events.
    pub tails: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self::new(MAX_PAGES, MAX_PIECES, MAX_TAILS)
    }
}

impl Places {
    /// So many of each.
    #[must_use]
    pub fn new(pages: usize, pieces: usize, tails: usize) -> Self {
        Self {
            pages: Arc::new(Semaphore::new(pages)),
            pieces: Arc::new(Semaphore::new(pieces)),
            tails: Arc::new(Semaphore::new(tails)),
        }
    }

    /// A place for a large answer in memory, once there is one.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn page(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.pages).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// The places for a piece of an endless answer, once there are both.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn piece(&self) -> Vec<OwnedSemaphorePermit> {
        let piece = Arc::clone(&self.pieces).acquire_owned().await;
        let piece = piece.expect("the semaphore is never closed");
        vec![piece, self.page().await]
    }
}
