//! Errors as RFC 9457 problem documents.

mod access;
mod body;
mod items;
mod store;
mod unavailable;

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::event::{Code, Violation};
use utoipa::ToSchema;

use self::items::ItemError;
pub use self::{items::ItemErrors, store::STARTING_PAUSE, unavailable::Unavailable};
use super::access::CHALLENGE;

/// A problem document.
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
    /// The id of the request, which its log lines carry. The layer around the request fills it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required)]
    request_id: Option<Box<str>>,
    #[serde(skip)]
    retry_after: Option<Duration>,
    /// The supported codings (RFC 9110, 12.5.3).
    #[serde(skip)]
    accept_encoding: Option<&'static str>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
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

    /// The kind of problem, for programs.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// A human-readable name of the kind of problem.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Adds the id of the request.
    pub fn of_request(mut self, request_id: &str) -> Self {
        self.request_id = Some(request_id.into());
        self
    }

    /// The document, with the id of the request.
    pub fn into_body(self, request_id: &str) -> Body {
        let document = serde_json::to_vec(&self.of_request(request_id));
        Body::from(document.expect("its keys are strings, and writing to memory cannot fail"))
    }

    /// A human-readable description of what is wrong.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Appends a hint to the detail if `applies`.
    pub fn with_hint_if(mut self, applies: bool, hint: &str) -> Self {
        if applies {
            self.detail = format!("{}; {hint}", self.detail);
        }
        self
    }

    /// 426: the response has no length, and over HTTP/1.0 a truncated one would look complete.
    pub fn needs_http_1_1() -> Self {
        Self::new(
            "urn:problem:needs-http-1-1",
            "HTTP/1.1 required",
            StatusCode::UPGRADE_REQUIRED,
            "this response has no length, so over HTTP/1.0 a client could not tell whether it is complete: use HTTP/1.1; \
                 in nginx: proxy_http_version 1.1"
                .to_owned(),
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

    /// 422 for a request with events that are not valid.
    pub fn invalid_events(errors: ItemErrors) -> Self {
        let detail = "events of this request are not valid; nothing was published".to_owned();
        Self::invalid(detail, errors)
    }

    /// 422, with the errors that were found.
    pub fn invalid(detail: String, errors: ItemErrors) -> Self {
        Self {
            errors: errors.listed,
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
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (retry_after, accept_encoding) = (self.retry_after, self.accept_encoding);
        let status = self.status;
        let needs_upgrade = self.status == StatusCode::UPGRADE_REQUIRED;
        let mut response = (self.status, axum::Json(&self)).into_response();
        // The layer around the request renders the document again, with the request's id.
        response.extensions_mut().insert(self);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
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
