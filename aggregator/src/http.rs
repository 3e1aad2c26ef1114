//! The HTTP API: routes, and what their handlers share.

mod accept;
mod body;
mod cloudevents;
mod conflicts;
mod docs;
mod duplicates;
mod edge;
mod event;
mod events;
mod guard;
mod live;
mod metrics;
mod missing;
mod observe;
mod openapi;
mod otlp;
mod page;
mod problem;
mod publish;
pub mod query;
mod rejected;
pub mod server;
mod site;
pub mod starting;
mod status;
mod streaming;
#[cfg(test)]
mod tests;
mod topics;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use axum::{
    Router,
    http::{Method, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
};
use shared::{connection::Connection, publish::Publisher, trace::Tracer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

use self::{body::Intake, openapi::Document, problem::Problem};
pub use self::{
    edge::Edge,
    events::tail::MAX_TAILS,
    guard::Hosts,
    live::{Live, keep_learning, keep_sampling},
    observe::Watch,
    page::{MAX_PAGES, MAX_PIECES},
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
    async fn place(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.pages).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// The places for a piece of an endless answer, once there are both.
    async fn piece(&self) -> Vec<OwnedSemaphorePermit> {
        let piece = Arc::clone(&self.pieces).acquire_owned().await;
        let piece = piece.expect("the semaphore is never closed");
        vec![piece, self.place().await]
    }
}

/// The API's routes, each with what it says of itself in `GET /openapi.json`. Unknown paths and methods are answered as
/// problem documents, too.
pub fn router(api: Arc<Api>) -> Router {
    let edge = Edge {
        hosts: api.hosts.clone(),
        watch: Watch {
            metrics: api.metrics.clone(),
            tracer: api.tracer.clone(),
        },
    };
    let publish = publish::State {
        api: Arc::clone(&api),
        intake: Intake::default(),
    };
    let otlp = otlp::State::new(publish.clone());
    let (router, document) = OpenApiRouter::default()
        .routes(routes!(live::follow))
        .routes(routes!(events::list))
        .routes(routes!(events::tail::tail))
        .routes(routes!(event::find))
        .routes(routes!(duplicates::list))
        .routes(routes!(topics::list))
        .routes(routes!(status::stats))
        .routes(routes!(status::health))
        .routes(routes!(metrics::metrics))
        .routes(routes!(rejected::list))
        .routes(routes!(conflicts::list))
        .routes(routes!(missing::list))
        .routes(routes!(missing::acknowledge))
        .with_state(api)
        .routes(routes!(publish::publish).with_state(publish.clone()))
        .routes(routes!(cloudevents::publish, cloudevents::handshake).with_state(publish.clone()))
        .routes(routes!(rejected::requeue).with_state(publish))
        .routes(routes!(otlp::logs).with_state(otlp))
        .routes(routes!(otlp::traces))
        .routes(routes!(otlp::metrics))
        .routes(routes!(site::index))
        .routes(routes!(site::file))
        .routes(routes!(docs::page))
        .routes(routes!(docs::file))
        .routes(routes!(openapi::show))
        .split_for_parts();
    router
        .with_state(Document::of(document))
        .fallback(unrouted)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(edge, edge::pass))
}

/// `OPTIONS *` asks about the service as a whole (RFC 9110, 9.3.7).
async fn unrouted(method: Method, uri: Uri) -> Result<Response, Problem> {
    if method == Method::OPTIONS && uri.path() == "*" {
        let allow = [(header::ALLOW, "GET,HEAD,POST,OPTIONS")];
        return Ok((StatusCode::NO_CONTENT, allow).into_response());
    }
    Err(unknown_path(&uri))
}

fn unknown_path(uri: &Uri) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}; see POST /publish, /cloudevents and /v1/logs, GET /events, /events/tail, /event, /duplicates, /topics, /stats, /health, /metrics, /rejected, /conflicts, /missing, /openapi.json and /docs",
        uri.path()
    ))
}

/// Every path takes OPTIONS, which balancers probe with. Answers have no header of CORS, so it permits nothing to pages of
/// other sites. The router adds `Allow`.
async fn unknown_method(method: Method, uri: Uri) -> Result<StatusCode, Problem> {
    if method == Method::OPTIONS {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::method_not_allowed(format!(
        "{} does not take {method}",
        uri.path()
    )))
}
