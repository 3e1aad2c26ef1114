//! A request for logs, walked record by record: of all its messages only one resource, one scope and one record are in
//! memory at a time, for empty ones take many times their two bytes on the wire.

mod json;
mod protobuf;

use bytes::Bytes;
use shared::event::MAX_EVENT_BYTES;

use super::message::{LogRecord, Resource, Scope};
use crate::http::problem::Problem;

/// How a request is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// A message of a request, unless it is larger than an event may be: then so many bytes.
pub type Part<T> = Result<T, usize>;

/// Who is given the parts of a request, in their order.
pub trait Visit {
    /// The resource of the scopes that follow.
    fn resource(&mut self, resource: Part<Option<Resource>>, schema_url: String);

    /// The scope of the records that follow.
    fn scope(&mut self, scope: Part<Option<Scope>>, schema_url: String);

    /// A record.
    ///
    /// # Errors
    /// What ends the walk.
    fn record(&mut self, record: Part<LogRecord>) -> Result<(), Problem>;
}

/// Walks a request.
///
/// # Errors
/// 400 where it cannot be decoded, and what the visitor returns.
pub fn walk(encoding: Encoding, body: &Bytes, visitor: &mut impl Visit) -> Result<(), Problem> {
    match encoding {
        Encoding::Protobuf => protobuf::walk(body, visitor),
        Encoding::Json => json::walk(body, visitor),
    }
}

/// The part with the address of its schema, which is bounded as the part is.
fn with_url<T>(part: Part<T>, url: &str) -> (Part<T>, String) {
    match url.len() {
        ..=MAX_EVENT_BYTES => (part, url.to_owned()),
        bytes => (Err(bytes), String::new()),
    }
}

/// The part, if its encoding has no more bytes than an event.
fn bounded<T>(
    bytes: usize,
    decode: impl FnOnce() -> Result<T, Problem>,
) -> Result<Part<T>, Problem> {
    match bytes {
        ..=MAX_EVENT_BYTES => decode().map(Ok),
        _ => Ok(Err(bytes)),
    }
}
