//! Problems of the store, and of events that are not stored as they came.

use std::time::Duration;

use axum::http::StatusCode;
use tracing::error;

use super::Problem;
use crate::store::StoreError;

/// When a service that starts is to be asked again.
pub const STARTING_PAUSE: Duration = Duration::from_secs(5);

impl Problem {
    /// 422: the event is in the stream, and is not what was stored under its identity.
    pub fn conflict(stored: i64) -> Self {
        Self::new(
            "urn:problem:conflict",
            "Conflict",
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "event {stored} was stored before under the same topic and event_id and differs; it stays, and GET /conflicts has both. Send yours under another event_id"
            ),
        )
    }

    /// 422: the event is in the stream and could not be stored.
    pub fn rejected() -> Self {
        Self::new(
            "urn:problem:rejected",
            "Rejected",
            StatusCode::UNPROCESSABLE_ENTITY,
            "the event could not be stored; GET /rejected has it with the reason".to_owned(),
        )
    }

    /// 500; the cause goes to the log.
    pub fn internal(cause: &StoreError) -> Self {
        error!(error = %cause, "a query failed");
        Self::store_unreadable()
    }

    /// What of [`Self::internal`] is told.
    pub fn store_unreadable() -> Self {
        Self::new(
            "urn:problem:internal",
            "Internal error",
            StatusCode::INTERNAL_SERVER_ERROR,
            "the store could not be read; the service's log says why".to_owned(),
        )
    }

    /// 503: the dedup index, by which identities are found, is being made.
    pub fn index_away() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(
                "urn:problem:index-away",
                "Index away",
                StatusCode::SERVICE_UNAVAILABLE,
                "the dedup index is being made anew; try again in a moment".to_owned(),
            )
        }
    }

    /// 503: the store is being opened; `step` is how far that is.
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

    /// 503: nothing was changed; the cause goes to the log.
    pub fn store_cannot_write(cause: &StoreError) -> Self {
        error!(error = %cause, "a change that a person asked for failed");
        Self::store_unwritable()
    }

    /// What of [`Self::store_cannot_write`] is told.
    pub fn store_unwritable() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(
                "urn:problem:store-unwritable",
                "Store cannot be written",
                StatusCode::SERVICE_UNAVAILABLE,
                "the store cannot be written now; see GET /health, then try again".to_owned(),
            )
        }
    }
}
