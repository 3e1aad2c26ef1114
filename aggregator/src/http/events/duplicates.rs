//! `GET /duplicates`: the latest duplicates, and the identities that are repeated most often.

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
            access::Caller,
            paging::{self, SinglePageRefusals, Whole, limit},
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

/// Duplicates of a topic, or of all topics.
#[derive(Debug, Serialize, ToSchema)]
pub struct Duplicates {
    /// The number of all duplicates ever received, of the topic or of all topics; null if they would have to be counted, because
    /// the token is for too many topics.
    #[schema(required)]
    total: Option<u64>,
    /// The lists below cover the duplicates since this time: the start of the process or, with a store in a database, the time from
    /// which all are among the latest 100,000 of all topics.
    #[schema(format = DateTime)]
    since: String,
    /// The latest duplicates, newest first.
    recent: Vec<RecentDuplicate>,
    /// The most repeated identities, most repeats first. Their counts are exact if both bounds are equal, as with a store in a database,
    /// or with up to 10,000 duplicates of all topics since then, unless a commit that was reported as failed took effect.
    often: Vec<RepeatedIdentity>,
    #[schema(required)]
    filtered_by_topic: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RecentDuplicate {
    topic: String,
    event_id: String,
    /// The source of the duplicate.
    source: String,
    #[schema(format = DateTime)]
    processed_at: String,
    /// Whether it differs from the stored event.
    conflict: bool,
    /// The sequence of the stored event.
    stored_sequence: i64,
    stream_sequence: u64,
    position: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct RepeatedIdentity {
    topic: String,
    event_id: String,
    stored_sequence: i64,
    /// Lower bound on the number of its duplicates.
    at_least: u64,
    /// Upper bound on the number of its duplicates.
    at_most: u64,
}

parameters! {
    /// The parameters of `GET /duplicates`.
    OfDuplicates = [
        parameters::query("topic", "Only duplicates of this topic.").schema(Some(name())),
        limit(),
    ];
}

/// Lists the latest duplicates, of a topic or of all topics.
#[utoipa::path(
    get,
    path = "/duplicates",
    tag = "events",
    params(OfDuplicates),
    responses((status = OK, body = Duplicates), SinglePageRefusals)
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &["topic", "limit"])?;
    let topic = query.topic()?.map(|topic| topic.to_string());
    let limit = query.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?;
    let visible = caller.visible(&topic)?;
    paging::answer(&api.permits, async |room| {
        let known = api
            .reader
            .duplicates(topic.clone(), visible.clone(), limit)
            .await;
        let known = known.map_err(|err| Problem::internal(&err))?;
        let share = room.bytes() / 2;
        let (recent, recent_cut) = within(share, known.recent.into_iter().map(recent));
        let (often, often_cut) = within(share, known.often.into_iter().map(repeated));
        let duplicates = Duplicates {
            total: known.total,
            since: clock::rfc3339(known.since.unwrap_or(api.process.started_at)),
            recent,
            often,
            filtered_by_topic: topic.clone(),
        };
        Ok(Whole::of(&duplicates, room).cut(recent_cut || often_cut))
    })
    .await
}

/// The first items whose total size as JSON is at most `bytes`, and whether others were left out.
fn within<T: Serialize>(bytes: usize, items: impl Iterator<Item = T>) -> (Vec<T>, bool) {
    let (mut taken, mut left) = (Vec::new(), bytes);
    for item in items {
        let size = serde_json::to_vec(&item)
            .expect("strings and numbers are JSON")
            .len();
        let Some(less) = left.checked_sub(size + 1) else {
            return (taken, true);
        };
        left = less;
        taken.push(item);
    }
    (taken, false)
}

fn recent(duplicate: query::Duplicate) -> RecentDuplicate {
    RecentDuplicate {
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

fn repeated(repeated: query::RepeatedIdentity) -> RepeatedIdentity {
    RepeatedIdentity {
        topic: repeated.topic,
        event_id: repeated.event_id,
        stored_sequence: repeated.stored,
        at_least: repeated.least,
        at_most: repeated.most,
    }
}
