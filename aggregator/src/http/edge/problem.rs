//! Errors as RFC 9457 problem documents.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::event::{Code, MAX_NAME_BYTES, Violation};
use tracing::error;
use utoipa::ToSchema;

use crate::store::StoreError;

/// Longest detail that may quote a request.
const MAX_DETAIL_BYTES: usize = 500;

/// When a service that starts is to be asked again.
pub const STARTING_PAUSE: Duration = Duration::from_secs(5);

/// Errors named in one answer; further ones are counted only.
const SHOWN: usize = 100;

/// An error as its document tells it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    errors: Vec<ItemError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    errors_total: Option<usize>,
    /// By which its request is found in the log. It is put in where the request is observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required)]
    request_id: Option<Box<str>>,
    #[serde(skip)]
    retry_after: Option<Duration>,
    /// What would be taken instead (RFC 9110, 12.5.3).
    #[serde(skip)]
    accept_encoding: Option<&'static str>,
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ItemError {
    /// The place of the event in the request, from 0; none for the request or a query parameter.
    #[schema(required)]
    index: Option<usize>,
    #[serde(flatten)]
    violation: Violation,
}

/// What is wrong with a request: the first [`SHOWN`] kept, all counted.
#[derive(Debug, Default)]
pub struct ItemErrors {
    shown: Vec<ItemError>,
    total: usize,
}

impl ItemErrors {
    /// Adds what is wrong with the event at `index`, or with the request or its query.
    pub fn add(&mut self, index: Option<usize>, violations: Vec<Violation>) {
        self.total += violations.len();
        let room = SHOWN - self.shown.len();
        let errors = violations.into_iter().take(room);
        self.shown
            .extend(errors.map(|violation| ItemError { index, violation }));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

/// What a request names, short enough for an answer.
fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME_BYTES)]
}

impl Problem {
    fn new(kind: &'static str, title: &'static str, status: StatusCode, detail: String) -> Self {
        Self {
            kind,
            title,
            status,
            detail,
            line: None,
            column: None,
            errors: Vec::new(),
            errors_total: None,
            request_id: None,
            retry_after: None,
            accept_encoding: None,
        }
    }

    /// What kind of problem it is, for programs.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The same for people.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// The status of its answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The same with the id of its request.
    pub fn of_request(mut self, request_id: &str) -> Self {
        self.request_id = Some(request_id.into());
        self
    }

    /// The document with the id of its request.
    pub fn told_with(self, request_id: &str) -> Body {
        let document = serde_json::to_vec(&self.of_request(request_id));
        Body::from(document.expect("its keys are strings, and memory takes all of it"))
    }

    /// What is wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// 400: the body is not JSON, with the place where it stops being it.
    pub fn not_json(err: &serde_json::Error) -> Self {
        Self {
            line: Some(err.line()),
            column: Some(err.column()),
            ..Self::new(
                "urn:problem:not-json",
                "Not JSON",
                StatusCode::BAD_REQUEST,
                err.to_string(),
            )
        }
    }

    /// The same, where `applies` with a hint at what would be taken.
    pub fn with_hint_if(mut self, applies: bool, hint: &str) -> Self {
        if applies {
            self.detail = format!("{}; {hint}", self.detail);
        }
        self
    }

    /// The same for a line of the body, counted from 1.
    pub fn line_not_json(err: &serde_json::Error, line: usize) -> Self {
        let place = |line| format!(" at line {line} column {}", err.column());
        let text = err.to_string();
        let reason = text.strip_suffix(&place(err.line())).unwrap_or(&text);
        Self {
            line: Some(line),
            detail: format!("{reason}{}", place(line)),
            ..Self::not_json(err)
        }
    }

    /// 426: an answer without a length, over a version of HTTP in which one that was cut off looks whole.
    pub fn needs_http_1_1() -> Self {
        Self::new(
            "urn:problem:needs-http-1-1",
            "HTTP/1.1 needed",
            StatusCode::UPGRADE_REQUIRED,
            "this answer has no length, and over HTTP/1.0 nobody could tell whether it is whole: ask with HTTP/1.1; \
                 nginx does with the line proxy_http_version 1.1"
                .to_owned(),
        )
    }

