//! A request for logs, walked record by record: of all its messages only one resource, one scope and one record are in
//! memory at a time, for empty ones take many times their two bytes on the wire.

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

/// A message of a request, unless no event can hold it.
pub type Part<T> = Result<T, Unusable>;

/// Why a message of a request cannot be part of an event. The other messages of the request can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is larger than an event may be.
    #[error("too large for an event: {0} bytes, at most {MAX_EVENT_BYTES} are accepted")]
    TooLarge(usize),
    /// Its values are nested too deep.
    #[error("too deep: arrays and maps may be nested {MAX_LEVELS} levels deep")]
    TooDeep,
    /// It is not what its encoding says it is.
    #[error("{0}")]
    Undecodable(String),
}

/// Bytes of a reason that may quote the request.
const MAX_REASON_BYTES: usize = 256;

impl Unusable {
    /// The decoder of either encoding gave up on the message of this name. Both stop at a nesting that is deeper than
    /// [`MAX_LEVELS`]; neither has a kind of error for it, only its words.
    fn undecodable(name: &str, err: &dyn std::fmt::Display) -> Self {
        let mut reason = format!("not a valid {name}: {err}");
        if reason.contains("recursion limit") {
            return Self::TooDeep;
        }
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        Self::Undecodable(reason)
    }
}

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

    /// The message of this name has a member that OTLP does not define. It is ignored, as OTLP asks for.
    fn unknown(&mut self, message: &'static str, member: &str);
}

/// Walks a request.
///
/// # Errors
/// 400 where the messages around the records, resources and scopes cannot be decoded, and what the visitor returns.
pub fn walk(encoding: Encoding, body: &Bytes, visitor: &mut impl Visit) -> Result<(), Problem> {
    match encoding {
        Encoding::Protobuf => protobuf::walk(body, visitor),
        Encoding::Json => json::walk(body, visitor),
    }
}

/// The part with the address of its schema, which is bounded as the part is.
fn with_url<T>(part: Part<T>, url: Part<&str>) -> (Part<T>, String) {
    match url {
        Err(unusable) => (part.and(Err(unusable)), String::new()),
        Ok(url) if url.len() > MAX_EVENT_BYTES => {
            (Err(Unusable::TooLarge(url.len())), String::new())
        }
        Ok(url) => (part, url.to_owned()),
    }
}

/// The part, if its encoding has no more bytes than an event and its values are not nested too deep.
fn bounded<T: Nested>(bytes: usize, decode: impl FnOnce() -> Part<T>) -> Part<T> {
    match bytes {
        ..=MAX_EVENT_BYTES => decode().and_then(|part| {
            let is_within = part.is_within(MAX_LEVELS);
            is_within.then_some(part).ok_or(Unusable::TooDeep)
        }),
        _ => Err(Unusable::TooLarge(bytes)),
    }
}
