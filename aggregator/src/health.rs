//! The state behind `/health`: which parts work, as they last reported themselves.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{info, warn};

/// The consumer's reason while it is not connected.
pub const WAITING: &str = "waiting for the broker";

/// A part of the service that can fail and recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The durable consumer: it receives messages.
    Consumer,
    /// The store: the last write succeeded.
    Store,
    /// Progress: waiting messages are applied.
    Progress,
    /// The stream: its configuration loses no events.
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

/// Conditions that an operator should know of although all parts work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// The stream has a larger size, or another number of replicas, than configured.
    StreamSize,
    /// Servers that keep replicas of the stream are not reachable.
    Replicas,
    /// Trimming is held back by another store, or fails.
    Trimming,
    /// The tokens file cannot be read, so that the tokens read before stay valid.
    Tokens,
    /// The files of the certificate cannot be used, so that the certificate read before stays in use.
    Tls,
}

impl Notice {
    /// Its name in `/health`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StreamSize => "stream_size",
            Self::Replicas => "replicas",
            Self::Trimming => "trimming",
            Self::Tokens => "tokens",
            Self::Tls => "tls",
        }
    }
}

/// The state of the parts. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct Health(Arc<HealthState>);

#[derive(Debug)]
struct HealthState {
    failing: Mutex<BTreeMap<Part, String>>,
    notices: Mutex<BTreeMap<Notice, String>>,
    stalls: AtomicU64,
}

impl Health {
    /// The initial state: the store is open, and the consumer has not found its stream yet.
    #[must_use]
    pub fn starting() -> Self {
        let consumer = (Part::Consumer, WAITING.to_owned());
        Self(Arc::new(HealthState {
            failing: Mutex::new(BTreeMap::from([consumer])),
            notices: Mutex::default(),
            stalls: AtomicU64::new(0),
        }))
    }

    /// Reports and counts a stall: messages wait and nothing was applied for too long.
    pub fn stalls(&self, reason: String) {
        self.0.stalls.fetch_add(1, Ordering::Relaxed);
        self.fails(Part::Progress, reason);
    }

    /// The number of stalls since the start.
    #[must_use]
    pub fn stalled(&self) -> u64 {
        self.0.stalls.load(Ordering::Relaxed)
    }

    /// Whether a part is failing.
    #[must_use]
    pub fn is_failing(&self, part: Part) -> bool {
        self.failing_parts().contains_key(&part)
    }

    /// Reports that a part works.
    pub fn works(&self, part: Part) {
        if self.failing_parts().remove(&part).is_some() {
            info!(part = part.name(), "a part of the service works");
        }
    }

    /// Reports that a part fails, with a human-readable reason. Logs it, once for as long as the reason stays the same.
    pub fn fails(&self, part: Part, reason: String) {
        let mut parts = self.failing_parts();
        if parts.get(&part) != Some(&reason) {
            warn!(
                part = part.name(),
                reason, "a part of the service does not work; retrying"
            );
            parts.insert(part, reason);
        }
    }

    /// The failing parts by name, each with its reason.
    #[must_use]
    pub fn failing(&self) -> BTreeMap<&'static str, String> {
        let parts = self.failing_parts();
        parts
            .iter()
            .map(|(part, reason)| (part.name(), reason.clone()))
            .collect()
    }

    /// Sets or clears a notice. Logs it, once for as long as the text stays the same.
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
                    info!(notice = notice.name(), "a notice no longer applies");
                }
            }
        }
    }

    /// The current notices by name.
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