    /// 400: the body is no message of OTLP.
    pub fn undecodable(mut detail: String) -> Self {
        // It may hold a piece of the request.
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
        let kind = "urn:problem:undecodable";
        Self::new(kind, "Undecodable", StatusCode::BAD_REQUEST, detail)
    }

    /// 400: the body ended before it was whole.
    pub fn body_incomplete() -> Self {
        Self::new(
            "urn:problem:body-incomplete",
            "Body incomplete",
            StatusCode::BAD_REQUEST,
            "the body ended before it was whole; nothing was published".to_owned(),
        )
    }

    /// 400: the body is not what its `Content-Encoding` says, or ends early.
    pub fn body_corrupt(err: &std::io::Error) -> Self {
        Self::new(
            "urn:problem:body-corrupt",
            "Body corrupt",
            StatusCode::BAD_REQUEST,
            format!(
                "the body cannot be unpacked by its Content-Encoding: {err}; nothing was published"
            ),
        )
    }

    /// 400: the host that a request asks for is not clear.
    pub fn invalid_host(wrong: &str) -> Self {
        Self::new(
            "urn:problem:invalid-host",
            "Invalid host",
            StatusCode::BAD_REQUEST,
            format!(
                "the header Host {wrong}; a request of HTTP/1.1 has exactly one, with the name or address and the port that it is sent to"
            ),
        )
    }

    /// 403: a browser says that a page of another site sent it.
    pub fn foreign_page() -> Self {
        Self::foreign(
            "a page of another site asks, by the header Sec-Fetch-Site; nothing was done. The service answers its own page, and programs, which do not send this header".to_owned(),
        )
    }

    /// 403: a page of another origin than the host that is asked sent it.
    pub fn foreign_origin(origin: &str, host: &str) -> Self {
        let (origin, host) = (shortened(origin), shortened(host));
        Self::foreign(format!(
            "the header Origin is {origin:?}, and the header Host is {host:?}, which is another site; nothing was done. A proxy in front of the service must pass on the Host that the browser sent, with its port, as in nginx with: proxy_set_header Host $http_host"
        ))
    }

    fn foreign(detail: String) -> Self {
        let kind = "urn:problem:foreign-origin";
        Self::new(kind, "Foreign origin", StatusCode::FORBIDDEN, detail)
    }

