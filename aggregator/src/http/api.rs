//! What the handlers share.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use axum::http::Uri;
use shared::{connection::Connection, publish::Publisher, trace::Tracer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    counts::live::samples::Live,
    edge::{guard::Hosts, problem::Problem},
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
    /// The way onto the stream.
    pub publisher: Publisher,
    /// To the broker.
    pub connection: Connection,
    /// The stream's name.
    pub stream: String,
    /// The durable consumer's name.
    pub durable: String,
    /// Size at which the stream is full.
    pub stream_max_bytes: u64,
    /// What the parts of the service say of themselves.
    pub health: Health,
    /// What is measured.
    pub metrics: Metrics,
    /// Makes spans of requests.
    pub tracer: Tracer,
    /// Places for large answers in memory.
    pub pages: Arc<Semaphore>,
    /// Places for pieces of exports and tails, each of which needs one of a page, too.
    pub pieces: Arc<Semaphore>,
    /// Places for clients that follow events.
    pub tails: Arc<Semaphore>,
    /// Cancelled when the service stops: what has no end of its own ends then.
    pub stopping: CancellationToken,
    /// The attribute of an OTLP resource that is the topic of its records.
    pub otlp_topic: String,
    /// The names by which the service may be asked.
    pub hosts: Hosts,
    /// What the live page shows.
    pub live: Live,
    /// OTLP records on the stream that have a digest for an id, since the start.
    pub identified_by_digest: AtomicU64,
    /// When the process started, on the monotonic clock.
    pub started: Instant,
    /// When the process started, in microseconds since 1970.
    pub started_at: i64,
}

impl Api {
    /// A place for a large answer in memory, once there is one.
    pub async fn place(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.pages).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// The places for a piece of an endless answer, once there are both.
    pub async fn piece(&self) -> Vec<OwnedSemaphorePermit> {
        let piece = Arc::clone(&self.pieces).acquire_owned().await;
        let piece = piece.expect("the semaphore is never closed");
        vec![piece, self.place().await]
    }
}

/// What is answered to a path that no route has.
pub fn unknown_path(uri: &Uri) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}; see POST /publish, /cloudevents and /v1/logs, GET /events, /events/tail, /event, /duplicates, /topics, /stats, /health, /metrics, /rejected, /conflicts, /missing, /openapi.json and /docs",
        uri.path()
    ))
}
