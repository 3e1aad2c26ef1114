//! `GET /duplicates`: the latest duplicates, and the identities that came again most often.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            paging::{self, AskedOnce, Whole, limit},
            problem::Problem,
            query::Query,
        },
        openapi::{
            parameters::{self, parameters},
            schemas::name,
        },
    },
    store::query,
};

/// What is known of duplicates.
#[derive(Debug, Serialize, ToSchema)]
pub struct Duplicates {
    /// All that ever came, of the topic or of all.
    total: u64,
    /// Memory knows those that came since then.
    #[schema(format = DateTime)]
    since: String,
    /// The latest first.
    recent: Vec<Recent>,
    /// Those that came most often first.
    often: Vec<Often>,
    #[schema(required)]
    filtered_by_topic: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecentDuplicate)]
struct Recent {
    topic: String,
    event_id: String,
    /// Who sent it again.
    source: String,
    #[schema(format = DateTime)]
    processed_at: String,
    /// Whether it differs from what is stored.
    conflict: bool,
    /// The event that was there first.
    stored_sequence: i64,
    stream_sequence: u64,
    position: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OftenRepeated)]
struct Often {
    topic: String,
    event_id: String,
    stored_sequence: i64,
    /// It came again at least so often.
    at_least: u64,
    at_most: u64,
}

parameters! {
    /// Of `GET /duplicates`.
    OfDuplicates = [
        parameters::query("topic", "Of this topic.").schema(Some(name())),
        limit(),
    ];
}

/// Lists duplicates of a topic, or of all, that came since the start.
#[utoipa::path(
    get,
    path = "/duplicates",
    tag = "events",
    params(OfDuplicates),
    responses((status = OK, body = Duplicates), AskedOnce)
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &["topic", "limit"])?;
    let topic = query.topic()?.map(|topic| topic.to_string());
    let limit = query.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?;
    paging::answer(&api.places, async |room| {
        let known = api.reader.duplicates(topic.clone(), limit).await;
        let known = known.map_err(|err| Problem::internal(&err))?;
        let share = room.bytes() / 2;
        let (recent, recent_cut) = within(share, known.recent.into_iter().map(recent));
        let (often, often_cut) = within(share, known.often.into_iter().map(often));
        let duplicates = Duplicates {
            total: known.total,
            since: clock::rfc3339(api.process.started_at),
            recent,
            often,
            filtered_by_topic: topic.clone(),
        };
        Ok(Whole::of(&duplicates, room).cut(recent_cut || often_cut))
    })
    .await
}

/// The first items that have no more bytes together as JSON, and whether there were others.
fn within<T: Serialize>(bytes: usize, items: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let (mut taken, mut left) = (Vec::new(), bytes);
    for item in items {
        let size = serde_json::to_vec(&item)
            .expect("texts and numbers are JSON")
            .len();
        let Some(less) = left.checked_sub(size + 1) else {
            return (taken, true);
        };
        left = less;
        taken.push(item);
    }
    (taken, false)
}

fn recent(duplicate: query::Duplicate) -> Recent {
    Recent {
        topic: duplicate.topic,
        event_id: duplicate.event_id,
        source: duplicate.source,
        processed_at: clock::rfc3339(duplicate.processed_at),
        conflict: duplicate.is_conflict,
        stored_sequence: duplicate.stored,
        stream_sequence: duplicate.stream_sequence,
        position: duplicate.position,
    }
}

fn often(often: query::RepeatedIdentity) -> Often {
    Often {
        topic: often.topic,
        event_id: often.event_id,
        stored_sequence: often.stored,
        at_least: often.least,
        at_most: often.most,
    }
}
