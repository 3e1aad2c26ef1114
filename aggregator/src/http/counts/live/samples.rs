//! The latest samples, which the service keeps for pages that are opened later.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

/// Samples that are kept, one a second: five minutes.
pub const KEPT: usize = 300;

/// The latest samples as JSON, the newest last, kept in memory since the start. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<watch::Sender<VecDeque<Bytes>>>);

impl Live {
    /// The samples as they are kept, and each new one.
    pub fn subscribe(&self) -> watch::Receiver<VecDeque<Bytes>> {
        self.0.subscribe()
    }

    /// Takes in the next one.
    pub fn add(&self, sample: Bytes) {
        self.0.send_modify(|kept| {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(sample);
        });
    }
}
