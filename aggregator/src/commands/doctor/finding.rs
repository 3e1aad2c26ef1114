//! Something that needs attention.

use serde::Serialize;

/// Something that needs attention, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The part that it is about, as the report names it.
    pub part: &'static str,
    /// What is wrong, or will be.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    pub fn new(part: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            part,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
