//! Around every request, within one layer: each further one would cost every request a copy of what it is around.

pub mod accept;
pub mod body;
pub mod guard;
pub mod observe;
pub mod paging;
pub mod places;
pub mod problem;
pub mod query;
pub mod server;
pub mod starting;
pub mod streaming;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use self::{guard::Hosts, observe::Watch};

/// What is around a request.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The names by which the service may be asked.
    pub hosts: Hosts,
    /// Where it is measured.
    pub watch: Watch,
}

/// Answers a request. Whatever refuses it is within what observes it.
pub async fn pass(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let answer = |request: Request| async {
        let version = request.version();
        let answer = guard::guard(&edge.hosts, request, next).await;
        streaming::whole_over_http_1_0(version, answer)
    };
    observe::observe(&edge.watch, request, answer).await
}
