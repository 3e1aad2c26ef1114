//! What `/health` tells: which parts work, as they last said themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Store => "store",
        }
    }
}

/// The state of the parts. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<BTreeMap<Part, String>>>);

impl Health {
    /// The store is open; the consumer has yet to find its stream.
    #[must_use]
    pub fn starting() -> Self {
        let consumer = (Part::Consumer, WAITING.to_owned());
        Self(Arc::new(Mutex::new(BTreeMap::from([consumer]))))
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
