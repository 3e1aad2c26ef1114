//! While the store is being opened: the service listens already, and answers every request with how far it is.

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

use super::{Edge, problem::Problem};
use crate::{
    http::{counts::health, edge},
    store::Opening,
};

/// The way in: to the routes, once they are there.
#[derive(Debug, Clone)]
pub struct Entrance {
    starting: Router,
    routes: Arc<OnceLock<Router>>,
}

impl Entrance {
    /// Of a service whose store is being opened.
    #[must_use]
    pub fn new(opening: Opening, edge: Edge) -> Self {
        let starting = Router::new()
            .route("/health", get(health::starting).fallback(refuse))
            .fallback(refuse)
            .with_state(opening)
            .layer(middleware::from_fn_with_state(edge, edge::pass));
        Self {
            starting,
            routes: Arc::default(),
        }
    }

    /// The store is open: from now on these routes answer. What they work with ends with the server, so none of it stays here.
    pub fn open(self, routes: Router) {
        // It is opened once.
        let _ = self.routes.set(routes);
    }
}

/// What the server serves, before and after.
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

async fn refuse(State(opening): State<Opening>) -> Problem {
    Problem::starting(&opening.step())
}
