//! The response to a request whose events were accepted.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// The response to a request whose events were accepted. With wait=stored it also has outcome and sequence for one event,
/// or outcomes for several.
// One flat object: client generators lose members of schemas that are composed by allOf or oneOf.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    status: &'static str,
    received: usize,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outcome: Option<OutcomeKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sequence: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub outcomes: Option<Vec<EventOutcome>>,
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

    /// The response once all of the `received` events are in the stream.
    pub fn answer(received: usize) -> Response {
        Json(Self::of(received, "Events queued for processing")).into_response()
    }
}

/// The outcome of an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Outcome)]
pub struct EventOutcome {
    pub outcome: OutcomeKind,
    /// The sequence of the event that is stored with its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sequence: Option<i64>,
}

/// The kind of an outcome.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    Stored,
    Duplicate,
    Conflict,
    Rejected,
    /// Not known in time; the event is in the stream.
    Pending,
}
