//! While the store is being opened: the service listens already, and answers every request with how far it is.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::Response,
    routing::get,
};
use tower::ServiceExt;

use super::{
    guard::{self, Hosts},
    observe::{self, Watch},
    problem::Problem,
    status,
};
use crate::store::Opening;

/// The way in: to the routes, once they are there.
#[derive(Debug, Clone)]
pub struct Entrance {
    starting: Router,
    routes: Arc<OnceLock<Router>>,
}

impl Entrance {
    /// Of a service whose store is being opened.
    #[must_use]
    pub fn new(opening: Opening, hosts: Hosts, watch: Watch) -> Self {
        let starting = Router::new()
            .route("/health", get(status::starting).fallback(refuse))
            .fallback(refuse)
            .with_state(opening)
            .layer(middleware::from_fn_with_state(hosts, guard::guard))
            .layer(middleware::from_fn_with_state(watch, observe::observe));
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

    /// What the server serves, before and after.
    pub fn router(&self) -> Router {
        Router::new().fallback(enter).with_state(self.clone())
    }
}

async fn enter(State(entrance): State<Entrance>, request: Request) -> Response {
    let router = entrance.routes.get().unwrap_or(&entrance.starting).clone();
    match router.oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

async fn refuse(State(opening): State<Opening>) -> Problem {
    Problem::starting(&opening.step())
}