    /// 421: it is asked by a name that is not its own.
    pub fn unknown_host(host: &str) -> Self {
        let host = shortened(host);
        Self::new(
            "urn:problem:unknown-host",
            "Unknown host",
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "{host:?} is not an allowed host name: use an IP address or localhost, or start the aggregator with --allowed-hosts and that name. If this is not the name that you asked for, a proxy in front of the service has replaced it: have it pass on the header Host, as in nginx with: proxy_set_header Host $http_host"
            ),
        )
    }

    /// 501: the body is in a transfer coding that is not known.
    pub fn unknown_transfer_coding() -> Self {
        Self::new(
            "urn:problem:unknown-transfer-coding",
            "Unknown Transfer-Encoding",
            StatusCode::NOT_IMPLEMENTED,
            "the only Transfer-Encoding is chunked, once; for a compressed body send Content-Encoding: gzip or zstd".to_owned(),
        )
    }

    /// 404.
    pub fn not_found(detail: String) -> Self {
        let kind = "urn:problem:not-found";
        Self::new(kind, "Not found", StatusCode::NOT_FOUND, detail)
    }

    /// 405; the router adds `Allow`.
    pub fn method_not_allowed(detail: String) -> Self {
        Self::new(
            "urn:problem:method-not-allowed",
            "Method not allowed",
            StatusCode::METHOD_NOT_ALLOWED,
            detail,
        )
    }

    /// 408: the body came too slowly.
    pub fn body_too_slow(limit: Duration) -> Self {
        let seconds = limit.as_secs();
        Self::new(
            "urn:problem:body-too-slow",
            "Body too slow",
            StatusCode::REQUEST_TIMEOUT,
            format!("the body was not there after {seconds} s; send less at once"),
        )
    }

    /// 413.
    pub fn body_too_large(limit: usize) -> Self {
        let mebibytes = limit / (1024 * 1024);
        Self::new(
            "urn:problem:body-too-large",
            "Body too large",
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a request has at most {mebibytes} MiB; send the events in several requests"),
        )
    }

    /// 413: the events that are made of the body have more than `limit` bytes.
    pub fn batch_too_large(limit: usize) -> Self {
        let mebibytes = limit / (1024 * 1024);
        Self {
            detail: format!(
                "the events of a request have at most {mebibytes} MiB, each with its resource and scope; nothing was published, send smaller batches"
            ),
            ..Self::body_too_large(limit)
        }
    }

    /// 415, where JSON is all that is taken.
    pub fn not_json_type() -> Self {
        Self::new(
            "urn:problem:not-json-type",
            "Not JSON by its Content-Type",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the header Content-Type: application/json".to_owned(),
        )
    }

    /// 415, of `POST /cloudevents`.
    pub fn not_cloudevents_type() -> Self {
        Self::new(
            "urn:problem:not-cloudevents-type",
            "No CloudEvents by its headers",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send Content-Type: application/cloudevents+json or application/cloudevents-batch+json, or the header ce-specversion and the data under its own Content-Type".to_owned(),
        )
    }

    /// 422 for a request with events that are not valid.
    pub fn invalid_events(errors: ItemErrors) -> Self {
        let detail = "events of this request are not valid; nothing was published".to_owned();
        Self::invalid(detail, errors)
    }

    /// 415, where events are taken.
    pub fn not_events_type() -> Self {
        Self {
            detail: "send the header Content-Type: application/json, or application/x-ndjson for an event on each line"
                .to_owned(),
            ..Self::not_json_type()
        }
    }

    /// 415, where OTLP is taken.
    pub fn not_otlp_type() -> Self {
        Self::new(
            "urn:problem:not-otlp-type",
            "Not OTLP by its Content-Type",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the header Content-Type: application/x-protobuf or application/json".to_owned(),
        )
    }

    /// 415: the body is packed in another way, or in several.
    pub fn unknown_coding() -> Self {
        Self {
            accept_encoding: Some("gzip, zstd"),
            ..Self::new(
                "urn:problem:unknown-coding",
                "Unknown Content-Encoding",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the body as it is, or with one Content-Encoding: gzip or zstd".to_owned(),
            )
        }
    }

    /// 422, with everything that was found wrong.
    pub fn invalid(detail: String, errors: ItemErrors) -> Self {
        Self {
            errors: errors.shown,
            errors_total: Some(errors.total),
            ..Self::new(
                "urn:problem:invalid",
                "Not valid",
                StatusCode::UNPROCESSABLE_ENTITY,
                detail,
            )
        }
    }

    /// 422 for one query parameter.
    pub fn invalid_query(field: &str, code: Code, message: String) -> Self {
        let detail = format!("the query parameter {field} {message}");
        let mut errors = ItemErrors::default();
        errors.add(None, vec![Violation::new(Some(field), code, message)]);
        Self::invalid(detail, errors)
    }

    /// 422: the event is in the stream, and is not what was stored under its identity.
    pub fn conflict(stored: i64) -> Self {
        Self::new(
            "urn:problem:conflict",
            "Conflict",
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "event {stored} was stored before under the same topic and event_id and differs; it stays, and GET /conflicts has both. Send yours under another event_id"
            ),
        )
    }

    /// 422: the event is in the stream and could not be stored.
    pub fn rejected() -> Self {
        Self::new(
            "urn:problem:rejected",
            "Rejected",
            StatusCode::UNPROCESSABLE_ENTITY,
            "the event could not be stored; GET /rejected has it with the reason".to_owned(),
        )
    }

    /// 500; the cause goes to the log.
    pub fn internal(cause: &StoreError) -> Self {
        error!(error = %cause, "a query failed");
        Self::store_unreadable()
    }

    /// What of [`Self::internal`] is told.
    pub fn store_unreadable() -> Self {
        Self::new(
            "urn:problem:internal",
            "Internal error",
            StatusCode::INTERNAL_SERVER_ERROR,
            "the store could not be read; the service's log says why".to_owned(),
        )
    }

    /// 503: the dedup index, by which identities are found, is being made.
    pub fn index_away() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(
                "urn:problem:index-away",
                "Index away",
                StatusCode::SERVICE_UNAVAILABLE,
                "the dedup index is being made anew; try again in a moment".to_owned(),
            )
        }
    }

    /// 503: the store is being opened; `step` is how far that is.
    pub fn starting(step: &str) -> Self {
        Self {
            retry_after: Some(STARTING_PAUSE),
            ..Self::new(
                "urn:problem:starting",
                "Starting",
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{step}; try again later, and see GET /health"),
            )
        }
    }

    /// 503: nothing was changed; the cause goes to the log.
    pub fn store_cannot_write(cause: &StoreError) -> Self {
        error!(error = %cause, "a change that a person asked for failed");
        Self::store_unwritable()
    }

    /// What of [`Self::store_cannot_write`] is told.
    pub fn store_unwritable() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(
                "urn:problem:store-unwritable",
                "Store cannot be written",
                StatusCode::SERVICE_UNAVAILABLE,
                "the store cannot be written now; see GET /health, then try again".to_owned(),
            )
        }
    }

    /// 503: it can be sent again after a while.
    pub fn unavailable(cannot: Cannot) -> Self {
        let (kind, title, detail, seconds) = match cannot {
            Cannot::Reach => (
                "urn:problem:broker-unavailable",
                "Broker unavailable",
                "the broker cannot be reached; nothing was published, send all of it again later",
                5,
            ),
            Cannot::Take => (
                "urn:problem:stream-full",
                "Stream full",
                "the stream has no room; part of it may be in the stream, send all of it again later, which adds only duplicates",
                5,
            ),
            Cannot::Confirm => (
                "urn:problem:unconfirmed",
                "Unconfirmed",
                "the broker did not confirm in time; part of it may be in the stream, send all of it again, which adds only duplicates",
                5,
            ),
            Cannot::Agree => (
                "urn:problem:broker-refuses",
                "Broker refuses",
                "the broker does not take these events as it is configured; its operator has to look, the service's log says why",
                60,
            ),
            Cannot::Wait => (
                "urn:problem:too-many-waits",
                "Too many waits",
                "too many events are waited for already; nothing was published, send it again, or without wait=stored",
                1,
            ),
            Cannot::Follow => (
                "urn:problem:too-many-tails",
                "Too many tails",
                "too many clients follow the events already; ask GET /events from time to time instead",
                10,
            ),
            Cannot::Hold => (
                "urn:problem:busy",
                "Busy",
                "too many request bodies are under way; nothing was published, send it again",
                1,
            ),
        };
        Self {
            retry_after: Some(Duration::from_secs(seconds)),
            ..Self::new(
                kind,
                title,
                StatusCode::SERVICE_UNAVAILABLE,
                detail.to_owned(),
            )
        }
    }
}

/// Why a request cannot be served now.
#[derive(Debug, Clone, Copy)]
pub enum Cannot {
    /// The broker is not connected.
    Reach,
    /// The stream is full.
    Take,
    /// The broker's configuration forbids it.
    Agree,
    /// A `PubAck` did not come.
    Confirm,
    /// The events that are waited for are at their limit.
    Wait,
    /// The clients that follow events are at their limit.
    Follow,
    /// The bytes of request bodies in flight are at their limit.
    Hold,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (retry_after, accept_encoding) = (self.retry_after, self.accept_encoding);
        let needs_upgrade = self.status == StatusCode::UPGRADE_REQUIRED;
        let mut response = (self.status, axum::Json(&self)).into_response();
        // Who observes the request makes the document anew, with the request's id.
        response.extensions_mut().insert(self);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(pause) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(pause.as_secs()));
        }
        if let Some(codings) = accept_encoding {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(codings));
        }
        // The protocol that is needed (RFC 9110, 15.5.22).
        if needs_upgrade {
            headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        response
    }
}
