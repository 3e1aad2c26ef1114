//! Why a request cannot be served at the moment.

use std::time::Duration;

use axum::http::StatusCode;

use super::Problem;

/// Why a request cannot be served at the moment.
#[derive(Debug, Clone, Copy)]
pub enum Unavailable {
    /// The broker is not connected.
    BrokerUnreachable,
    /// The stream is full.
    StreamFull,
    /// The broker's configuration does not allow it.
    BrokerRefuses,
    /// A `PubAck` did not arrive.
    Unconfirmed,
    /// Too many events are waited for.
    TooManyWaits,
    /// Too many clients follow events.
    TooManyTails,
    /// Too many bytes of request bodies are in flight.
    TooManyBytes,
    /// Too many requests are being answered.
    TooManyRequests,
}

impl Problem {
    /// 503, with the time after which to retry.
    pub fn unavailable(reason: Unavailable) -> Self {
        let (kind, title, detail, seconds) = match reason {
            Unavailable::BrokerUnreachable => (
                "urn:problem:broker-unavailable",
                "Broker unavailable",
                "the broker cannot be reached, so nothing was published; send everything again later",
                5,
            ),
            Unavailable::StreamFull => (
                "urn:problem:stream-full",
                "Stream full",
                "the stream is full, and part of the request may be in it; send everything again later, which adds only duplicates",
                5,
            ),
            Unavailable::Unconfirmed => (
                "urn:problem:unconfirmed",
                "Unconfirmed",
                "the broker did not confirm in time, and part of the request may be in the stream; send everything again, which adds only duplicates",
                5,
            ),
            Unavailable::BrokerRefuses => (
                "urn:problem:broker-refuses",
                "Broker refuses",
                "the broker's configuration does not allow these events; its operator must correct it. The service's log has the reason",
                60,
            ),
            Unavailable::TooManyWaits => (
                "urn:problem:too-many-waits",
                "Too many waits",
                "too many events are already awaited, so nothing was published; send the request again, or without wait=stored",
                1,
            ),
            Unavailable::TooManyTails => (
                "urn:problem:too-many-tails",
                "Too many tails",
                "too many clients already follow the events; poll GET /events instead",
                10,
            ),
            Unavailable::TooManyBytes => (
                "urn:problem:busy",
                "Busy",
                "too many request bodies are in flight, so nothing was published; send the request again",
                1,
            ),
            Unavailable::TooManyRequests => (
                "urn:problem:busy",
                "Busy",
                "too many requests are being answered, so nothing was done; send the request again",
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
