//! `GET /events`: what is stored, newest first.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::value::RawValue;
use shared::event::Code;

use super::{Api, problem::Problem, query::Query};
use crate::{
    clock,
    store::{StoreError, reader::StoredEvent},
};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// Pages of events in memory at once, being read from the store or sent. Further requests wait.
pub const MAX_PAGES: usize = 16;

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
struct Shown {
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
    let limit = query.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let before = query.text("cursor").map(parse_cursor).transpose()?;
    let place = Arc::clone(&api.pages).acquire_owned().await;
    let page = api.reader.events(topic.clone(), before, limit).await;
    let page = page.map_err(|err| Problem::internal(&err))?;
    let page = page.ok_or_else(wrong_cursor)?;
    let events = page.events.into_iter().map(shown).collect::<Result<_, _>>();
    let page = Json(Page {
        events: events.map_err(|err| Problem::internal(&err))?,
        total: page.total,
        filtered_by_topic: topic,
        next_cursor: page.next.map(|sequence| sequence.to_string()),
    });
    // The page is in memory until its reader has taken it, and so long it has its place.
    Ok(page.into_response().map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &place;
            frame
        }))
    }))
}

/// A cursor is the sequence of the last event shown; to those who use the API it is opaque.
fn parse_cursor(text: &str) -> Result<i64, Problem> {
    let sequence = text.parse().ok().filter(|sequence| *sequence > 0);
    sequence.ok_or_else(wrong_cursor)
}

fn wrong_cursor() -> Problem {
    let message = "is not one that was given out as next_cursor for these events".to_owned();
    Problem::invalid_query("cursor", Code::WrongType, message)
}

fn shown(event: StoredEvent) -> Result<Shown, StoreError> {
    let payload = RawValue::from_string(event.payload).map_err(|err| {
        StoreError::Foreign(format!(
            "payload of event {} is not JSON: {err}",
            event.sequence
        ))
    })?;
    Ok(Shown {
        topic: event.topic,
        event_id: event.event_id,
        timestamp: event.timestamp,
        source: event.source,
        payload,
        processed_at: clock::rfc3339(event.processed_at),
    })
}
