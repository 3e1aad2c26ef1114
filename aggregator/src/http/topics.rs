//! `GET /topics`: exact counts for each topic.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::Serialize;

use super::{Api, page, problem::Problem, query::Query};
use crate::{clock, store::reader::TopicCounts};

/// A page of topics in the order of their names' bytes.
#[derive(Debug, Serialize)]
pub struct Page {
    topics: Vec<Shown>,
    total: u64,
    /// The last name shown, where there are more; the next page has the names after it.
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown {
    topic: String,
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    first_at: String,
    last_at: String,
}

/// Lists topics.
pub async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page>, Problem> {
    let query = Query::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = query.limit(page::DEFAULT_LIMIT, page::MAX_LIMIT)?;
    let after = query.text("cursor").map(str::to_owned);
    let page = api.reader.topics(after, limit).await;
    let page = page.map_err(|err| Problem::internal(&err))?;
    Ok(Json(Page {
        topics: page.topics.into_iter().map(shown).collect(),
        total: page.total,
        next_cursor: page.next,
    }))
}

fn shown(counts: TopicCounts) -> Shown {
    Shown {
        topic: counts.name,
        received: counts.received,
        unique_processed: counts.unique_processed,
        duplicate_dropped: counts.duplicate_dropped,
        first_at: clock::rfc3339(counts.first_at),
        last_at: clock::rfc3339(counts.last_at),
    }
}
