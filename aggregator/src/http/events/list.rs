//! `GET /events`: stored events, one page at a time or all of them as lines.

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
    filter::{Cursor, EventsRequest, Format, OfEvents, Topics},
    view::{EventView, render},
};
use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            access::Caller,
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
pub struct EventsPage {
    events: Vec<EventView>,
    /// The number of events in these topics; null if filters, or a token for too many topics, would require counting them.
    #[schema(required)]
    total: Option<u64>,
    #[schema(required)]
    filtered_by_topic: Option<Topics>,
    /// Whether the page has as many events as fit, or all that are left. Otherwise the search stopped early, after 500,000
    /// events, after 150 ms, or because the WAL has to be reset.
    complete: bool,
    /// Present only if the page is not complete, and the token may read every topic: when the last event that was searched was
    /// stored. Pass `next_cursor` to continue from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    searched_to: Option<String>,
    #[schema(required)]
    next_cursor: Option<String>,
}

refusals! {
    /// Refusals of `GET /events`, whose response is a page or a stream of unknown length.
    PageOrStream = problems([unknown_parameter(&["limit", "cursor"]), wrong_limit(), wrong_cursor(), Problem::store_unreadable(), Problem::needs_http_1_1()]);
}

/// Lists stored events, newest first by default.
#[utoipa::path(
    get,
    path = "/events",
    tag = "events",
    params(OfEvents),
    responses(
        (status = OK, content((EventsPage = "application/json"), (Lines = "application/x-ndjson"))),
        PageOrStream
    )
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let EventsRequest {
        mut query,
        from,
        base,
        limit,
        format,
    } = EventsRequest::parse(query.as_deref(), &headers, api.reader.clock().now())?;
    query.visible = caller.visible(&query.topics)?;
    let query = Arc::new(query);
    // Caches must keep the two formats apart.
    let vary = [(header::VARY, HeaderValue::from_static("accept"))];
    if format == Format::Lines {
        let answer = export::answer(api, caller, query, from, limit);
        return Ok((vary, answer).into_response());
    }
    let bounds = PageBounds {
        from,
        after: 0,
        last: i64::MAX,
        limit,
    };
    let answer = paging::answer(&api.permits, async |room| {
        // Acquired after the permit of the response: a query that waits for a slow client must not hold up other scans.
        let scan = api.reader.scan(&query, &bounds).await;
        let rows = Rows::items(room, render);
        let page = api.reader.events(Arc::clone(&query), bounds, scan, rows);
        let page = page.await.map_err(|err| Problem::internal(&err))?;
        page.events.page(&EventsPage {
            events: Vec::new(),
            total: page.total,
            filtered_by_topic: Topics::of(&query.topics),
            complete: page.searched_to.is_none(),
            // It may be of an event that the token may not read.
            searched_to: page
                .searched_to
                .filter(|_| query.visible.is_every())
                .map(clock::rfc3339),
            next_cursor: page
                .next
                .map(|last| Cursor::new(&query, last, base).to_text()),
        })
    })
    .await?;
    Ok((vary, answer).into_response())
}
