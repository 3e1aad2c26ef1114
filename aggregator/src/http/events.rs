//! `GET /events`: what is stored, a page at a time, or all of it line by line.

mod export;
pub mod question;
pub mod tail;

use std::{io::Write, sync::Arc};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use self::question::{Asked, Format};
use super::{
    Api,
    openapi::{AskedOrStreamed as Refused, Lines, OfEvents},
    page::{self, Rows},
    problem::Problem,
};
use crate::{
    clock,
    store::{
        StoreError,
        reader::{Extent, StoredEvent},
    },
};

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventPage)]
pub struct Page {
    events: Vec<Shown>,
    /// None where it would have to be counted.
    #[schema(required)]
    total: Option<u64>,
    #[schema(required)]
    filtered_by_topic: Option<Topics>,
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The topics asked for: one as it is, several as a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Topics {
    One(String),
    Many(Vec<String>),
}

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

/// Lists events, the newest first.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(OfEvents),
    responses(
        (status = OK, content((Page = "application/json"), (Lines = "application/x-ndjson"))),
        Refused
    )
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Asked {
        question,
        from,
        limit,
        format,
    } = Asked::parse(query.as_deref(), &headers)?;
    let question = Arc::new(question);
    // Caches must tell the two formats apart.
    let vary = [(header::VARY, HeaderValue::from_static("accept"))];
    if format == Format::Lines {
        let answer = export::answer(api, question, from, limit);
        return Ok((vary, answer).into_response());
    }
    let extent = Extent {
        from,
        last: i64::MAX,
        limit,
    };
    let answer = page::answer(&api, async |room| {
        // After the place: a query that waits for a slow client must not hold up other scans.
        let scan = api.reader.scan(&question).await;
        let rows = Rows::items(room, render);
        let page = api.reader.events(Arc::clone(&question), extent, scan, rows);
        let page = page.await.map_err(|err| Problem::internal(&err))?;
        page.events.page(&Page {
            events: Vec::new(),
            total: page.total,
            filtered_by_topic: match question.topics.as_slice() {
                [] => None,
                [topic] => Some(Topics::One(topic.clone())),
                topics => Some(Topics::Many(topics.to_vec())),
            },
            next_cursor: page.next.map(|last| question::cursor(last, &question)),
        })
    })
    .await?;
    Ok((vary, answer).into_response())
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
fn render(event: StoredEvent, to: &mut impl Write) -> Result<(), StoreError> {
    let shown = shown(event)?;
    serde_json::to_writer(to, &shown).expect("texts and JSON are JSON");
    Ok(())
}

/// The same on one line: CR and LF between the payload's tokens become spaces. In its strings they cannot occur.
fn render_flat(mut event: StoredEvent, to: &mut impl Write) -> Result<(), StoreError> {
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
