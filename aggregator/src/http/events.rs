//! `GET /events`: what is stored, newest first.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Api, page, problem::Problem, query::Query};
use crate::{
    clock,
    store::{StoreError, reader::StoredEvent},
};

/// A page of events.
#[derive(Debug, Serialize)]
pub struct Page {
    events: Vec<Shown>,
    total: u64,
    filtered_by_topic: Option<String>,
    next_cursor: Option<String>,
}

/// An event as it came, with the time of its storing.
#[derive(Debug, Serialize)]
pub struct Shown {
    topic: String,
    event_id: String,
    timestamp: String,
    source: String,
    payload: Box<RawValue>,
    processed_at: String,
}

/// Lists events of a topic, or of all.
pub async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &["topic", "limit", "cursor"])?;
    let topic = query.topic()?.map(|topic| topic.to_string());
    let limit = query.limit(page::DEFAULT_LIMIT, page::MAX_LIMIT)?;
    let before = page::cursor(&query)?;
    let place = api.place().await;
    let page = api.reader.events(topic.clone(), before, limit).await;
    let page = page.map_err(|err| Problem::internal(&err))?;
    let page = page.ok_or_else(page::wrong_cursor)?;
    let events = page.events.into_iter().map(shown).collect::<Result<_, _>>();
    let page = Page {
        events: events.map_err(|err| Problem::internal(&err))?,
        total: page.total,
        filtered_by_topic: topic,
        next_cursor: page.next.map(|sequence| sequence.to_string()),
    };
    Ok(page::answer(page, place))
}

/// As the API shows an event.
pub fn shown(event: StoredEvent) -> Result<Shown, StoreError> {
    let payload = raw(event.payload)?;
    Ok(Shown {
        topic: event.topic,
        event_id: event.event_id,
        timestamp: event.timestamp,
        source: event.source,
        payload,
        processed_at: clock::rfc3339(event.processed_at),
    })
}

/// A payload as it was stored: JSON, or the file is not what was written.
pub fn raw(payload: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(payload)
        .map_err(|err| StoreError::Foreign(format!("a payload in it is not JSON: {err}")))
}
