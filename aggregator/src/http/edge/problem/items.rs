//! What is wrong with the parts of a request.

use serde::Serialize;
use shared::event::Violation;
use utoipa::ToSchema;

/// Errors named in one answer; further ones are counted only.
const SHOWN: usize = 100;

/// What is wrong with one part of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ItemError {
    /// The place of the event in the request, from 0; none for the request or a query parameter.
    #[schema(required)]
    pub index: Option<usize>,
    #[serde(flatten)]
    pub violation: Violation,
}

/// What is wrong with a request: the first [`SHOWN`] kept, all counted.
#[derive(Debug, Default)]
pub struct ItemErrors {
    pub(super) shown: Vec<ItemError>,
    pub(super) total: usize,
}

impl ItemErrors {
    /// Adds what is wrong with the event at `index`, or with the request or its query.
    pub fn add(&mut self, index: Option<usize>, violations: Vec<Violation>) {
        self.total += violations.len();
        let room = SHOWN - self.shown.len();
        let errors = violations.into_iter().take(room);
        self.shown
            .extend(errors.map(|violation| ItemError { index, violation }));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}
