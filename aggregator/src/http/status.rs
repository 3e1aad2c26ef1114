//! `GET /stats` and `GET /health`: the bookkeeping, and whether all parts work.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Json,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::stream::{self, StreamState};
use tracing::debug;
use utoipa::ToSchema;

use super::{
    Api,
    openapi::{AskedAll, Unasked},
    page::{self, Whole},
    problem::{Problem, STARTING_PAUSE},
    query::Query,
};
use crate::{
    clock,
    store::{Opening, reader},
};

/// Topic names shown in `/stats`; `topics_total` counts all.
const MAX_TOPICS: usize = 1_000;

/// The bookkeeping at one commit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    rejected: u64,
    /// Whether `received = unique_processed + duplicate_dropped + rejected`.
    consistent: bool,
    /// Those of them whose body is not kept any more.
    rejected_evicted: u64,
    conflicts: u64,
    conflicts_evicted: u64,
    redelivered: u64,
    /// Messages in the stream that are not applied; none while the broker cannot be asked.
    #[schema(required)]
    pending: Option<u64>,
    missing: u64,
    /// How often messages waited and nothing was applied for so long that they were pulled anew, since the start.
    stalls: u64,
    /// OTLP records on the stream that had no id of their own, since the start.
    identified_by_digest: u64,
    topics: Vec<String>,
    topics_total: u64,
    uptime_seconds: u64,
    #[schema(format = DateTime)]
    started_at: String,
}

/// Tells the counters and what is still to come.
#[utoipa::path(
    get,
    path = "/stats",
    tag = "counts",
    responses((status = OK, body = Stats), AskedAll)
)]
pub async fn stats(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[])?;
    page::answer(&api, async |room| {
        // The stream first: what is in it then is either counted below or pending.
        let stream = stream_state(&api).await;
        let stats = api.reader.stats(MAX_TOPICS).await;
        let stats = stats.map_err(|err| Problem::internal(&err))?;
        let stats = Stats {
            received: stats.received,
            unique_processed: stats.unique_processed,
            duplicate_dropped: stats.duplicate_dropped,
            rejected: stats.rejected,
            consistent: stats.is_consistent(),
            rejected_evicted: stats.rejected_evicted,
            conflicts: stats.conflicts,
            conflicts_evicted: stats.conflicts_evicted,
            redelivered: stats.redelivered,
            pending: stream.map(|stream| pending(&stream, &stats)),
            missing: stats.missing,
            stalls: api.health.stalled(),
            identified_by_digest: api.identified_by_digest.load(Ordering::Relaxed),
            topics: stats.topics,
            topics_total: stats.topics_total,
            uptime_seconds: api.started.elapsed().as_secs(),
            started_at: clock::rfc3339(api.started_at),
        };
        Ok(Whole::of(&stats, room))
    })
    .await
}

/// The stream's state; none while the broker cannot be asked.
pub async fn stream_state(api: &Api) -> Option<StreamState> {
    if !api.connection.is_connected() {
        return None;
    }
    let state = stream::state(&api.connection, &api.stream).await;
    state
        .inspect_err(|err| debug!(error = %err, "the stream's state is not known"))
        .ok()
}

/// Messages that the stream has and the store has not applied.
pub fn pending(stream: &StreamState, stats: &reader::Stats) -> u64 {
    match &stats.stream {
        Some((name, created)) if *name == stream.name && *created == stream.created => stats
            .applied
            .absent_within(stream.first.max(1), stream.last),
        // Another stream than the store knows: nothing of it is applied.
        _ => stream.messages,
    }
}

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
        Unasked
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
        notices: api.health.noticed(),
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
    let mut checks = api.health.failing();
    let link = api.connection.link();
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
