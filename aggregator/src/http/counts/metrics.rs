//! `GET /metrics`: what Prometheus asks for, in its text format.
//!
//! What the store counts is read from it in one transaction, so these figures add up; what is measured since the start is
//! held in [`Metrics`](crate::metrics::Metrics). Figures of the broker's are left out while it cannot be asked: no figure is
//! better than a wrong one.

mod exposition;

use std::{fs, sync::Arc, time::Duration};

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
    store::query::{Figures, Sizes, Stats},
};

/// How long the broker is asked, and the store; Prometheus itself gives up after 10 s.
const PATIENCE: Duration = Duration::from_secs(2);

/// The parts of the service, as `/health` names them.
const PARTS: [&str; 5] = ["broker", "consumer", "progress", "store", "stream"];

/// Tells all figures, for Prometheus.
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
    // The stream first, as in `/stats`: what is in it then is either counted or pending.
    let broker = standing(&api).await;
    let figures = figures(&api).await;
    let mut told = Exposition::new(api.process.metrics.gather());
    if let Some(Figures {
        stats,
        seals,
        sizes,
    }) = &figures
    {
        bookkeeping(&mut told, stats, *seals);
        files(&mut told, sizes);
        if let Some(broker) = &broker {
            let pending = stats::pending(&broker.stream, stats);
            told.gauge(
                "aggregator_pending_messages",
                "Messages in the stream that are not applied yet",
                pending,
            );
        }
    }
    if let Some(broker) = &broker {
        of_broker(&mut told, broker);
    }
    told.gauge(
        "aggregator_stream_max_bytes",
        "Size at which the stream is full, by configuration",
        api.broker.stream_max_bytes,
    );
    of_service(&mut told, &api);
    parts(&mut told, &api, figures.is_none());
    process(&mut told, &api);
    let encoder = TextEncoder::new();
    let text = encoder
        .encode_to_string(&told.into_families())
        .expect("every family has a name and a figure");
    let kind = [(header::CONTENT_TYPE, encoder.format_type().to_owned())];
    Ok((kind, text).into_response())
}

async fn figures(api: &Api) -> Option<Figures> {
    match timeout(PATIENCE, api.reader.figures()).await {
        Ok(Ok(figures)) => Some(figures),
        Ok(Err(err)) => {
            debug!(error = %err, "the store's figures are not known");
            None
        }
        Err(_) => {
            debug!("the store's figures are not known: it does not answer");
            None
        }
    }
}

async fn standing(api: &Api) -> Option<Standing> {
    if !api.broker.connection.is_connected() {
        return None;
    }
    let asked = stream::standing(
        &api.broker.connection,
        &api.broker.stream,
        &api.broker.durable,
    );
    match timeout(PATIENCE, asked).await {
        Ok(Ok(standing)) => Some(standing),
        Ok(Err(err)) => {
            debug!(error = %err, "the broker's figures are not known");
            None
        }
        Err(_) => {
            debug!("the broker's figures are not known: it does not answer");
            None
        }
    }
}

fn bookkeeping(told: &mut Exposition, stats: &Stats, seals: u64) {
    told.counters(
        "aggregator_events_total",
        "Events that came, by what became of them; the sum is what /stats calls received",
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
            "Duplicates that differ from what is stored; they are counted as duplicates, too",
            stats.conflicts,
        ),
        (
            "aggregator_redeliveries_total",
            "Deliveries of messages that were applied before; they change nothing",
            stats.redelivered,
        ),
        (
            "aggregator_rejected_evicted_total",
            "Rejected arrivals whose body is not kept any more",
            stats.rejected_evicted,
        ),
        (
            "aggregator_conflicts_evicted_total",
            "Conflicts that are not kept any more",
            stats.conflicts_evicted,
        ),
        (
            "aggregator_index_seals_total",
            "Tables of the dedup index that were handed to disk, over the store's life",
            seals,
        ),
    ] {
        told.counter(name, help, total);
    }
    for (name, help, figure) in [
        (
            "aggregator_topics",
            "Topics that have events",
            stats.topics_total,
        ),
        (
            "aggregator_missing_messages",
            "Messages that the stream lost before they were applied, and nobody acknowledged",
            stats.missing,
        ),
        (
            "aggregator_applied_floor_sequence",
            "Stream sequence up to which all messages are applied",
            stats.applied.floor(),
        ),
    ] {
        told.gauge(name, help, figure);
    }
}

fn files(told: &mut Exposition, sizes: &Sizes) {
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
            told.gauge(name, help, bytes);
        }
    }
}

fn of_broker(told: &mut Exposition, broker: &Standing) {
    for (name, help, figure) in [
        (
            "aggregator_stream_messages",
            "Messages in the stream, applied ones that it keeps included",
            broker.stream.messages,
        ),
        (
            "aggregator_stream_bytes",
            "Size of the stream on the broker's disk",
            broker.stream.bytes,
        ),
        (
            "aggregator_stream_last_sequence",
            "Last sequence that the stream gave out",
            broker.stream.last,
        ),
    ] {
        told.gauge(name, help, figure);
    }
    let Some(durable) = &broker.durable else {
        return;
    };
    for (name, help, figure) in [
        (
            "aggregator_consumer_ack_floor_sequence",
            "Stream sequence up to which the durable consumer has all acks",
            durable.ack_floor,
        ),
        (
            "aggregator_consumer_unacked_messages",
            "Messages that were delivered and wait for their ack",
            durable.unacked,
        ),
        (
            "aggregator_consumer_undelivered_messages",
            "Messages that were not delivered yet",
            durable.undelivered,
        ),
    ] {
        told.gauge(name, help, figure);
    }
}

fn of_service(told: &mut Exposition, api: &Api) {
    told.counter(
        "aggregator_stalls_total",
        "How often messages waited and nothing was applied for so long that they were pulled anew, since the start",
        api.process.health.stalled(),
    );
    told.counter(
        "aggregator_identified_by_digest_total",
        "OTLP records on the stream that had no id of their own, since the start",
        api.otlp
            .identified_by_digest
            .load(std::sync::atomic::Ordering::Relaxed),
    );
    told.counter(
        "aggregator_broker_connects_total",
        "How often the broker was connected to, since the start",
        api.broker.connection.link().connects,
    );
    told.gauge(
        "aggregator_unconfirmed_bytes",
        "Bytes of events that wait for their PubAck",
        api.broker.publisher.unconfirmed_bytes() as u64,
    );
    told.info(
        "aggregator_build_info",
        "The version that runs; always 1",
        "version",
        env!("CARGO_PKG_VERSION"),
    );
}

/// Those that `/health` would name are 0.
fn parts(told: &mut Exposition, api: &Api, store_fails: bool) {
    let failing = api.process.health.failing();
    let works = |part: &str| match part {
        "broker" => api.broker.connection.is_connected(),
        "store" => !store_fails && !failing.contains_key(part),
        part => !failing.contains_key(part),
    };
    told.gauges(
        "aggregator_part_healthy",
        "Whether a part of the service works (1) or not (0), as /health says",
        "part",
        &PARTS.map(|part| (part, u64::from(works(part)))),
    );
}

fn process(told: &mut Exposition, api: &Api) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the time has fewer than 52 bits until the year 2112"
    )]
    let started = api.process.started_at as f64 / 1_000_000.0;
    told.real_gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds",
        started,
    );
    if let Some(bytes) = resident_bytes() {
        told.gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            bytes,
        );
    }
}

/// As Linux tells it; other systems have no such file.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = line?.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
