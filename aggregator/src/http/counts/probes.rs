//! `GET /livez` and `GET /readyz`: probes for process supervisors and load balancers, which look at the status only.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::health;
use crate::{
    http::{
        api::Api,
        edge::{
            access::MaybeCaller,
            problem::{Problem, STARTING_PAUSE},
            query::{ParameterRefusals, Query},
        },
    },
    store::Opening,
};

/// Responds with 200 as long as the process serves requests, also while the store is opening.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "service",
    responses((status = OK, body = String, content_type = "text/plain"), ParameterRefusals)
)]
pub async fn live(RawQuery(query): RawQuery) -> Result<&'static str, Problem> {
    Query::parse(query.as_deref(), &[])?;
    Ok("ok\n")
}

/// Responds with 200 if the store is open and all parts work, as defined by `GET /health`, otherwise with 503 and the failing
/// parts, one per line. Without a token it does not name them.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses(
        (status = OK, body = String, content_type = "text/plain"),
        (status = SERVICE_UNAVAILABLE, body = String, content_type = "text/plain"),
        ParameterRefusals
    )
)]
pub async fn ready(
    State(api): State<Arc<Api>>,
    caller: MaybeCaller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[])?;
    let (checks, _) = health::check(&api).await;
    if checks.is_empty() {
        return Ok("ok\n".into_response());
    }
    Ok((StatusCode::SERVICE_UNAVAILABLE, reasons(&caller, &checks)).into_response())
}

/// `GET /readyz` while the store is opening.
pub async fn starting(
    State(opening): State<Opening>,
    caller: MaybeCaller,
    RawQuery(query): RawQuery,
) -> Response {
    if let Err(problem) = Query::parse(query.as_deref(), &[]) {
        return problem.into_response();
    }
    let checks = BTreeMap::from([("store", opening.step())]);
    let pause = [(header::RETRY_AFTER, STARTING_PAUSE.as_secs().to_string())];
    (
        StatusCode::SERVICE_UNAVAILABLE,
        pause,
        reasons(&caller, &checks),
    )
        .into_response()
}

/// The failing parts, or without a token only that some are.
fn reasons(caller: &MaybeCaller, checks: &BTreeMap<&'static str, String>) -> String {
    match caller.0 {
        Some(_) => lines(checks),
        None => "not ready\n".to_owned(),
    }
}

fn lines(checks: &BTreeMap<&'static str, String>) -> String {
    let mut text = String::new();
    for (part, reason) in checks {
        writeln!(text, "{part}: {reason}").expect("writing to memory cannot fail");
    }
    text
}
