//! `GET /conflicts`: duplicates whose content differs from the stored event, each with the stored event.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::OfConflicts;
use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            access::Caller,
            paging::{self, PagedRefusals, Row, Rows},
            problem::Problem,
            query::Query,
        },
        events::view::{self, EventView},
    },
    store::{StoreError, query::Conflict},
};

/// A page of conflicts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConflictPage)]
struct ConflictsPage {
    conflicts: Vec<ConflictView>,
    /// Number of all conflicts ever detected; null with a token that may not read every topic.
    #[schema(required)]
    total: Option<u64>,
    /// Number of conflicts that are no longer kept; null likewise.
    #[schema(required)]
    evicted: Option<u64>,
    #[schema(required)]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Conflict)]
struct ConflictView {
    id: i64,
    /// The event stored first, which `GET /events` returns.
    stored: EventView,
    /// The timestamp of the later event with the same identity. The following members are also of that event.
    #[schema(format = DateTime)]
    timestamp: String,
    /// Present only if the timestamp was filled in on arrival.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    timestamp_filled: bool,
    source: String,
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
    subject: String,
    stream_sequence: u64,
    position: u64,
    #[schema(format = DateTime)]
    processed_at: String,
    /// The name of the token that it was sent with. Only for `admin`, and not of events that were published over NATS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sent_by: Option<String>,
}

/// Lists the kept conflicts, latest first.
#[utoipa::path(
    get,
    path = "/conflicts",
    tag = "kept",
    params(OfConflicts),
    responses((status = OK, body = ConflictsPage), PagedRefusals)
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let parameters = ["topic", "event_id", "since", "until", "limit", "cursor"];
    let parameters = Query::parse(query.as_deref(), &parameters)?;
    let limit = parameters.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?;
    let query = super::selected(&caller, &parameters, api.reader.clock().now())?;
    let render = if caller.grant.admin {
        render::<true>
    } else {
        render::<false>
    };
    paging::answer(&api.permits, async |room| {
        let rows = Rows::items(room, render);
        let rows = api.reader.conflicts(query.clone(), limit, rows).await;
        let rows = rows.map_err(|err| Problem::internal(&err))?;
        rows.rows.page(&ConflictsPage {
            conflicts: Vec::new(),
            total: rows.total,
            evicted: rows.evicted,
            next_cursor: rows.next.map(|id| id.to_string()),
        })
    })
    .await
}

fn render<const IS_ADMIN: bool>(row: Conflict, to: &mut Row) -> Result<(), StoreError> {
    serde_json::to_writer(to, &view(row, IS_ADMIN)?).expect("strings and JSON values are JSON");
    Ok(())
}

fn view(row: Conflict, is_admin: bool) -> Result<ConflictView, StoreError> {
    Ok(ConflictView {
        id: row.id,
        stored: view::view(row.stored)?,
        timestamp: row.timestamp,
        timestamp_filled: row.timestamp_filled,
        source: row.source,
        payload: view::raw(row.payload)?,
        subject: row.subject,
        stream_sequence: row.stream_sequence,
        position: row.position,
        processed_at: clock::rfc3339(row.processed_at),
        sent_by: row.sent_by.filter(|_| is_admin),
    })
}
