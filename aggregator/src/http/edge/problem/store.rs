//! Problems of the store, and of events that could not be stored.

use std::time::Duration;

use axum::http::StatusCode;
use tracing::error;

use super::Problem;
use crate::store::StoreError;

/// When to retry while the service starts.
pub const STARTING_PAUSE: Duration = Duration::from_secs(5);

impl Problem {
    /// 422: the event is in the stream, but a different one is stored with its identity.
    pub fn conflict(stored: i64) -> Self {
        Self::new(
            "urn:problem:conflict",
            "Conflict",
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "event {stored} was stored before with the same topic and event_id but different content; it is kept, and GET /conflicts shows both. Send yours with another event_id"
            ),
        )
    }

    /// 422: the event is in the stream and could not be stored.
    pub fn rejected() -> Self {
        Self::new(
            "urn:problem:rejected",
            "Rejected",
            StatusCode::UNPROCESSABLE_ENTITY,
            "the event could not be stored; GET /rejected shows it with the reason".to_owned(),
        )
    }

    /// 500: the store could not be read; the cause is logged.
    pub fn internal(cause: &StoreError) -> Self {
        error!(error = %cause, "a query failed");
        Self::store_unreadable()
    }

    /// The response of [`Self::internal`], which does not reveal the cause.
    pub fn store_unreadable() -> Self {
        Self::new(
            "urn:problem:internal",
            "Internal error",
            StatusCode::INTERNAL_SERVER_ERROR,
            "the store could not be read; the service's log has the reason".to_owned(),
        )
    }

    /// 503: the dedup index, which finds events by identity, is being rebuilt.
    pub fn index_away() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(
                "urn:problem:index-away",
                "Index not available",
                StatusCode::SERVICE_UNAVAILABLE,
                "the dedup index is being rebuilt; try again in a moment".to_owned(),
            )
        }
    }

    /// 503: the store is being opened; `step` is its progress.
    pub fn starting(step: &str) -> Self {
        Self {
            retry_after: Some(STARTING_PAUSE),
            ..Self::new(
                "urn:problem:starting",
                "Starting",
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{step}; try again later, and see GET /health"),
            )
        }
    }

    /// 503: the store could not be written and nothing was changed; the cause is logged.
    pub fn store_cannot_write(cause: &StoreError) -> Self {
        error!(error = %cause, "an operator request failed");
        Self::store_unwritable()
    }

    /// The response of [`Self::store_cannot_write`], which does not reveal the cause.
    pub fn store_unwritable() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(
                "urn:problem:store-unwritable",
                "Store cannot be written",
                StatusCode::SERVICE_UNAVAILABLE,
                "the store cannot be written at the moment; see GET /health, then try again"
                    .to_owned(),
            )
        }
    }
}
