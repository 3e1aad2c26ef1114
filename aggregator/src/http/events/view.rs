//! The JSON form of a stored event.

use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    clock,
    store::{StoreError, query::StoredEvent},
};

/// An event as received, with the time at which it was stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoredEvent)]
pub struct EventView {
    topic: String,
    event_id: String,
    #[schema(format = DateTime)]
    timestamp: String,
    /// Present only if the timestamp was filled in on arrival.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    timestamp_filled: bool,
    source: String,
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
    #[schema(format = DateTime)]
    processed_at: String,
}

/// Converts an event to its JSON form.
pub fn view(event: StoredEvent) -> Result<EventView, StoreError> {
    let payload = raw(event.payload)?;
    Ok(EventView {
        topic: event.topic,
        event_id: event.event_id,
        timestamp: event.timestamp,
        timestamp_filled: event.timestamp_filled,
        source: event.source,
        payload,
        processed_at: clock::rfc3339(event.processed_at),
    })
}

/// Writes an event as JSON.
pub fn render(event: StoredEvent, to: &mut impl Write) -> Result<(), StoreError> {
    let view = view(event)?;
    serde_json::to_writer(to, &view).expect("strings and JSON values are JSON");
    Ok(())
}

/// Writes an event as JSON on one line: CR and LF between the payload's tokens become spaces. They cannot occur inside its
/// strings.
pub fn render_flat(mut event: StoredEvent, to: &mut impl Write) -> Result<(), StoreError> {
    if event.payload.contains(['\r', '\n']) {
        event.payload = event.payload.replace(['\r', '\n'], " ");
    }
    render(event, to)
}

/// A payload as stored. If it is not JSON, the file is not what was written.
pub fn raw(payload: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(payload)
        .map_err(|err| StoreError::Foreign(format!("a payload in it is not JSON: {err}")))
}
