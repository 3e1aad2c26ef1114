//! `GET /metrics`: metrics in the text format of Prometheus.
//!
//! The store's figures are read in one transaction, so they add up. Figures measured since the start are held in
//! [`Metrics`](crate::metrics::Metrics). The broker's figures are left out while it cannot be reached: no figure is better
//! than a wrong one.

mod exposition;

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use prometheus::{Encoder, TextEncoder};
use shared::stream::{self, Standing};
use tokio::time::timeout;
use tracing::debug;

use self::exposition::Exposition;
use super::stats;
use crate::{
    http::{
        api::Api,
        edge::{
            problem::Problem,
            query::{ParameterRefusals, Query},
        },
    },
    machine,
    store::query::{Figures, FilterSizes, Sizes, Stats},
};

/// How long to wait for the broker, and for the store. Prometheus itself gives up after 10 s.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The parts of the service, as `/health` names them.
const PARTS: [&str; 6] = [
    "broker", "consumer", "progress", "publish", "store", "stream",
];

/// Returns all metrics, in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses((status = OK, body = String, content_type = "text/plain"), ParameterRefusals)
)]
pub async fn metrics(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[])?;
    // Read the stream first, as in `/stats`: each message in it is then either counted or pending.
    let broker = standing(&api).await;
    let figures = figures(&api).await;
    let mut exposition = Exposition::new(api.process.metrics.gather());
    if let Some(Figures {
        stats,
        seals,
        sizes,
        filters,
    }) = &figures
    {
        store_counters(&mut exposition, stats, *seals);
        files(&mut exposition, sizes);
        if let Some(filters) = filters {
            filter_sizes(&mut exposition, filters);
        }
        if let Some(broker) = &broker {
            let pending = stats::pending(&broker.stream, stats);
            exposition.gauge(
                "aggregator_pending_messages",
                "Messages in the stream that are not yet applied",
                pending,
            );
        }
    }
    if let Some(broker) = &broker {
        broker_figures(&mut exposition, broker);
    }
    exposition.gauge(
        "aggregator_stream_max_bytes",
        "Configured maximum size of the stream",
        api.broker.stream_max_bytes,
    );
    service_figures(&mut exposition, &api);
    let failures = api.reader.failures();
    if !failures.is_empty() {
        exposition.counters(
            "aggregator_database_retries_total",
            "What failed in a shared database since the start, by reason: batches, outcomes that are waited for, and passes of the upkeep; each is done again",
            "reason",
            &failures,
        );
    }
    parts(&mut exposition, &api, figures.is_none());
    process(&mut exposition, &api);
    let encoder = TextEncoder::new();
    let text = encoder
        .encode_to_string(&exposition.into_families())
        .expect("every family has a name and a figure");
    let kind = [(header::CONTENT_TYPE, encoder.format_type().to_owned())];
    Ok((kind, text).into_response())
}

async fn figures(api: &Api) -> Option<Figures> {
    match timeout(TIMEOUT, api.reader.figures()).await {
        Ok(Ok(figures)) => Some(figures),
        Ok(Err(err)) => {
            debug!(error = %err, "the store's figures are unknown");
            None
        }
        Err(_) => {
            debug!("the store's figures are unknown: it does not respond");
            None
        }
    }
}

async fn standing(api: &Api) -> Option<Standing> {
    if !api.broker.connection.is_connected() {
        return None;
    }
    let standing = stream::standing(
        &api.broker.connection,
        &api.broker.stream,
        &api.broker.durable,
    );
    match timeout(TIMEOUT, standing).await {
        Ok(Ok(standing)) => Some(standing),
        Ok(Err(err)) => {
            debug!(error = %err, "the broker's figures are unknown");
            None
        }
        Err(_) => {
            debug!("the broker's figures are unknown: it does not respond");
            None
        }
    }
}

fn store_counters(exposition: &mut Exposition, stats: &Stats, seals: u64) {
    exposition.counters(
        "aggregator_events_total",
        "Arrivals by outcome; their sum is received in /stats",
        "outcome",
        &[
            ("stored", stats.unique_processed),
            ("duplicate", stats.duplicate_dropped),
            ("rejected", stats.rejected),
        ],
    );
    for (name, help, total) in [
        (
            "aggregator_conflicts_total",
            "Duplicates that differ from the stored event; also counted as duplicates",
            stats.conflicts,
        ),
        (
            "aggregator_redeliveries_total",
            "Deliveries of messages that were already applied; they change nothing",
            stats.redelivered,
        ),
        (
            "aggregator_rejected_evicted_total",
            "Rejected arrivals whose body is no longer kept",
            stats.rejected_evicted,
        ),
        (
            "aggregator_conflicts_evicted_total",
            "Conflicts that are no longer kept",
            stats.conflicts_evicted,
        ),
        (
            "aggregator_index_seals_total",
            "Tables of the dedup index written to disk over the life of the store",
            seals,
        ),
    ] {
        exposition.counter(name, help, total);
    }
    for (name, help, figure) in [
        (
            "aggregator_topics",
            "Topics that have events",
            stats.topics_total,
        ),
        (
            "aggregator_missing_messages",
            "Messages that the stream lost before they were applied and that have not been acknowledged",
            stats.missing,
        ),
        (
            "aggregator_applied_floor_sequence",
            "Stream sequence up to which all messages are applied",
            stats.applied.floor(),
        ),
    ] {
        exposition.gauge(name, help, figure);
    }
}

