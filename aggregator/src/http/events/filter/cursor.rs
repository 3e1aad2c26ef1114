//! The cursor that continues a query of events.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use shared::event::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    clock,
    store::query::{EventQuery, Filter, Order, PayloadValue},
};

/// Where a page ended. Events are never deleted, so a cursor never expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The hash of the query.
    hash: u32,
    /// The sequence of the last event that was read.
    pub sequence: i64,
    /// The time to which the relative times of the query refer: that of the request for the first page, in microseconds
    /// since 1970. `None` if the query has no relative times.
    pub base: Option<i64>,
}

impl Cursor {
    /// The cursor for the events after a sequence.
    pub fn new(query: &EventQuery, sequence: i64, base: Option<i64>) -> Self {
        Self {
            hash: hash(query),
            sequence,
            base,
        }
    }

    /// Whether it continues this query, with relative times or without.
    pub fn is_of(&self, query: &EventQuery, is_relative: bool) -> bool {
        self.hash == hash(query) && self.base.is_some() == is_relative
    }

    /// The text for clients, to whom it is opaque.
    pub fn to_text(self) -> String {
        let mut bytes = self.hash.to_le_bytes().to_vec();
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.base.into_iter().flat_map(i64::to_le_bytes));
        BASE64.encode(bytes)
    }

    /// Parses a text; `None` if it is not a cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text).ok()?;
        let (hash, rest) = bytes.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let base = match rest {
            [] => None,
            rest => Some(i64::from_le_bytes(rest.try_into().ok()?)),
        };
        let cursor = Self {
            hash: u32::from_le_bytes(*hash),
            sequence: i64::from_le_bytes(*sequence),
            base,
        };
        let is_base = |base| (0..=clock::LATEST).contains(&base);
        (cursor.sequence > 0 && base.is_none_or(is_base)).then_some(cursor)
    }
}

/// Distinguishes a query from others. Every version of this program computes the same hash for the same query, so that cursors
/// stay valid. Different queries have different texts, because each text is a sequence of JSON values.
fn hash(query: &EventQuery) -> u32 {
    let EventQuery {
        topics,
        since,
        until,
        order,
        filter,
        // A cursor is a place among all events; which of them are visible is decided by each request's token.
        visible: _,
    } = query;
    let Filter {
        event_id,
        source,
        contains,
        ignore_case,
        payload,
        time_since,
        time_until,
    } = filter;
    let is_oldest_first = *order == Order::OldestFirst;
    let payload: Vec<_> = payload
        .iter()
        .map(|PayloadValue { path, value }| (path, value))
        .collect();
    let fields = (
        topics,
        since,
        until,
        is_oldest_first,
        (source, contains, payload),
    );
    // These fields are in the text even if they are not set. A field that is added later must be appended to the text with
    // its name, and only if it is set: otherwise the cursors of all other queries become invalid.
    let mut text = serde_json::to_vec(&fields).expect("strings and numbers are JSON");
    let time = |time: &'_ Option<Timestamp>| time.as_ref().map(|time| time.as_str().to_owned());
    for (name, value) in [
        ("time_since", time(time_since)),
        ("time_until", time(time_until)),
        ("event_id", event_id.clone()),
        ("ignore_case", ignore_case.then(|| "true".to_owned())),
    ] {
        if let Some(value) = value {
            text.extend(serde_json::to_vec(&(name, value)).expect("strings are JSON"));
        }
    }
    u32::try_from(xxh3_64(&text) >> 32).expect("32 bits are left")
}
