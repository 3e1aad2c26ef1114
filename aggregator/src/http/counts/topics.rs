//! `GET /topics`: exact counts for each topic.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use serde::Serialize;
use shared::event::Code;
use utoipa::{
    ToSchema,
    openapi::schema::{ObjectBuilder, Type},
};

use crate::{
    clock,
    http::{
        api::Api,
        edge::{
            access::Caller,
            paging::{self, PagedRefusals, Whole, limit},
            problem::Problem,
            query::Query,
        },
        openapi::{
            parameters::{self, parameters},
            schemas::{name, text},
        },
    },
    store::query::{TopicCounts, TopicQuery, TopicSort, Window},
};

/// The minutes of `recent`.
const RECENT_MINUTES: i64 = 30;

/// A page of topics.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicPage)]
pub struct TopicsPage {
    topics: Vec<TopicView>,
    /// Number of all topics that the token may read, regardless of the parameters; null if it may not read every topic and they could
    /// not all be counted in time, or `topic` is given.
    #[schema(required)]
    total: Option<u64>,
    /// Set if topics are sorted by ascending name and there are more: the last name on this page. The next page has the names
    /// after it.
    #[schema(required)]
    next_cursor: Option<String>,
    /// Present only if true: not all topics could be scanned in time, and others may belong before those listed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicCounts)]
struct TopicView {
    topic: String,
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    #[schema(format = DateTime)]
    first_at: String,
    #[schema(format = DateTime)]
    last_at: String,
    /// Only with `recent=true`: the events received in each of the last 30 minutes, oldest first. The last number is that of
    /// the current minute so far. Absent for topics after the first 10,000 of the store, which are not counted over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 30, max_items = 30)]
    recent: Option<Vec<u64>>,
}

parameters! {
    /// The parameters of `GET /topics`.
    OfTopics = [
        parameters::query("topic", "Only the topic with exactly this name.").schema(Some(name())),
        parameters::query("contains", "Only topics whose name contains this text.").schema(Some(text().min_length(Some(1)))),
        parameters::query("sort", "The value to sort by.").schema(Some(
            text().enum_values(Some(SORTS.map(|(name, _)| name))).default(Some("topic".into())),
        )),
        parameters::query("order", "asc or desc. By default names ascend and all other values descend.")
            .schema(Some(text().enum_values(Some(["asc", "desc"])))),
        limit(),
        parameters::query("cursor", "next_cursor of the previous page. Only topics sorted by ascending name have pages.")
            .schema(Some(text())),
        parameters::query("recent", "Whether each topic has the number of events received in each of the last 30 minutes.")
            .schema(Some(ObjectBuilder::new().schema_type(Type::Boolean).default(Some(false.into())))),
    ];
}

/// Lists topics by name, or by the value that the parameter `sort` selects.
#[utoipa::path(
    get,
    path = "/topics",
    tag = "counts",
    params(OfTopics),
    responses((status = OK, body = TopicsPage), PagedRefusals)
)]
pub async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let known = [
        "topic", "contains", "sort", "order", "limit", "cursor", "recent",
    ];
    let query = Query::parse(query.as_deref(), &known)?;
    let limit = query.limit(paging::DEFAULT_LIMIT, paging::MAX_LIMIT)?;
    let topics = topic_query(&caller, &query, api.reader.clock().now())?;
    paging::answer(&api.permits, async |room| {
        let page = api.reader.topics(topics.clone(), limit).await;
        let page = page.map_err(|err| Problem::internal(&err))?;
        let page = TopicsPage {
            topics: page.topics.into_iter().map(view).collect(),
            total: page.total,
            next_cursor: page.next,
            partial: page.is_partial,
        };
        Ok(Whole::of(&page, room))
    })
    .await
}

/// The values to sort by, as the response names them, and the share of duplicates.
pub const SORTS: [(&str, TopicSort); 7] = [
    ("topic", TopicSort::Name),
    ("received", TopicSort::Received),
    ("unique_processed", TopicSort::Unique),
    ("duplicate_dropped", TopicSort::Duplicates),
    ("duplicate_share", TopicSort::DuplicateShare),
    ("first_at", TopicSort::First),
    ("last_at", TopicSort::Last),
];

fn topic_query(caller: &Caller, parameters: &Query, now: i64) -> Result<TopicQuery, Problem> {
    let sort = match parameters.text("sort") {
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
    let name = parameters.topic()?.map(|topic| topic.to_string());
    let query = TopicQuery {
        visible: caller.visible(&name)?,
        name,
        contains: parameters.filled("contains")?.unwrap_or_default(),
        sort,
        // The largest counts are usually the interesting ones.
        is_descending: parameters.is_descending(sort != TopicSort::Name)?,
        after: parameters.text("cursor").map(str::to_owned),
        recent: parameters
            .flag("recent", false)?
            .then(|| Window::last_minutes(RECENT_MINUTES, now)),
    };
    if query.after.is_some() && !query.is_paged() {
        let message = "is allowed only with topics sorted by ascending name".to_owned();
        return Err(Problem::invalid_query("cursor", Code::OutOfRange, message));
    }
    if query.name.is_some() && (query.after.is_some() || !query.contains.is_empty()) {
        let message = "is allowed only without contains and cursor".to_owned();
        return Err(Problem::invalid_query("topic", Code::OutOfRange, message));
    }
    Ok(query)
}

fn view(counts: TopicCounts) -> TopicView {
    TopicView {
        topic: counts.name,
        received: counts.received,
        unique_processed: counts.unique_processed,
        duplicate_dropped: counts.duplicate_dropped,
        first_at: clock::rfc3339(counts.first_at),
        last_at: clock::rfc3339(counts.last_at),
        recent: (!counts.recent.is_empty()).then_some(counts.recent),
    }
}
