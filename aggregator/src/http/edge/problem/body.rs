//! Problems of bodies: incomplete, corrupt, too large, or of an unsupported type or format.

use std::time::Duration;

use axum::http::StatusCode;

use super::Problem;

/// Longest detail that may quote a request.
const MAX_DETAIL_BYTES: usize = 500;

impl Problem {
    /// 400: the body is not JSON, with the line and column of the error.
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

    /// 400: this line of the body, counted from 1, is not JSON.
    pub fn line_not_json(err: &serde_json::Error, line: usize) -> Self {
        let position = |line| format!(" at line {line} column {}", err.column());
        let text = err.to_string();
        let reason = text.strip_suffix(&position(err.line())).unwrap_or(&text);
        Self {
            line: Some(line),
            detail: format!("{reason}{}", position(line)),
            ..Self::not_json(err)
        }
    }

    /// 400: the body is not an OTLP message.
    pub fn undecodable(mut detail: String) -> Self {
        // It may quote the request.
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
        let kind = "urn:problem:undecodable";
        Self::new(kind, "Undecodable", StatusCode::BAD_REQUEST, detail)
    }

    /// 400: the body ended early.
    pub fn body_incomplete() -> Self {
        Self::new(
            "urn:problem:body-incomplete",
            "Body incomplete",
            StatusCode::BAD_REQUEST,
            "the body ended early; nothing was published".to_owned(),
        )
    }

    /// 400: the body does not match its `Content-Encoding`, or its compressed data ends early.
    pub fn body_corrupt(err: &std::io::Error) -> Self {
        Self::new(
            "urn:problem:body-corrupt",
            "Body corrupt",
            StatusCode::BAD_REQUEST,
            format!(
                "the body cannot be decompressed as its Content-Encoding says: {err}; nothing was published"
            ),
        )
    }

    /// 408: the body arrived too slowly.
    pub fn body_too_slow(limit: Duration) -> Self {
        let seconds = limit.as_secs();
        Self::new(
            "urn:problem:body-too-slow",
            "Body not received in time",
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {seconds} s; send smaller requests"),
        )
    }

    /// 413: the body has more than `limit` bytes.
    pub fn body_too_large(limit: usize) -> Self {
        let mebibytes = limit / (1024 * 1024);
        Self::new(
            "urn:problem:body-too-large",
            "Body too large",
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "a request body may have at most {mebibytes} MiB; send the events in several requests"
            ),
        )
    }

    /// 413: the events that the body turns into have more than `limit` bytes.
    pub fn batch_too_large(limit: usize) -> Self {
        let mebibytes = limit / (1024 * 1024);
        Self {
            detail: format!(
                "the events of a request may have at most {mebibytes} MiB, each including its resource and scope; nothing was published. Send smaller batches"
            ),
            ..Self::body_too_large(limit)
        }
    }

    /// 415: the `Content-Encoding` is not supported, or there are several.
    pub fn unknown_coding() -> Self {
        Self {
            accept_encoding: Some("gzip, zstd"),
            ..Self::new(
                "urn:problem:unknown-coding",
                "Unknown Content-Encoding",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the body uncompressed, or with one Content-Encoding: gzip or zstd".to_owned(),
            )
        }
    }

    /// 501: the transfer coding of the body is not supported.
    pub fn unknown_transfer_coding() -> Self {
        Self::new(
            "urn:problem:unknown-transfer-coding",
            "Unknown Transfer-Encoding",
            StatusCode::NOT_IMPLEMENTED,
            "the only supported Transfer-Encoding is chunked, once; for a compressed body send Content-Encoding: gzip or zstd".to_owned(),
        )
    }

    /// 413: the form that signs in is too large to have a token.
    pub fn form_too_large(limit: usize) -> Self {
        Self {
            detail: format!("the form may have at most {limit} bytes"),
            ..Self::body_too_large(limit)
        }
    }

    /// 415, of `POST /sign-in`.
    pub fn not_a_form() -> Self {
        Self::new(
            "urn:problem:not-a-form",
            "Not a form by its Content-Type",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the header Content-Type: application/x-www-form-urlencoded".to_owned(),
        )
    }

    /// 415: only JSON is supported.
    pub fn not_json_type() -> Self {
        Self::new(
            "urn:problem:not-json-type",
            "Not JSON by its Content-Type",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the header Content-Type: application/json".to_owned(),
        )
    }

    /// 415, of `POST /publish`.
    pub fn not_events_type() -> Self {
        Self {
            detail: "send the header Content-Type: application/json, or application/x-ndjson for one event per line"
                .to_owned(),
            ..Self::not_json_type()
        }
    }

    /// 415, of `POST /cloudevents`.
    pub fn not_cloudevents_type() -> Self {
        Self::new(
            "urn:problem:not-cloudevents-type",
            "Not CloudEvents by its headers",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send Content-Type: application/cloudevents+json or application/cloudevents-batch+json, or the header ce-specversion and the data under its own Content-Type".to_owned(),
        )
    }

    /// 415, of the OTLP routes.
    pub fn not_otlp_type() -> Self {
        Self::new(
            "urn:problem:not-otlp-type",
            "Not OTLP by its Content-Type",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the header Content-Type: application/x-protobuf or application/json".to_owned(),
        )
    }
}
