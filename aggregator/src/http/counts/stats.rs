//! `GET /stats`: the counters as of one commit.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use shared::stream::{self, StreamState};
use tracing::debug;
use utoipa::{
    ToSchema,
    openapi::schema::{ObjectBuilder, Type},
};

use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            paging::{self, Whole},
            problem::Problem,
            query::{Query, unknown_parameter},
        },
        openapi::{
            parameters::{self, parameters},
            refusals::{problems, refusals},
        },
    },
    store::query,
};

/// Maximum number of topic names in `/stats`; `topics_total` counts all.
const MAX_TOPICS: usize = 1_000;

/// The counters as of one commit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    rejected: u64,
    /// Whether `received = unique_processed + duplicate_dropped + rejected`.
    consistent: bool,
    /// Rejected arrivals whose body is no longer kept.
    rejected_evicted: u64,
    /// How many rejected arrivals are marked as seen, including those that are no longer kept.
    rejected_seen: u64,
    /// They are those with ids up to this one.
    rejected_seen_up_to: u64,
    /// Rejected arrivals with larger ids that were sent again and therefore need no review.
    rejected_requeued: u64,
    conflicts: u64,
    conflicts_evicted: u64,
    /// How many conflicts are marked as seen, including those that are no longer kept.
    conflicts_seen: u64,
    /// They are those with ids up to this one.
    conflicts_seen_up_to: u64,
    redelivered: u64,
    /// Messages in the stream that are not applied; null while the broker cannot be reached.
    #[schema(required)]
    pending: Option<u64>,
    missing: u64,
    /// Number of stalls since the start: messages waited, nothing was applied for too long, and the messages were pulled again.
    stalls: u64,
    /// OTLP records without an id of their own that reached the stream since the start.
    identified_by_digest: u64,
    /// The first 1,000 topic names; absent with `topics=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    topics: Option<Vec<String>>,
    topics_total: u64,
    /// The disk with the store; null if the system does not report it.
    #[schema(required)]
    disk: Option<Disk>,
    /// The aggregators that share the store and are alive; absent if the store is not shared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aggregators: Vec<Aggregator>,
    uptime_seconds: u64,
    #[schema(format = DateTime)]
    started_at: String,
}

/// The disk with the store.
#[derive(Debug, Serialize, ToSchema)]
pub struct Disk {
    /// Bytes that are free for the store.
    free_bytes: u64,
    /// Bytes of the whole file system.
    total_bytes: u64,
    /// Bytes of the store's files.
    store_bytes: u64,
    /// How long the free space lasts if as many events are stored as in the last 24 hours; null if that is more
    /// than 10 years, or the store has counted for less than an hour.
    #[schema(required)]
    seconds_left: Option<u64>,
}

/// An aggregator that shares the store. Times are those of the database's clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct Aggregator {
    /// The name of its machine or container, and its process id.
    name: String,
    /// When it opened the store.
    #[schema(format = DateTime)]
    since: String,
    /// When it last gave a sign of life, which it does every 10 seconds. One that was killed is listed for up to a minute.
    #[schema(format = DateTime)]
    last_seen: String,
    /// Whether it is the one that answers.
    this: bool,
}

impl Aggregator {
    /// As read from the store.
    pub fn all_of(stats: &query::Stats) -> Vec<Self> {
        let aggregators = stats.aggregators.iter();
        aggregators
            .map(|alive| Self {
                name: alive.name.clone(),
                since: clock::rfc3339(alive.since),
                last_seen: clock::rfc3339(alive.seen),
                this: alive.is_this,
            })
            .collect()
    }
}

impl Disk {
    /// As read from the store.
    pub fn of(disk: query::Disk) -> Self {
        Self {
            free_bytes: disk.free,
            total_bytes: disk.total,
            store_bytes: disk.used,
            seconds_left: disk.time_left().map(|left| left.as_secs()),
        }
    }
}

parameters! {
    /// The parameters of `GET /stats`.
    OfStats = [
        parameters::query("topics", "Whether the response contains the topic names.")
            .schema(Some(ObjectBuilder::new().schema_type(Type::Boolean).default(Some(true.into())))),
    ];
}

refusals! {
    /// The refusals of `GET /stats`.
    StatsRefusals = problems([unknown_parameter(&["topics"]), Problem::store_unreadable()]);
}

/// Returns the counters, and how many messages are pending.
#[utoipa::path(
    get,
    path = "/stats",
    tag = "counts",
    params(OfStats),
    responses((status = OK, body = Stats), StatsRefusals)
)]
pub async fn stats(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &["topics"])?;
    let has_topics = query.flag("topics", true)?;
    paging::answer(&api.permits, async |room| {
        // Read the stream first: each message in it is then either counted below or pending.
        let stream = stream_state(&api).await;
        let stats = api
            .reader
            .stats(if has_topics { MAX_TOPICS } else { 0 })
            .await;
        let stats = stats.map_err(|err| Problem::internal(&err))?;
        let disk = api.reader.disk(clock::now_micros()).await;
        let disk = disk.map_err(|err| Problem::internal(&err))?;
        let stats = Stats {
            received: stats.received,
            unique_processed: stats.unique_processed,
            duplicate_dropped: stats.duplicate_dropped,
            rejected: stats.rejected,
            consistent: stats.is_consistent(),
            rejected_evicted: stats.rejected_evicted,
            rejected_seen: stats.rejected_seen.number,
            rejected_seen_up_to: stats.rejected_seen.up_to,
            rejected_requeued: stats.rejected_requeued,
            conflicts: stats.conflicts,
            conflicts_evicted: stats.conflicts_evicted,
            conflicts_seen: stats.conflicts_seen.number,
            conflicts_seen_up_to: stats.conflicts_seen.up_to,
            redelivered: stats.redelivered,
            pending: stream.map(|stream| pending(&stream, &stats)),
            missing: stats.missing,
            stalls: api.process.health.stalled(),
            identified_by_digest: api.otlp.identified_by_digest.load(Ordering::Relaxed),
            aggregators: Aggregator::all_of(&stats),
            topics: has_topics.then_some(stats.topics),
            topics_total: stats.topics_total,
            disk: disk.map(Disk::of),
            uptime_seconds: api.process.started.elapsed().as_secs(),
            started_at: clock::rfc3339(api.process.started_at),
        };
        Ok(Whole::of(&stats, room))
    })
    .await
}

/// The state of the stream, or `None` while the broker cannot be reached.
pub async fn stream_state(api: &Api) -> Option<StreamState> {
    if !api.broker.connection.is_connected() {
        return None;
    }
    let state = stream::state(&api.broker.connection, &api.broker.stream).await;
    state
        .inspect_err(|err| debug!(error = %err, "the state of the stream is unknown"))
        .ok()
}

/// Number of messages in the stream that the store has not applied.
pub fn pending(stream: &StreamState, stats: &query::Stats) -> u64 {
    match &stats.stream {
        Some((name, created)) if *name == stream.name && *created == stream.created => stats
            .applied
            .absent_within(stream.first.max(1), stream.last),
        // Not the stream that the store knows: none of its messages are applied.
        _ => stream.messages,
    }
}
