//! An export request for logs, walked record by record. Only one resource, one scope and one record are decoded in memory at
//! a time, because even an empty message takes many times its two bytes on the wire.

mod json;
mod protobuf;

use bytes::Bytes;
use shared::event::MAX_EVENT_BYTES;

use super::message::{LogRecord, MAX_LEVELS, Nested, Resource, Scope};
use crate::http::edge::problem::Problem;

/// How a request is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// A message of a request, or the reason why it cannot be part of an event.
pub type Part<T> = Result<T, Unusable>;

/// Why a message of a request cannot be part of an event. It does not affect the other messages of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is larger than an event may be.
    #[error("too large for an event: {0} bytes; at most {MAX_EVENT_BYTES} are accepted")]
    TooLarge(usize),
    /// Its values are nested too deep.
    #[error("too deep: arrays and maps may be nested {MAX_LEVELS} levels deep")]
    TooDeep,
    /// It cannot be decoded.
    #[error("{0}")]
    Undecodable(String),
}

/// Longest reason, which may quote the request.
const MAX_REASON_BYTES: usize = 256;

impl Unusable {
    /// A decoder failed on the message of this name. Both decoders stop at a nesting somewhat deeper than [`MAX_LEVELS`];
    /// neither has an error kind for that, only its text.
    fn undecodable(name: &str, err: &dyn std::fmt::Display) -> Self {
        let mut reason = format!("not a valid {name}: {err}");
        if reason.contains("recursion limit") {
            return Self::TooDeep;
        }
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        Self::Undecodable(reason)
    }
}

/// Receives the parts of a request in order.
pub trait Visit {
    /// The resource of the scopes that follow.
    fn resource(&mut self, resource: Part<Option<Resource>>, schema_url: String);

    /// The scope of the records that follow.
    fn scope(&mut self, scope: Part<Option<Scope>>, schema_url: String);

    /// A record.
    ///
    /// # Errors
    /// An error ends the walk.
    fn record(&mut self, record: Part<LogRecord>) -> Result<(), Problem>;

    /// The message of this name has a member that OTLP does not define. It is ignored, as OTLP requires.
    fn unknown(&mut self, message: &'static str, member: &str);
}

/// Walks a request.
///
/// # Errors
/// 400 if the messages around the resources, scopes and records cannot be decoded, and the visitor's errors.
pub fn walk(encoding: Encoding, body: &Bytes, visitor: &mut impl Visit) -> Result<(), Problem> {
    match encoding {
        Encoding::Protobuf => protobuf::walk(body, visitor),
        Encoding::Json => json::walk(body, visitor),
    }
}

/// The part with its schema URL, which has the same size limit as the part.
fn with_url<T>(part: Part<T>, url: Part<&str>) -> (Part<T>, String) {
    match url {
        Err(unusable) => (part.and(Err(unusable)), String::new()),
        Ok(url) if url.len() > MAX_EVENT_BYTES => {
            (Err(Unusable::TooLarge(url.len())), String::new())
        }
        Ok(url) => (part, url.to_owned()),
    }
}

/// The part, if its encoding is not larger than an event may be and its values are not nested too deep.
fn bounded<T: Nested>(bytes: usize, decode: impl FnOnce() -> Part<T>) -> Part<T> {
    match bytes {
        ..=MAX_EVENT_BYTES => decode().and_then(|part| {
            let is_within = part.is_within(MAX_LEVELS);
            is_within.then_some(part).ok_or(Unusable::TooDeep)
        }),
        _ => Err(Unusable::TooLarge(bytes)),
    }
}
