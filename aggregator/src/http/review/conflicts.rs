//! `GET /conflicts`: duplicates that are not what was stored, each beside what was.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::OfKept;
use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            paging::{self, PagedRefusals, Rows},
            problem::Problem,
            query::Query,
        },
        events::shown::{self, Shown as Event},
    },
    store::{StoreError, query::Conflict},
};

/// A page of conflicts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConflictPage)]
struct Page {
    conflicts: Vec<Shown>,
    /// That ever came.
    total: u64,
    /// These are not kept any more.
    evicted: u64,
    #[schema(required)]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Conflict)]
struct Shown {
    id: i64,
    /// What was there first, and is in `GET /events`.
    stored: Event,
    /// What came later under the same identity.
    #[schema(format = DateTime)]
    timestamp: String,
    /// There only where arrival filled in the timestamp.
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
}

/// Lists conflicts that are kept, the latest first.
#[utoipa::path(
    get,
    path = "/conflicts",
    tag = "kept",
    params(OfKept),
    responses((status = OK, body = Page), PagedRefusals)
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = query.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?;
    let before = paging::cursor(&query)?;
    paging::answer(&api.permits, async |room| {
        let rows = Rows::items(room, |row, to| {
            serde_json::to_writer(to, &shown(row)?).expect("texts and JSON are JSON");
            Ok(())
        });
        let rows = api.reader.conflicts(before, limit, rows).await;
        let rows = rows.map_err(|err| Problem::internal(&err))?;
        rows.rows.page(&Page {
            conflicts: Vec::new(),
            total: rows.total,
            evicted: rows.evicted,
            next_cursor: rows.next.map(|id| id.to_string()),
        })
    })
    .await
}

fn shown(row: Conflict) -> Result<Shown, StoreError> {
    Ok(Shown {
        id: row.id,
        stored: shown::shown(row.stored)?,
        timestamp: row.timestamp,
        timestamp_filled: row.timestamp_filled,
        source: row.source,
        payload: shown::raw(row.payload)?,
        subject: row.subject,
        stream_sequence: row.stream_sequence,
        position: row.position,
        processed_at: clock::rfc3339(row.processed_at),
    })
}
