//! What wraps every request, in a single layer: each further layer would cost every request a clone of the routes.

pub mod accept;
pub mod access;
pub mod body;
pub mod guard;
pub mod instrument;
pub mod paging;
pub mod permits;
pub mod problem;
pub mod query;
pub mod server;
pub mod starting;
pub mod streaming;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use self::{
    access::{Authenticator, Caller},
    guard::Hosts,
    instrument::Instruments,
    problem::{Problem, Unavailable},
    server::Excess,
};

/// The state of the layer around every request.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The allowed host names.
    pub hosts: Hosts,
    /// Who may use the service.
    pub authenticator: Authenticator,
    /// Metrics and traces.
    pub instruments: Instruments,
}

/// Answers a request. The guard runs inside the instrumentation, so refused requests are counted too.
pub async fn pass(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let answer = |request: Request| async {
        let version = request.version();
        let admitted = |request: Request| async {
            if request.extensions().get::<Excess>().is_some() {
                return Problem::unavailable(Unavailable::TooManyRequests).into_response();
            }
            match edge.authenticator.admit(request) {
                Ok(request) => {
                    let caller = request.extensions().get::<Caller>();
                    let is_for_one = caller.is_some_and(|caller| caller.grant.name.is_some());
                    let mut answer = next.run(request).await;
                    if is_for_one {
                        // Another client, or the same one after signing out, must not get it from a cache.
                        let control = answer.headers_mut().entry(header::CACHE_CONTROL);
                        control.or_insert(HeaderValue::from_static("no-store"));
                    }
                    answer
                }
                Err(refusal) => *refusal,
            }
        };
        let answer = guard::guard(&edge.hosts, request, admitted).await;
        streaming::whole_over_http_1_0(version, answer)
    };
    instrument::instrument(&edge.instruments, request, answer).await
}
