//! `GET /events`: what is stored, a page at a time, or all of it line by line.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    export,
    filter::{self, Asked, Format, OfEvents},
    shown::{Shown, render},
};
use crate::{
    http::{
        api::Api,
        edge::{
            paging::{self, Rows, wrong_cursor, wrong_limit},
            problem::Problem,
            query::unknown_parameter,
        },
        openapi::refusals::{problems, refusals},
        publish::lines::Lines,
    },
    store::query::PageBounds,
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

refusals! {
    /// Of events, which come in pages or without an end that is known.
    AskedOrStreamed = problems([unknown_parameter(&["limit", "cursor"]), wrong_limit(), wrong_cursor(), Problem::store_unreadable(), Problem::needs_http_1_1()]);
}

/// Lists events, the newest first.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(OfEvents),
    responses(
        (status = OK, content((Page = "application/json"), (Lines = "application/x-ndjson"))),
        AskedOrStreamed
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
    let extent = PageBounds {
        from,
        last: i64::MAX,
        limit,
    };
    let answer = paging::answer(&api.permits, async |room| {
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
            next_cursor: page.next.map(|last| filter::cursor(last, &question)),
        })
    })
    .await?;
    Ok((vary, answer).into_response())
}
