//! Responses while the store is being opened: the service already listens, and answers every request except
//! `GET /livez` with the progress.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::Response,
    routing::{future::RouteFuture, get},
};
use tower::Service;

use super::{Edge, access::MaybeCaller, problem::Problem};
use crate::{
    http::{
        counts::{health, probes},
        edge,
    },
    store::Opening,
};

/// Dispatches requests: to the startup responses until the store is open, then to the routes.
#[derive(Debug, Clone)]
pub struct Entrance {
    starting: Router,
    routes: Arc<OnceLock<Router>>,
}

impl Entrance {
    /// The dispatcher of a service whose store is being opened.
    #[must_use]
    pub fn new(opening: Opening, edge: Edge) -> Self {
        let starting = Router::new()
            .route("/health", get(health::starting).fallback(refuse))
            .route("/livez", get(probes::live).fallback(refuse))
            .route("/readyz", get(probes::starting).fallback(refuse))
            .fallback(refuse)
            .with_state(opening)
            .layer(middleware::from_fn_with_state(edge, edge::pass));
        Self {
            starting,
            routes: Arc::default(),
        }
    }

    /// Dispatches all further requests to `routes`: the store is open. Consumes the caller's handle, so that the state of the
    /// routes is dropped with the server.
    pub fn open(self, routes: Router) {
        // Fails only if the routes are already set, and `open` is called only once.
        let _ = self.routes.set(routes);
    }
}

/// The server's service, both before and after the store is open.
impl Service<Request> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let routes = self.routes.get().unwrap_or(&self.starting);
        routes.clone().call(request)
    }
}

/// Without a token there is no progress in the response. That is so on every route if tokens are needed, since none but those of
/// `GET /health` and `GET /readyz` is known yet.
async fn refuse(State(opening): State<Opening>, MaybeCaller(caller): MaybeCaller) -> Problem {
    match caller {
        Some(_) => Problem::starting(&opening.step()),
        None => Problem::starting("the service is starting"),
    }
}
