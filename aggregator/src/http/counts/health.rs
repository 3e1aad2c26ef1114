//! `GET /health`: whether all parts work.

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
    store::Opening,
};

/// Whether all parts work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    status: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
    /// The parts that do not work, each with its reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<&'static str, String>,
    /// Stream sequences lost before they were applied, which nobody acknowledged.
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
    /// What a person should know though all parts work: `stream_size`, where the stream keeps a larger size or more replicas
    /// than settings say, and `trimming`, where another store holds it back or the stream is not trimmed for another reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    notices: BTreeMap<&'static str, String>,
    /// What a person should see to, though all parts work.
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

/// 200 when all parts work, 503 with those that do not. Reads only.
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
    let mut checks = failing(&api);
    let now = clock::now_micros();
    let (missing, clock) = match api.reader.stats(0).await {
        Ok(stats) => (stats.missing, clock_notice(now, stats.processed_at)),
        Err(err) => {
            checks.insert("store", err.to_string());
            (0, None)
        }
    };
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

/// `GET /health` while the store is being opened.
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

/// The parts that do not work, by what they said themselves.
pub fn failing(api: &Api) -> BTreeMap<&'static str, String> {
    let mut checks = api.process.health.failing();
    let link = api.broker.connection.link();
    if !link.connected {
        let none = || "there is no connection".to_owned();
        let reason = link.last_error.unwrap_or_else(none);
        checks.insert("broker", reason);
    }
    checks
}

/// So far the clock may be behind the latest event before it is told: less than a step that a time service makes unseen.
const CLOCK_TOLERANCE: i64 = 1_000_000;

/// What there is to say while the clock is behind the latest event, so that `processed_at` stands still.
pub fn clock_notice(now: i64, processed_at: i64) -> Option<String> {
    let behind = processed_at.saturating_sub(now);
    (behind > CLOCK_TOLERANCE).then(|| {
        format!(
            "the clock is {} s behind the latest event; processed_at stands still at {} until it is there again",
            behind / 1_000_000,
            clock::rfc3339(processed_at)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_is_told_until_it_is_there_again() {
        assert_eq!(clock_notice(1_000_000, 2_000_000), None);
        let told = clock_notice(1_000_000, 61_000_000).unwrap();
        assert!(told.contains("60 s behind"), "{told}");
        assert!(told.contains("1970-01-01T00:01:01"), "{told}");
    }
}
