//! Responses of OTLP/HTTP: in the encoding of the request, errors included.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use prost::Message;
use serde::Serialize;
use utoipa::{ToSchema, openapi::Content};

use super::{
    json::{self, is_default},
    request::Encoding,
    schema,
};
use crate::http::{
    edge::problem::Problem,
    openapi::refusals::{Refusals, as_json, reference},
};

/// `ExportLogsServiceResponse`: what was accepted of the request.
#[derive(Clone, PartialEq, Message, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// Absent if everything was accepted without a warning.
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportLogsPartialSuccess`.
#[derive(Clone, PartialEq, Message, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartialSuccess {
    #[prost(int64, tag = "1")]
    #[serde(serialize_with = "json::long::serialize")]
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub rejected_log_records: i64,
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message, Serialize, ToSchema)]
pub struct Status {
    /// A `google.rpc.Code`; senders decide by the HTTP status.
    #[prost(int32, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    pub code: i32,
    /// A human-readable description of the error.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// A response in this encoding.
pub fn answer(encoding: Encoding, message: &(impl Message + Serialize)) -> Response {
    let (kind, body) = match encoding {
        Encoding::Protobuf => ("application/x-protobuf", message.encode_to_vec()),
        Encoding::Json => (
            "application/json",
            serde_json::to_vec(message)
                .expect("its keys are strings, and writing to memory cannot fail"),
        ),
    };
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    ([kind], Body::from(body)).into_response()
}

/// The OTLP status of a problem.
pub fn status(problem: &Problem) -> Status {
    let code = match problem.status() {
        StatusCode::UNAUTHORIZED => 16,          // UNAUTHENTICATED
        StatusCode::FORBIDDEN => 7,              // PERMISSION_DENIED
        StatusCode::TOO_MANY_REQUESTS => 8,      // RESOURCE_EXHAUSTED
        StatusCode::NOT_FOUND => 12,             // UNIMPLEMENTED
        StatusCode::REQUEST_TIMEOUT => 4,        // DEADLINE_EXCEEDED
        StatusCode::SERVICE_UNAVAILABLE => 14,   // UNAVAILABLE
        status if status.is_client_error() => 3, // INVALID_ARGUMENT
        _ => 13,                                 // INTERNAL
    };
    let message = problem.detail().to_owned();
    Status { code, message }
}

/// A problem in this encoding, with its HTTP status and headers.
pub fn refusal(encoding: Encoding, problem: Problem) -> Response {
    let mut response = answer(encoding, &status(&problem));
    let (head, _) = problem.into_response().into_parts();
    *response.status_mut() = head.status;
    for (name, value) in head.headers {
        let kept = [
            header::RETRY_AFTER,
            header::ACCEPT_ENCODING,
            header::WWW_AUTHENTICATE,
        ];
        if let Some(name) = name.filter(|name| kept.contains(name)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

impl Refusals {
    /// Adds the OTLP statuses of these problems, in both encodings.
    #[must_use]
    pub fn otlp(mut self, problems: impl IntoIterator<Item = Problem>) -> Self {
        for problem in problems {
            let body = as_json(status(&problem));
            let content = reference::<Status>();
            let response = self.add(problem, "application/json", content, Some(body));
            let content = Content::new(Some(reference::<schema::Message>()));
            let protobuf = "application/x-protobuf".to_owned();
            response.content.entry(protobuf).or_insert(content);
        }
        self
    }
}
