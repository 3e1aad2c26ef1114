//! `POST /v1/logs`: OTLP/HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>). Each log record is an event.
//!
//! Records that cannot be events are reported as rejected, and the others are accepted; success means that these are in the
//! stream. Senders try again after 429, 502, 503 and 504 only: with any other error they drop the request.

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

use std::sync::{Arc, atomic::Ordering};

use axum::{
    extract::{Request, State as Extract},
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

use self::{
    answer::{Exported, PartialSuccess, answer, refusal},
    collect::{Collected, Collector},
    request::Encoding,
    schema::{Logs, Message},
};
use super::{intake, refusals::on_the_way};
use crate::http::{
    edge::{
        body::{Held, Packed, Taken, media_type, not_json, of_a_body},
        problem::Problem,
    },
    openapi::refusals::{Refusals, problems, refusals},
};

/// Requests that are decoded at once. The record at hand can take some sixty times its bytes, up to 30 MiB.
const MAX_DECODED: usize = 4;

/// What the handler works with.
#[derive(Debug, Clone)]
pub struct State {
    publish: intake::State,
    places: Arc<Semaphore>,
}

impl State {
    /// The same service and intake as for other events.
    pub fn new(publish: intake::State) -> Self {
        Self {
            publish,
            places: Arc::new(Semaphore::new(MAX_DECODED)),
        }
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
    Exporting = Refusals::default()
        .otlp(of_a_body())
        .otlp(on_the_way())
        .otlp([Problem::undecodable("ExportLogsServiceRequest in JSON is an object".to_owned()), not_json()])
        .problems([Problem::not_otlp_type()]);
}

/// Takes log records of OpenTelemetry, each as an event.
///
/// Answers are in the encoding of the request. `partialSuccess` reports records that cannot be events, and names members that
/// OTLP does not define, which are ignored. Arrays and maps may be nested 30 levels deep.
#[utoipa::path(
    post,
    path = "/v1/logs",
    tag = "publish",
    params(Packed),
    request_body(content((Logs = "application/json"), (Message = "application/x-protobuf"))),
    responses(
        (status = OK, content((Exported = "application/json"), (Message = "application/x-protobuf"))),
        Exporting
    )
)]
pub async fn logs(Extract(state): Extract<State>, request: Request) -> Response {
    let Some(encoding) = Encoding::of(request.headers()) else {
        return Problem::not_otlp_type().into_response();
    };
    match take(&state, encoding, request).await {
        Ok(exported) => answer(encoding, &exported),
        Err(problem) => refusal(encoding, problem),
    }
}

refusals! {
    /// Of what else OTLP has.
    OtherSignal = problems([not_logs("/v1/traces")]).otlp([not_logs("/v1/traces")]);
}

/// Says that traces are not taken, only logs are.
#[utoipa::path(post, path = "/v1/traces", tag = "publish", responses(OtherSignal))]
pub async fn traces(uri: Uri, headers: HeaderMap) -> Response {
    not_taken(&uri, &headers)
}

/// Says that metrics are not taken, only logs are.
#[utoipa::path(post, path = "/v1/metrics", tag = "publish", responses(OtherSignal))]
pub async fn metrics(uri: Uri, headers: HeaderMap) -> Response {
    not_taken(&uri, &headers)
}

fn not_taken(uri: &Uri, headers: &HeaderMap) -> Response {
    let problem = not_logs(uri.path());
    match Encoding::of(headers) {
        Some(encoding) => refusal(encoding, problem),
        None => problem.into_response(),
    }
}

/// 404 for what OTLP has beside logs.
pub fn not_logs(path: &str) -> Problem {
    Problem::not_found(format!(
        "{path} is not taken here, only logs are, at /v1/logs: export no traces and metrics to this address"
    ))
}

async fn take(state: &State, encoding: Encoding, request: Request) -> Result<Exported, Problem> {
    let intake::State { api, intake } = &state.publish;
    let (head, body) = request.into_parts();
    let body = intake.take(&head.headers, body).await?;
    let counted = intake.hold();
    let place = Arc::clone(&state.places).acquire_owned().await;
    let place = place.expect("the semaphore is never closed");
    let topic = api.otlp.topic.clone();
    // The body and the place go with it: it goes on where the sender does not wait for its end.
    let collecting = spawn_blocking(move || {
        let _place = place;
        collect(encoding, &body, counted, &topic)
    });
    let collected = collecting.await;
    let mut collected =
        collected.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()))?;
    if !collected.unknown.is_empty() {
        api.process.metrics.otlp_members_ignored();
    }
    let events = std::mem::take(&mut collected.events);
    if !events.is_empty() {
        intake::put(api, events).await?;
        let total = &api.otlp.identified_by_digest;
        total.fetch_add(collected.by_digest, Ordering::Relaxed);
    }
    Ok(exported(&collected))
}

/// The events of a body.
fn collect(
    encoding: Encoding,
    body: &Taken,
    held: Held,
    topic_attribute: &str,
) -> Result<Collected, Problem> {
    let mut collector = Collector::new(topic_attribute, held);
    request::walk(encoding, &body.bytes, &mut collector)?;
    Ok(collector.finish())
}

/// What the sender is told: records that were rejected, and members that were ignored, which OTLP calls a warning.
fn exported(collected: &Collected) -> Exported {
    let rejected = collected.rejected;
    let mut reasons = collected.reasons.clone();
    let named = i64::try_from(reasons.len()).unwrap_or(rejected);
    if rejected > named {
        reasons.push(format!("and {} more", rejected - named));
    }
    if !collected.unknown.is_empty() {
        reasons.push(format!(
            "ignored what OTLP does not define: {}; names in its JSON are written as in resourceLogs, not as in resource_logs",
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
