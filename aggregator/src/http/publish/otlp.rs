//! `POST /v1/logs`: OTLP/HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>). Each log record is an event.
//!
//! Records that cannot become events are reported as rejected, and the others are accepted; success means that these are in
//! the stream. Senders retry after 429, 502, 503 and 504 only: after any other error they drop the request.

pub mod answer;
mod collect;
mod digest;
mod json;
mod message;
mod request;
mod schema;
#[cfg(test)]
mod tests;
mod value;

use std::sync::atomic::Ordering;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use tokio::task::spawn_blocking;

use self::{
    answer::{Exported, PartialSuccess, answer, refusal},
    collect::{Collected, Collector},
    request::Encoding,
    schema::{Logs, Message},
};
use super::{
    intake::{self, IntakeState},
    refusals::stream_problems,
};
use crate::http::{
    edge::{
        access::Caller,
        body::{ContentEncoding, HeldBytes, ReceivedBody, body_problems, media_type, not_json},
        problem::Problem,
    },
    openapi::refusals::{Refusals, problems, refusals},
};

/// The state of the handler.
#[derive(Debug, Clone)]
pub struct OtlpState(IntakeState);

impl OtlpState {
    /// Uses the intake that the other publishing routes use.
    pub fn new(publish: IntakeState) -> Self {
        Self(publish)
    }
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        match media_type(headers)?.to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }
}

refusals! {
    /// Of `POST /v1/logs`.
    LogsRefusals = Refusals::default()
        .otlp(body_problems())
        .otlp(stream_problems())
        .otlp([Problem::undecodable("ExportLogsServiceRequest in JSON must be an object".to_owned()), not_json()])
        .problems([Problem::not_otlp_type()]);
}

/// Publishes OpenTelemetry log records, each as an event.
///
/// The response has the encoding of the request. `partialSuccess` reports records that cannot become events, and names members
/// that OTLP does not define, which are ignored. Arrays and maps may be nested at most 30 levels deep.
#[utoipa::path(
    post,
    path = "/v1/logs",
    tag = "publish",
    params(ContentEncoding),
    request_body(content((Logs = "application/json"), (Message = "application/x-protobuf"))),
    responses(
        (status = OK, content((Exported = "application/json"), (Message = "application/x-protobuf"))),
        LogsRefusals
    )
)]
pub async fn logs(State(state): State<OtlpState>, caller: Caller, request: Request) -> Response {
    let Some(encoding) = Encoding::of(request.headers()) else {
        return Problem::not_otlp_type().into_response();
    };
    match export(&state, &caller, encoding, request).await {
        Ok(exported) => answer(encoding, &exported),
        Err(problem) => refusal(encoding, problem),
    }
}

refusals! {
    /// Of the OTLP signals other than logs.
    OtherSignalRefusals = problems([not_logs("/v1/traces")]).otlp([not_logs("/v1/traces")]);
}

/// Refuses traces: only logs are supported.
#[utoipa::path(
    post,
    path = "/v1/traces",
    tag = "publish",
    responses(OtherSignalRefusals)
)]
pub async fn traces(uri: Uri, headers: HeaderMap) -> Response {
    unsupported(&uri, &headers)
}

/// Refuses metrics: only logs are supported.
#[utoipa::path(
    post,
    path = "/v1/metrics",
    tag = "publish",
    responses(OtherSignalRefusals)
)]
pub async fn metrics(uri: Uri, headers: HeaderMap) -> Response {
    unsupported(&uri, &headers)
}

fn unsupported(uri: &Uri, headers: &HeaderMap) -> Response {
    refused(headers, not_logs(uri.path()))
}

/// A problem in the encoding of a request, if it has one of OTLP.
pub fn refused(headers: &HeaderMap, problem: Problem) -> Response {
    match Encoding::of(headers) {
        Some(encoding) => refusal(encoding, problem),
        None => problem.into_response(),
    }
}

/// 404 for the OTLP signals other than logs.
pub fn not_logs(path: &str) -> Problem {
    Problem::not_found(format!(
        "{path} is not supported, only logs are, at /v1/logs: do not export traces and metrics to this address"
    ))
}

async fn export(
    state: &OtlpState,
    caller: &Caller,
    encoding: Encoding,
    request: Request,
) -> Result<Exported, Problem> {
    let IntakeState { api, intake } = &state.0;
    let (head, body) = request.into_parts();
    let body = intake.take(&head.headers, body).await?;
    let bytes = intake.hold();
    let permit = api.permits.parsing().await;
    let topic = api.otlp.topic.clone();
    // The task owns the body and the permit, because it continues if the sender disconnects.
    let collecting = spawn_blocking(move || {
        let _permit = permit;
        collect(encoding, &body, bytes, &topic)
    });
    let collected = collecting.await;
    let mut collected =
        collected.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()))?;
    if !collected.unknown.is_empty() {
        api.process.metrics.otlp_members_ignored();
    }
    let events = std::mem::take(&mut collected.events);
    if !events.is_empty() {
        intake::put(api, caller, events).await?;
        let total = &api.otlp.identified_by_digest;
        total.fetch_add(collected.by_digest, Ordering::Relaxed);
    }
    Ok(exported(&collected))
}

/// The events of a body.
fn collect(
    encoding: Encoding,
    body: &ReceivedBody,
    held: HeldBytes,
    topic_attribute: &str,
) -> Result<Collected, Problem> {
    let mut collector = Collector::new(topic_attribute, held);
    request::walk(encoding, &body.bytes, &mut collector)?;
    Ok(collector.finish())
}

/// The response: records that were rejected, and members that were ignored, which OTLP calls a warning.
fn exported(collected: &Collected) -> Exported {
    let rejected = collected.rejected;
    let mut reasons = collected.reasons.clone();
    let named = i64::try_from(reasons.len()).unwrap_or(rejected);
    if rejected > named {
        reasons.push(format!("and {} more", rejected - named));
    }
    if !collected.unknown.is_empty() {
        reasons.push(format!(
            "ignored members that OTLP does not define: {}; member names in its JSON are in camel case: resourceLogs, not resource_logs",
            collected.unknown.join(", ")
        ));
    }
    Exported {
        partial_success: (!reasons.is_empty()).then_some(PartialSuccess {
            rejected_log_records: rejected,
            error_message: reasons.join("; "),
        }),
    }
}
