//! What `/health` tells: which parts work, as they last said themselves.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{info, warn};

/// What the consumer does while there is no connection.
pub const WAITING: &str = "waiting for the broker";

/// A part of the service that can fail and recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The durable consumer: ready to be given messages.
    Consumer,
    /// The store: the last write succeeded.
    Store,
    /// Messages that wait are applied.
    Progress,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Store => "store",
            Self::Progress => "progress",
        }
    }
}

/// The state of the parts. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Health(Arc<State>);

#[derive(Debug)]
struct State {
    failing: Mutex<BTreeMap<Part, String>>,
    stalls: AtomicU64,
}

impl Health {
    /// The store is open; the consumer has yet to find its stream.
    #[must_use]
    pub fn starting() -> Self {
        let consumer = (Part::Consumer, WAITING.to_owned());
        Self(Arc::new(State {
            failing: Mutex::new(BTreeMap::from([consumer])),
            stalls: AtomicU64::new(0),
        }))
    }

    /// Messages wait and nothing was applied for too long; it is counted.
    pub fn stalls(&self, reason: String) {
        self.0.stalls.fetch_add(1, Ordering::Relaxed);
        self.fails(Part::Progress, reason);
    }

    /// How often that was so since the start.
    #[must_use]
    pub fn stalled(&self) -> u64 {
        self.0.stalls.load(Ordering::Relaxed)
    }

    /// Whether a part does not work.
    #[must_use]
    pub fn is_failing(&self, part: Part) -> bool {
        self.failing_parts().contains_key(&part)
    }

    /// A part works.
    pub fn works(&self, part: Part) {
        if self.failing_parts().remove(&part).is_some() {
            info!(part = part.name(), "works");
        }
    }

    /// A part does not work, with the reason for people. It is logged here, once while it stays the same.
    pub fn fails(&self, part: Part, reason: String) {
        let mut parts = self.failing_parts();
        if parts.get(&part) != Some(&reason) {
            warn!(part = part.name(), reason, "does not work; trying on");
            parts.insert(part, reason);
        }
    }

    /// The parts that do not work, by name, each with its reason.
    #[must_use]
    pub fn failing(&self) -> BTreeMap<&'static str, String> {
        let parts = self.failing_parts();
        parts
            .iter()
            .map(|(part, reason)| (part.name(), reason.clone()))
            .collect()
    }

    fn failing_parts(&self) -> MutexGuard<'_, BTreeMap<Part, String>> {
        let failing = self.0.failing.lock();
        failing.unwrap_or_else(PoisonError::into_inner)
    }
}
