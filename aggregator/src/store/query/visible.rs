//! The topics whose rows may be in a result.

use std::sync::Arc;

use crate::access::Patterns;

/// The topics whose rows may be in a result: all of them by default, or those of patterns. Rows of other topics are left out, and
/// so they are of the counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visible(Option<Arc<Patterns>>);

impl Visible {
    /// Those of patterns.
    #[must_use]
    pub fn of(patterns: Arc<Patterns>) -> Self {
        Self((!patterns.is_every()).then_some(patterns))
    }

    /// The patterns; `None` for all topics.
    #[must_use]
    pub fn patterns(&self) -> Option<&Patterns> {
        self.0.as_deref()
    }

    /// Whether every topic is visible.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a topic is visible.
    #[must_use]
    pub fn includes(&self, topic: &str) -> bool {
        self.patterns()
            .is_none_or(|patterns| patterns.includes(topic))
    }
}
