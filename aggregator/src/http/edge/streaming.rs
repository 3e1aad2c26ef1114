//! Answers that come bit by bit.

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};

/// By which nginx, and others after its example, are told whether to hold an answer back until their buffers are full.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The answer with a header that asks proxies to pass on each part of it at once.
pub fn unbuffered(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    answer
}
