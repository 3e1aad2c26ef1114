//! What the handlers share.

use std::{sync::atomic::AtomicU64, time::Instant};

use axum::http::Uri;
use shared::{connection::Connection, publish::Publisher};
use tokio_util::sync::CancellationToken;

use super::{
    counts::live::samples::Live,
    edge::{Edge, places::Places, problem::Problem},
};
use crate::{
    health::Health,
    metrics::Metrics,
    store::{Reader, Writer},
};

/// What the handlers work with.
#[derive(Debug)]
pub struct Api {
    /// Queries of the store.
    pub reader: Reader,
    /// For marking what people have seen to; events come in by the stream only.
    pub writer: Writer,
    /// The broker and the stream there.
    pub broker: Broker,
    /// What the process knows of itself.
    pub process: Process,
    /// What is around every request.
    pub edge: Edge,
    /// The places that answers take.
    pub places: Places,
    /// What OTLP needs.
    pub otlp: Otlp,
    /// What the live page shows.
    pub live: Live,
}

/// The broker, and the stream there.
#[derive(Debug)]
pub struct Broker {
    /// To the broker.
    pub connection: Connection,
    /// The way onto the stream.
    pub publisher: Publisher,
    /// The stream's name.
    pub stream: String,
    /// The durable consumer's name.
    pub durable: String,
    /// Size at which the stream is full.
    pub stream_max_bytes: u64,
}

/// What the process knows of itself.
#[derive(Debug)]
pub struct Process {
    /// What the parts of the service say of themselves.
    pub health: Health,
    /// What is measured.
    pub metrics: Metrics,
    /// Cancelled when the service stops: what has no end of its own ends then.
    pub stopping: CancellationToken,
    /// When the process started, on the monotonic clock.
    pub started: Instant,
    /// When the process started, in microseconds since 1970.
    pub started_at: i64,
}

/// What OTLP needs.
#[derive(Debug)]
pub struct Otlp {
    /// The attribute of a resource that is the topic of its records.
    pub topic: String,
    /// Records on the stream that have a digest for an id, since the start.
    pub identified_by_digest: AtomicU64,
}

impl Api {
    /// Of a service that has these parts. The attribute `otlp_topic` of an OTLP resource is the topic of its records.
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
            places: Places::default(),
            otlp: Otlp {
                topic: otlp_topic,
                identified_by_digest: AtomicU64::default(),
            },
            live: Live::default(),
        }
    }
}

/// What is answered to a path that no route has.
pub fn unknown_path(uri: &Uri) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}; see POST /publish, /cloudevents and /v1/logs, GET /events, /events/tail, /event, /duplicates, /topics, /stats, /health, /metrics, /rejected, /conflicts, /missing, /openapi.json and /docs",
        uri.path()
    ))
}