fn files(exposition: &mut Exposition, sizes: &Sizes) {
    for (name, help, bytes) in [
        (
            "aggregator_database_bytes",
            "Size of the database file",
            sizes.database,
        ),
        (
            "aggregator_wal_bytes",
            "Size of the database's WAL",
            sizes.wal,
        ),
        (
            "aggregator_index_bytes",
            "Size of the dedup index on disk",
            sizes.index,
        ),
    ] {
        if let Some(bytes) = bytes {
            exposition.gauge(name, help, bytes);
        }
    }
}

fn filter_sizes(exposition: &mut Exposition, filters: &FilterSizes) {
    exposition.gauge(
        "aggregator_index_filter_bytes",
        "Size of the dedup index's filters",
        filters.all,
    );
    exposition.gauge(
        "aggregator_index_filter_resident_bytes",
        "Size of those filters that fit in the memory given; the others are read at each lookup",
        filters.in_memory,
    );
}

fn broker_figures(exposition: &mut Exposition, broker: &Standing) {
    for (name, help, figure) in [
        (
            "aggregator_stream_messages",
            "Messages in the stream, including applied ones that it keeps",
            broker.stream.messages,
        ),
        (
            "aggregator_stream_bytes",
            "Size of the stream on the broker's disk",
            broker.stream.bytes,
        ),
        (
            "aggregator_stream_last_sequence",
            "Last sequence of the stream",
            broker.stream.last,
        ),
    ] {
        exposition.gauge(name, help, figure);
    }
    let Some(durable) = &broker.durable else {
        return;
    };
    for (name, help, figure) in [
        (
            "aggregator_consumer_ack_floor_sequence",
            "Stream sequence up to which the durable consumer has received all acks",
            durable.ack_floor,
        ),
        (
            "aggregator_consumer_unacked_messages",
            "Messages delivered and not yet acked",
            durable.unacked,
        ),
        (
            "aggregator_consumer_undelivered_messages",
            "Messages not yet delivered",
            durable.undelivered,
        ),
    ] {
        exposition.gauge(name, help, figure);
    }
}

fn service_figures(exposition: &mut Exposition, api: &Api) {
    exposition.counter(
        "aggregator_stalls_total",
        "Stalls since the start: messages waited, nothing was applied for too long, and the messages were pulled again",
        api.process.health.stalled(),
    );
    exposition.counter(
        "aggregator_identified_by_digest_total",
        "OTLP records without an id of their own that reached the stream since the start",
        api.otlp
            .identified_by_digest
            .load(std::sync::atomic::Ordering::Relaxed),
    );
    exposition.counter(
        "aggregator_broker_connects_total",
        "Connections made to the broker since the start",
        api.broker.connection.link().connects,
    );
    exposition.gauge(
        "aggregator_unconfirmed_bytes",
        "Bytes of events that await their PubAck",
        api.broker.publisher.unconfirmed_bytes() as u64,
    );
    exposition.info(
        "aggregator_build_info",
        "Version of the running service; always 1",
        "version",
        env!("CARGO_PKG_VERSION"),
    );
}

/// Parts that `/health` reports as failing are 0.
fn parts(exposition: &mut Exposition, api: &Api, store_fails: bool) {
    let failing = api.process.health.failing();
    let works = |part: &str| match part {
        "broker" => api.broker.connection.is_connected(),
        "store" => !store_fails && !failing.contains_key(part),
        part => !failing.contains_key(part),
    };
    exposition.gauges(
        "aggregator_part_healthy",
        "Whether a part of the service works (1) or not (0), as in /health",
        "part",
        &PARTS.map(|part| (part, u64::from(works(part)))),
    );
}

fn process(exposition: &mut Exposition, api: &Api) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the time has fewer than 52 bits until the year 2112"
    )]
    let started = api.process.started_at as f64 / 1_000_000.0;
    exposition.real_gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds",
        started,
    );
    if let Some(bytes) = machine::resident_bytes() {
        exposition.gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            bytes,
        );
    }
}
