//! `GET /stats`: the bookkeeping at one commit.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use shared::stream::{self, StreamState};
use tracing::debug;
use utoipa::ToSchema;

use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            paging::{self, Whole},
            problem::Problem,
            query::{Query, UnpagedRefusals},
        },
    },
    store::query,
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
    responses((status = OK, body = Stats), UnpagedRefusals)
)]
pub async fn stats(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[])?;
    paging::answer(&api.permits, async |room| {
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
            stalls: api.process.health.stalled(),
            identified_by_digest: api.otlp.identified_by_digest.load(Ordering::Relaxed),
            topics: stats.topics,
            topics_total: stats.topics_total,
            uptime_seconds: api.process.started.elapsed().as_secs(),
            started_at: clock::rfc3339(api.process.started_at),
        };
        Ok(Whole::of(&stats, room))
    })
    .await
}

/// The stream's state; none while the broker cannot be asked.
pub async fn stream_state(api: &Api) -> Option<StreamState> {
    if !api.broker.connection.is_connected() {
        return None;
    }
    let state = stream::state(&api.broker.connection, &api.broker.stream).await;
    state
        .inspect_err(|err| debug!(error = %err, "the stream's state is not known"))
        .ok()
}

/// Messages that the stream has and the store has not applied.
pub fn pending(stream: &StreamState, stats: &query::Stats) -> u64 {
    match &stats.stream {
        Some((name, created)) if *name == stream.name && *created == stream.created => stats
            .applied
            .absent_within(stream.first.max(1), stream.last),
        // Another stream than the store knows: nothing of it is applied.
        _ => stream.messages,
    }
}
