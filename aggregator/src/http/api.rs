//! The state that handlers share.

use std::{collections::BTreeMap, sync::atomic::AtomicU64, time::Instant};

use axum::http::Uri;
use shared::{connection::Connection, publish::Publisher, telemetry::Recent};
use tokio_util::sync::CancellationToken;

use super::{
    counts::live::samples::Live,
    edge::{Edge, body::Intake, permits::Permits, problem::Problem},
};
use crate::{
    health::Health,
    metrics::Metrics,
    store::{Reader, Writer},
};

/// The state of the handlers.
#[derive(Debug)]
pub struct Api {
    /// Queries of the store.
    pub reader: Reader,
    /// For operator requests and waits; events reach the store through the stream only.
    pub writer: Writer,
    /// The broker and its stream.
    pub broker: Broker,
    /// The state of the process.
    pub process: Process,
    /// What wraps every request.
    pub edge: Edge,
    /// The permits that responses need.
    pub permits: Permits,
    /// The limits on request bodies.
    pub intake: Intake,
    /// The state of the OTLP routes.
    pub otlp: Otlp,
    /// The samples of the live page.
    pub live: Live,
}

/// The broker and its stream.
#[derive(Debug)]
pub struct Broker {
    /// The connection to the broker.
    pub connection: Connection,
    /// Publishes to the stream.
    pub publisher: Publisher,
    /// The stream's name.
    pub stream: String,
    /// The durable consumer's name.
    pub durable: String,
    /// Size at which the stream is full.
    pub stream_max_bytes: u64,
}

/// The state of the process.
#[derive(Debug)]
pub struct Process {
    /// The health of the parts of the service.
    pub health: Health,
    /// Its metrics.
    pub metrics: Metrics,
    /// Cancelled when the service stops: ends responses that would otherwise never end.
    pub stopping: CancellationToken,
    /// When the process started, on the monotonic clock.
    pub started: Instant,
    /// When the process started, in microseconds since 1970.
    pub started_at: i64,
    /// Its settings by flag, without credentials.
    pub settings: BTreeMap<String, String>,
    /// Its last log lines.
    pub recent: Recent,
}

/// The state of the OTLP routes.
#[derive(Debug)]
pub struct Otlp {
    /// The resource attribute that gives the topic of its records.
    pub topic: String,
    /// Records published with a digest as their id, since the start.
    pub identified_by_digest: AtomicU64,
}

impl Api {
    /// The state of a service with these parts. `otlp_topic` is the attribute of an OTLP resource that gives the topic of its
    /// records.
    #[must_use]
    pub fn new(
        (reader, writer): (Reader, Writer),
        broker: Broker,
        process: Process,
        edge: Edge,
        otlp_topic: String,
    ) -> Self {
        Self {
            reader,
            writer,
            broker,
            process,
            edge,
            permits: Permits::default(),
            intake: Intake::default(),
            otlp: Otlp {
                topic: otlp_topic,
                identified_by_digest: AtomicU64::default(),
            },
            live: Live::default(),
        }
    }
}

/// 404: no route has this path.
pub fn unknown_path(uri: &Uri) -> Problem {
    Problem::not_found(format!(
        "nothing is served at {}; see POST /publish, /cloudevents and /v1/logs, GET /events, /events/tail, /event, /duplicates, /topics, /stats, /health, /livez, /readyz, /metrics, /diagnostics, /rejected, /conflicts, /missing, /openapi.json and /docs",
        uri.path()
    ))
}
