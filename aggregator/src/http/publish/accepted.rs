//! What the sender of accepted events is told.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// What the sender of accepted events is told: with wait=stored also outcome and sequence for one event, or outcomes for
/// several.
// One flat object: generators of clients lose members of what is put together by allOf or oneOf.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    status: &'static str,
    received: usize,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outcome: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sequence: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outcomes: Option<Vec<Shown>>,
}

impl Accepted {
    pub fn of(received: usize, message: &'static str) -> Self {
        Self {
            status: "success",
            received,
            message,
            outcome: None,
            sequence: None,
            outcomes: None,
        }
    }

    /// The answer, once all of `received` events are in the stream.
    pub fn answer(received: usize) -> Response {
        Json(Self::of(received, "Events queued for processing")).into_response()
    }
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Outcome)]
pub struct Shown {
    pub outcome: Said,
    /// Of the event that is stored under its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sequence: Option<i64>,
}

/// [`Outcome`](crate::store::Outcome) in a word.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    Stored,
    Duplicate,
    Conflict,
    Rejected,
    /// Not known in time: it is in the stream.
    Pending,
}
