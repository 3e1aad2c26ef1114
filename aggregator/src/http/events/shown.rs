//! An event as the API shows it.

use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    clock,
    store::{StoreError, query::StoredEvent},
};

/// An event as it came, with the time of its storing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoredEvent)]
pub struct Shown {
    topic: String,
    event_id: String,
    #[schema(format = DateTime)]
    timestamp: String,
    /// There only where arrival filled in the timestamp.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    timestamp_filled: bool,
    source: String,
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
    #[schema(format = DateTime)]
    processed_at: String,
}

/// As the API shows an event.
pub fn shown(event: StoredEvent) -> Result<Shown, StoreError> {
    let payload = raw(event.payload)?;
    Ok(Shown {
        topic: event.topic,
        event_id: event.event_id,
        timestamp: event.timestamp,
        timestamp_filled: event.timestamp_filled,
        source: event.source,
        payload,
        processed_at: clock::rfc3339(event.processed_at),
    })
}

/// The same as JSON.
pub fn render(event: StoredEvent, to: &mut impl Write) -> Result<(), StoreError> {
    let shown = shown(event)?;
    serde_json::to_writer(to, &shown).expect("texts and JSON are JSON");
    Ok(())
}

/// The same on one line: CR and LF between the payload's tokens become spaces. In its strings they cannot occur.
pub fn render_flat(mut event: StoredEvent, to: &mut impl Write) -> Result<(), StoreError> {
    if event.payload.contains(['\r', '\n']) {
        event.payload = event.payload.replace(['\r', '\n'], " ");
    }
    render(event, to)
}

/// A payload as it was stored: JSON, or the file is not what was written.
pub fn raw(payload: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(payload)
        .map_err(|err| StoreError::Foreign(format!("a payload in it is not JSON: {err}")))
}
