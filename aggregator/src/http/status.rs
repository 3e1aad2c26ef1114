//! `GET /stats` and `GET /health`: the bookkeeping, and whether all parts work.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
};
use serde::Serialize;
use shared::stream::{self, StreamState};
use tracing::debug;

use super::{Api, problem::Problem, query::Query};
use crate::{clock, store::reader};

/// Topic names shown in `/stats`; `topics_total` counts all.
const MAX_TOPICS: usize = 1_000;

/// The bookkeeping at one commit.
#[derive(Debug, Serialize)]
pub struct Stats {
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    rejected: u64,
    conflicts: u64,
    redelivered: u64,
    /// Messages in the stream that are not applied; none while the broker cannot be asked.
    pending: Option<u64>,
    missing: u64,
    topics: Vec<String>,
    topics_total: u64,
    uptime_seconds: u64,
    started_at: String,
}

/// Tells the counters and what is still to come.
pub async fn stats(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Stats>, Problem> {
    Query::parse(query.as_deref(), &[])?;
    // The stream first: what is in it then is either counted below or pending.
    let stream = stream_state(&api).await;
    let stats = api.reader.stats(MAX_TOPICS).await;
    let stats = stats.map_err(|err| Problem::internal(&err))?;
    Ok(Json(Stats {
        received: stats.received,
        unique_processed: stats.unique_processed,
        duplicate_dropped: stats.duplicate_dropped,
        rejected: stats.rejected,
        conflicts: stats.conflicts,
        redelivered: stats.redelivered,
        pending: stream.map(|stream| pending(&stream, &stats)),
        missing: stats.missing,
        topics: stats.topics,
        topics_total: stats.topics_total,
        uptime_seconds: api.started.elapsed().as_secs(),
        started_at: clock::rfc3339(api.started_at),
    }))
}

async fn stream_state(api: &Api) -> Option<StreamState> {
    if !api.connection.is_connected() {
        return None;
    }
    let state = stream::state(&api.connection, &api.stream).await;
    state
        .inspect_err(|err| debug!(error = %err, "the stream's state is not known"))
        .ok()
}

/// Messages that the stream has and the store has not applied.
fn pending(stream: &StreamState, stats: &reader::Stats) -> u64 {
    match &stats.stream {
        Some((name, created)) if *name == stream.name && *created == stream.created => stats
            .applied
            .absent_within(stream.first.max(1), stream.last),
        // Another stream than the store knows: nothing of it is applied.
        _ => stream.messages,
    }
}

/// Whether all parts work.
#[derive(Debug, Serialize)]
pub struct Health {
    status: &'static str,
    timestamp: String,
    /// The parts that do not work, each with its reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<&'static str, String>,
    /// Stream sequences lost before they were applied.
    #[serde(skip_serializing_if = "is_zero")]
    missing: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// 200 when all parts work, 503 with those that do not. Reads only.
pub async fn health(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<(StatusCode, Json<Health>), Problem> {
    Query::parse(query.as_deref(), &[])?;
    let mut checks = api.health.failing();
    let link = api.connection.link();
    if !link.connected {
        let none = || "there is no connection".to_owned();
        let reason = link.last_error.unwrap_or_else(none);
        checks.insert("broker", reason);
    }
    let missing = match api.reader.stats(0).await {
        Ok(stats) => stats.missing,
        Err(err) => {
            checks.insert("store", err.to_string());
            0
        }
    };
    let (status, code) = if checks.is_empty() {
        ("healthy", StatusCode::OK)
    } else {
        ("unhealthy", StatusCode::SERVICE_UNAVAILABLE)
    };
    let health = Health {
        status,
        timestamp: clock::rfc3339(clock::now_micros()),
        checks,
        missing,
    };
    Ok((code, Json(health)))
}
