//! Instruments every request: its id, which the response, each log line and problem documents carry; its span, if tracing
//! is on; and its metrics.

use std::{future::Future, mem, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::Response,
};
use shared::trace::{Kind, Span, TraceContext, Tracer};
use tracing::{Instrument, debug, error_span, field};

use super::problem::Problem;
use crate::metrics::{ABORTED, Metrics};

/// The request id, from the sender or generated, and returned in the response.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that a sender may give.
const MAX_ID_BYTES: usize = 128;

/// The route label of a request that matches no route.
const NO_ROUTE: &str = "none";

/// Where requests are reported.
#[derive(Debug, Clone)]
pub struct Instruments {
    /// Counts and durations.
    pub metrics: Metrics,
    /// Spans.
    pub tracer: Tracer,
}

/// Answers a request, and reports it in the log, the metrics and the trace.
pub async fn instrument<F: Future<Output = Response>>(
    instruments: &Instruments,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let started = Instant::now();
    let id = id(request.headers());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let method = known(request.method());
    // Of level ERROR, so that the span is enabled for every line, whatever its level.
    let log = error_span!(
        "request",
        request.id = %id.to_str().unwrap_or_default(),
        http.method = method,
        http.route = route,
        trace.id = field::Empty,
        token.name = field::Empty,
    );
    let caller = caller(request.headers());
    let mut span = instruments.tracer.start(
        || format!("{method} {route}"),
        Kind::Server,
        caller.as_ref(),
    );
    let context = span.context().or(caller);
    if let Some(context) = &context {
        log.record("trace.id", field::display(context.trace_id()));
    }
    if span.is_recording() {
        span.set("http.request.method", method);
        span.set("http.route", route.to_owned());
        span.set("url.path", request.uri().path().to_owned());
        span.set("request.id", id.to_str().unwrap_or_default().to_owned());
    }
    let unanswered = Unanswered {
        metrics: &instruments.metrics,
        route,
        log: &log,
        span,
    };
    let answering = answer(request).instrument(log.clone());
    let mut answer = match context {
        Some(context) => context.around(answering).await,
        None => answering.await,
    };
    let mut span = unanswered.answered();
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        let body = problem.into_body(id.to_str().unwrap_or_default());
        *answer.body_mut() = body;
        // The length was that of the document without the id.
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let (status, took) = (answer.status(), started.elapsed());
    instruments.metrics.answered(route, status.as_str(), took);
    let duration_ms = took.as_secs_f64() * 1_000.0;
    debug!(
        parent: &log,
        http.status = status.as_u16(),
        duration_ms,
        "answered a request"
    );
    if span.is_recording() {
        span.set("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.fail(status.as_str().to_owned());
        }
    }
    answer.headers_mut().insert(REQUEST_ID, id);
    answer
}

/// A request that is not answered yet. If the client disconnects or the service ends first, this is dropped, and the request
/// is reported as aborted.
struct Unanswered<'a> {
    metrics: &'a Metrics,
    route: &'a str,
    log: &'a tracing::Span,
    span: Span,
}

impl Unanswered<'_> {
    /// The request was answered: returns its span, which is still open.
    fn answered(mut self) -> Span {
        let span = mem::take(&mut self.span);
        mem::forget(self);
        span
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.metrics.aborted(self.route);
        self.span.fail(ABORTED.to_owned());
        debug!(parent: self.log, "the request ended before it was answered");
    }
}

/// The sender's id if headers, logs and documents can carry it unchanged, otherwise a generated one.
fn id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|given| is_valid(given));
    given.cloned().unwrap_or_else(|| {
        let fresh = format!("{:032x}", rand::random::<u128>());
        HeaderValue::try_from(fresh).expect("hexadecimal digits are a valid header value")
    })
}

fn is_valid(id: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let bytes = id.as_bytes();
    (1..=MAX_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(is_plain)
}

/// The sender's trace context.
fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    TraceContext::parse(values(TraceContext::PARENT), values(TraceContext::STATE))
}

/// The method as a label: a known one, or `_OTHER`, since a sender can invent any number of methods.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(id: &str) -> String {
        let value = HeaderValue::from_str(id).unwrap();
        let headers = HeaderMap::from_iter([(REQUEST_ID, value)]);
        super::id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_valid_id_is_kept_and_any_other_replaced() {
        for valid in ["a", "Az09-_.:", &"x".repeat(MAX_ID_BYTES)] {
            assert_eq!(given(valid), valid);
        }
        for wrong in [
            "",
            "a b",
            "a\"b",
            "a\tb",
            "ä",
            &"x".repeat(MAX_ID_BYTES + 1),
        ] {
            let fresh = given(wrong);
            assert_ne!(fresh, wrong);
            assert!(fresh.len() == 32 && fresh != given(wrong), "{fresh}");
        }
    }
}
