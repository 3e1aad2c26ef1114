//! Why a request cannot be served now.

use std::time::Duration;

use axum::http::StatusCode;

use super::Problem;

/// Why a request cannot be served now.
#[derive(Debug, Clone, Copy)]
pub enum Cannot {
    /// The broker is not connected.
    Reach,
    /// The stream is full.
    Take,
    /// The broker's configuration forbids it.
    Agree,
    /// A `PubAck` did not come.
    Confirm,
    /// The events that are waited for are at their limit.
    Wait,
    /// The clients that follow events are at their limit.
    Follow,
    /// The bytes of request bodies in flight are at their limit.
    Hold,
}

impl Problem {
    /// 503: it can be sent again after a while.
    pub fn unavailable(cannot: Cannot) -> Self {
        let (kind, title, detail, seconds) = match cannot {
            Cannot::Reach => (
                "urn:problem:broker-unavailable",
                "Broker unavailable",
                "the broker cannot be reached; nothing was published, send all of it again later",
                5,
            ),
            Cannot::Take => (
                "urn:problem:stream-full",
                "Stream full",
                "the stream has no room; part of it may be in the stream, send all of it again later, which adds only duplicates",
                5,
            ),
            Cannot::Confirm => (
                "urn:problem:unconfirmed",
                "Unconfirmed",
                "the broker did not confirm in time; part of it may be in the stream, send all of it again, which adds only duplicates",
                5,
            ),
            Cannot::Agree => (
                "urn:problem:broker-refuses",
                "Broker refuses",
                "the broker does not take these events as it is configured; its operator has to look, the service's log says why",
                60,
            ),
            Cannot::Wait => (
                "urn:problem:too-many-waits",
                "Too many waits",
                "too many events are waited for already; nothing was published, send it again, or without wait=stored",
                1,
            ),
            Cannot::Follow => (
                "urn:problem:too-many-tails",
                "Too many tails",
                "too many clients follow the events already; ask GET /events from time to time instead",
                10,
            ),
            Cannot::Hold => (
                "urn:problem:busy",
                "Busy",
                "too many request bodies are under way; nothing was published, send it again",
                1,
            ),
        };
        Self {
            retry_after: Some(Duration::from_secs(seconds)),
            ..Self::new(
                kind,
                title,
                StatusCode::SERVICE_UNAVAILABLE,
                detail.to_owned(),
            )
        }
    }
}
