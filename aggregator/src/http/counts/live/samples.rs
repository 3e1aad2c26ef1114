//! The latest samples, kept for pages that are opened later.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

/// Number of samples kept: five minutes, at one a second.
pub const KEPT: usize = 300;

/// The latest samples as JSON, newest last, in memory. Cheap to clone; all clones share the same samples.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<watch::Sender<VecDeque<Bytes>>>);

impl Live {
    /// The kept samples, and each new one.
    pub fn subscribe(&self) -> watch::Receiver<VecDeque<Bytes>> {
        self.0.subscribe()
    }

    /// Adds a sample, and drops the oldest if there are [`KEPT`].
    pub fn add(&self, sample: Bytes) {
        self.0.send_modify(|kept| {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(sample);
        });
    }
}
