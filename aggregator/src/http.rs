//! The HTTP API: the router.

mod api;
mod counts;
mod edge;
mod events;
mod openapi;
mod publish;
mod review;
mod site;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    http::{Method, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

pub use self::{
    api::{Api, Broker, Process},
    counts::{
        diagnostics::Diagnostics,
        live::{keep_learning, keep_sampling},
    },
    edge::{
        Edge,
        access::{Authenticator, credentials},
        body::Intake,
        guard::Hosts,
        instrument::Instruments,
        permits::Permits,
        query, server, starting,
    },
};
use self::{
    counts::{diagnostics, health, histogram, live, metrics, probes, stats, topics},
    edge::problem::Problem,
    events::{duplicates, event, list, tail},
    openapi::Document,
    publish::{cloudevents, intake::IntakeState, native, otlp},
    review::{conflicts, missing, rejected, seen},
    site::{docs, page, sign_in},
};

/// The API's routes, each with its operation in `GET /openapi.json`; then the pages and their files, which are for browsers
/// and not in it, so that neither `/docs` nor a generated client shows them. Unknown paths and methods are answered with problem
/// documents too.
pub fn router(api: Arc<Api>) -> Router {
    let edge = api.edge.clone();
    let authenticator = edge.authenticator.clone();
    let publish = IntakeState {
        api: Arc::clone(&api),
        intake: api.intake.clone(),
    };
    let otlp = otlp::OtlpState::new(publish.clone());
    let (router, document) = OpenApiRouter::default()
        .routes(routes!(live::follow))
        .routes(routes!(list::list))
        .routes(routes!(tail::tail))
        .routes(routes!(event::find))
        .routes(routes!(duplicates::list))
        .routes(routes!(topics::list))
        .routes(routes!(histogram::histogram))
        .routes(routes!(stats::stats))
        .routes(routes!(health::health))
        .routes(routes!(probes::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(diagnostics::diagnostics))
        .routes(routes!(rejected::list))
        .routes(routes!(conflicts::list))
        .routes(routes!(seen::rejected))
        .routes(routes!(seen::conflicts))
        .routes(routes!(missing::list))
        .routes(routes!(missing::acknowledge))
        .with_state(api)
        .routes(routes!(native::publish).with_state(publish.clone()))
        .routes(routes!(cloudevents::publish, cloudevents::handshake).with_state(publish.clone()))
        .routes(routes!(rejected::requeue).with_state(publish))
        .routes(routes!(otlp::logs).with_state(otlp))
        .routes(routes!(probes::live))
        .routes(routes!(otlp::traces))
        .routes(routes!(otlp::metrics))
        .route("/", get(page::index))
        .route(
            "/sign-in",
            post(sign_in::sign_in).with_state(authenticator.clone()),
        )
        .route(
            "/sign-out",
            post(sign_in::sign_out).with_state(authenticator),
        )
        .route("/page/{file}", get(page::file))
        .route("/favicon.ico", get(page::icon))
        .route("/docs", get(docs::page))
        .route("/docs/{file}", get(docs::file))
        .route("/openapi.json", get(openapi::show))
        .split_for_parts();
    router
        .with_state(Document::of(document))
        .fallback(unrouted)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(edge, edge::pass))
}

/// `OPTIONS *` applies to the service as a whole (RFC 9110, 9.3.7).
async fn unrouted(method: Method, uri: Uri) -> Result<Response, Problem> {
    if method == Method::OPTIONS && uri.path() == "*" {
        let allow = [(header::ALLOW, "GET,HEAD,POST,OPTIONS")];
        return Ok((StatusCode::NO_CONTENT, allow).into_response());
    }
    Err(api::unknown_path(&uri))
}

/// Every path supports OPTIONS, which load balancers probe with. Responses have no CORS headers, so pages of other sites
/// gain nothing from it. The router adds `Allow`.
async fn unknown_method(method: Method, uri: Uri) -> Result<StatusCode, Problem> {
    if method == Method::OPTIONS {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::method_not_allowed(format!(
        "{} does not support {method}",
        uri.path()
    )))
}
