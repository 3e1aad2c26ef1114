//! Errors of the parts of a request.

use serde::Serialize;
use shared::event::Violation;
use utoipa::ToSchema;

/// Errors that are listed in one response; further ones are only counted.
const LISTED: usize = 100;

/// An error of one part of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ItemError {
    /// The index of the event in the request, from 0; absent if the error is not in an event, but in the query or the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub index: Option<usize>,
    #[serde(flatten)]
    pub violation: Violation,
}

/// The errors of a request: the first [`LISTED`] are kept, all are counted.
#[derive(Debug, Default)]
pub struct ItemErrors {
    pub(super) listed: Vec<ItemError>,
    pub(super) total: usize,
}

impl ItemErrors {
    /// Adds the violations of the event at `index`, or without one, of the request or its query.
    pub fn add(&mut self, index: Option<usize>, violations: Vec<Violation>) {
        self.total += violations.len();
        let room = LISTED - self.listed.len();
        let errors = violations.into_iter().take(room);
        self.listed
            .extend(errors.map(|violation| ItemError { index, violation }));
    }

    /// Whether there are no errors.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}
