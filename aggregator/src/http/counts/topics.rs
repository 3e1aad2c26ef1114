//! `GET /topics`: exact counts for each topic.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use shared::event::Code;
use utoipa::ToSchema;

use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            paging::{self, PagedRefusals, Whole, limit},
            problem::Problem,
            query::Query,
        },
        openapi::{
            parameters::{self, parameters},
            schemas::text,
        },
    },
    store::query::{TopicCounts, TopicQuery, TopicSort},
};

/// A page of topics.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicPage)]
pub struct Page {
    topics: Vec<Shown>,
    /// How many there are in all, whatever is asked for.
    total: u64,
    /// By ascending names, where there are more: the last name shown, and the next page has the names after it.
    #[schema(required)]
    next_cursor: Option<String>,
    /// There only where it is true: not all topics could be looked at in time, and others may belong before those shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicCounts)]
struct Shown {
    topic: String,
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    #[schema(format = DateTime)]
    first_at: String,
    #[schema(format = DateTime)]
    last_at: String,
}

parameters! {
    /// Of `GET /topics`.
    OfTopics = [
        parameters::query("contains", "With this text in the name.").schema(Some(text().min_length(Some(1)))),
        parameters::query("sort", "What they are sorted by.").schema(Some(
            text().enum_values(Some(SORTS.map(|(name, _)| name))).default(Some("topic".into())),
        )),
        parameters::query("order", "asc or desc. Left out, names ascend and all else descends.")
            .schema(Some(text().enum_values(Some(["asc", "desc"])))),
        limit(),
        parameters::query("cursor", "next_cursor of the page before. There are pages by ascending names only.")
            .schema(Some(text())),
    ];
}

/// Lists topics: by name, or by what the parameter `sort` says.
#[utoipa::path(
    get,
    path = "/topics",
    tag = "counts",
    params(OfTopics),
    responses((status = OK, body = Page), PagedRefusals)
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known = ["contains", "sort", "order", "limit", "cursor"];
    let query = Query::parse(query.as_deref(), &known)?;
    let limit = query.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?;
    let question = question(&query)?;
    paging::answer(&api.permits, async |room| {
        let page = api.reader.topics(question.clone(), limit).await;
        let page = page.map_err(|err| Problem::internal(&err))?;
        let page = Page {
            topics: page.topics.into_iter().map(shown).collect(),
            total: page.total,
            next_cursor: page.next,
            partial: page.is_partial,
        };
        Ok(Whole::of(&page, room))
    })
    .await
}

/// What can be sorted by, as the answer names it, and the share of duplicates.
pub const SORTS: [(&str, TopicSort); 7] = [
    ("topic", TopicSort::Name),
    ("received", TopicSort::Received),
    ("unique_processed", TopicSort::Unique),
    ("duplicate_dropped", TopicSort::Duplicates),
    ("duplicate_share", TopicSort::DuplicateShare),
    ("first_at", TopicSort::First),
    ("last_at", TopicSort::Last),
];

fn question(query: &Query) -> Result<TopicQuery, Problem> {
    let sort = match query.text("sort") {
        None => TopicSort::Name,
        Some(text) => {
            let known = SORTS.iter().find(|(name, _)| *name == text);
            known.map(|(_, sort)| *sort).ok_or_else(|| {
                let names = SORTS.map(|(name, _)| name).join(", ");
                let message = format!("must be one of {names}");
                Problem::invalid_query("sort", Code::OutOfRange, message)
            })?
        }
    };
    let question = TopicQuery {
        contains: query.filled("contains")?.unwrap_or_default(),
        sort,
        // The largest counts are what people look for.
        is_descending: query.is_descending(sort != TopicSort::Name)?,
        after: query.text("cursor").map(str::to_owned),
    };
    if question.after.is_some() && !question.is_paged() {
        let message = "goes on by ascending names only".to_owned();
        return Err(Problem::invalid_query("cursor", Code::OutOfRange, message));
    }
    Ok(question)
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
