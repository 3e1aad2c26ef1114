//! `GET /health`: whether all parts of the service work.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            problem::{Problem, STARTING_PAUSE},
            query::{ParameterRefusals, Query},
        },
    },
    store::{Opening, query},
};

/// The health of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    status: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
    /// The failing parts, each with its reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<&'static str, String>,
    /// Stream sequences that were lost before they were applied and have not been acknowledged.
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
    /// Notices that do not make the service unhealthy: `stream_size` if the stream keeps a larger size or more replicas than
    /// configured, and `trimming` if another store holds trimming back or the stream is not trimmed for another reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    notices: BTreeMap<&'static str, String>,
    /// Set while the clock is behind the latest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    clock: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Responds with 200 if all parts work, otherwise with 503 and the failing parts. Writes nothing.
#[utoipa::path(
    get,
    path = "/health",
    tag = "service",
    responses(
        (status = OK, body = Health),
        (status = SERVICE_UNAVAILABLE, body = Health),
        ParameterRefusals
    )
)]
pub async fn health(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<(StatusCode, Json<Health>), Problem> {
    Query::parse(query.as_deref(), &[])?;
    let (checks, read) = check(&api).await;
    // After the counts were read: waiting for them is no fault of the clock.
    let now = clock::now_micros();
    let missing = read.as_ref().map_or(0, |stats| stats.missing);
    let clock = read.and_then(|stats| clock_notice(now, stats.processed_at));
    let (status, code) = if checks.is_empty() {
        ("healthy", StatusCode::OK)
    } else {
        ("unhealthy", StatusCode::SERVICE_UNAVAILABLE)
    };
    let health = Health {
        status,
        timestamp: clock::rfc3339(now),
        checks,
        missing,
        notices: api.process.health.noticed(),
        clock,
    };
    Ok((code, Json(health)))
}

/// `GET /health` while the store is opening.
pub async fn starting(State(opening): State<Opening>, RawQuery(query): RawQuery) -> Response {
    if let Err(problem) = Query::parse(query.as_deref(), &[]) {
        return problem.into_response();
    }
    let health = Health {
        status: "starting",
        timestamp: clock::rfc3339(clock::now_micros()),
        checks: BTreeMap::from([("store", opening.step())]),
        missing: 0,
        clock: None,
        notices: BTreeMap::new(),
    };
    let pause = [(header::RETRY_AFTER, STARTING_PAUSE.as_secs().to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, pause, Json(health)).into_response()
}

/// The failing parts, including the store if it cannot be read, and the counters if it can.
pub async fn check(api: &Api) -> (BTreeMap<&'static str, String>, Option<query::Stats>) {
    let mut checks = failing(api);
    let read = api.reader.stats(0).await;
    let stats = read.inspect_err(|err| {
        checks.insert("store", err.to_string());
    });
    (checks, stats.ok())
}

/// The failing parts, each with the reason it reported.
pub fn failing(api: &Api) -> BTreeMap<&'static str, String> {
    let mut checks = api.process.health.failing();
    let link = api.broker.connection.link();
    if !link.connected {
        let unknown = || "not connected".to_owned();
        let reason = link.last_error.unwrap_or_else(unknown);
        checks.insert("broker", reason);
    }
    checks
}

/// How far the clock may be behind the latest event without a notice, in microseconds: time services make smaller steps
/// routinely.
const CLOCK_TOLERANCE: i64 = 1_000_000;

/// The notice while the clock is behind the latest event and `processed_at` is therefore held.
pub fn clock_notice(now: i64, processed_at: i64) -> Option<String> {
    let behind = processed_at.saturating_sub(now);
    (behind > CLOCK_TOLERANCE).then(|| {
        format!(
            "the clock is {} s behind the latest event; processed_at is held at {} until the clock catches up",
            behind / 1_000_000,
            clock::rfc3339(processed_at)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_is_reported_until_it_catches_up() {
        assert_eq!(clock_notice(1_000_000, 2_000_000), None);
        let notice = clock_notice(1_000_000, 61_000_000).unwrap();
        assert!(notice.contains("60 s behind"), "{notice}");
        assert!(notice.contains("1970-01-01T00:01:01"), "{notice}");
    }
}
