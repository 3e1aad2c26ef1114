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
    /// The stream: its configuration loses nothing.
    Stream,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Store => "store",
            Self::Progress => "progress",
            Self::Stream => "stream",
        }
    }
}

/// What a person should know though all parts work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// The stream keeps a larger size, or more replicas, than settings say.
    StreamSize,
    /// Another store holds trimming back.
    Trimming,
}

impl Notice {
    fn name(self) -> &'static str {
        match self {
            Self::StreamSize => "stream_size",
            Self::Trimming => "trimming",
        }
    }
}

/// The state of the parts. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Health(Arc<State>);

#[derive(Debug)]
struct State {
    failing: Mutex<BTreeMap<Part, String>>,
    notices: Mutex<BTreeMap<Notice, String>>,
    stalls: AtomicU64,
}

impl Health {
    /// The store is open; the consumer has yet to find its stream.
    #[must_use]
    pub fn starting() -> Self {
        let consumer = (Part::Consumer, WAITING.to_owned());
        Self(Arc::new(State {
            failing: Mutex::new(BTreeMap::from([consumer])),
            notices: Mutex::default(),
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

    /// There is this to know, or no longer. It is logged here, once while it stays the same.
    pub fn notices(&self, notice: Notice, text: Option<String>) {
        let mut notices = self.known_notices();
        match text {
            Some(text) if notices.get(&notice) != Some(&text) => {
                warn!(notice = notice.name(), "{text}");
                notices.insert(notice, text);
            }
            Some(_) => {}
            None => {
                if notices.remove(&notice).is_some() {
                    info!(notice = notice.name(), "no longer so");
                }
            }
        }
    }

    /// What there is to know, by name.
    #[must_use]
    pub fn noticed(&self) -> BTreeMap<&'static str, String> {
        let notices = self.known_notices();
        notices
            .iter()
            .map(|(notice, text)| (notice.name(), text.clone()))
            .collect()
    }

    fn known_notices(&self) -> MutexGuard<'_, BTreeMap<Notice, String>> {
        let notices = self.0.notices.lock();
        notices.unwrap_or_else(PoisonError::into_inner)
    }

    fn failing_parts(&self) -> MutexGuard<'_, BTreeMap<Part, String>> {
        let failing = self.0.failing.lock();
        failing.unwrap_or_else(PoisonError::into_inner)
    }
}
