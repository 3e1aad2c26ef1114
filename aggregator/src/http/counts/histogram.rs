//! `GET /histogram`: the events of a time range, counted by the time at which they were processed.

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
            access::Caller,
            paging::{self, Whole},
            problem::Problem,
            query::{Query, unknown_parameter},
        },
        events::filter::{self, Topics},
        openapi::{
            parameters::{self, parameters},
            refusals::{problems, refusals},
            schemas::time_or_relative,
        },
    },
    store::query::{Bucket, Histogram, HistogramQuery, NoHistogram, TOPICS_KEPT},
};

/// The events of a time range, in buckets of equal length.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Histogram)]
pub struct HistogramView {
    /// When the first bucket begins.
    #[schema(format = DateTime)]
    since: String,
    /// When the last bucket ends, which may be later than now.
    #[schema(format = DateTime)]
    until: String,
    /// The length of a bucket.
    step_seconds: i64,
    /// When the store began to count over time; null if it always has. Buckets that begin earlier are left out.
    #[schema(required)]
    #[schema(format = DateTime)]
    counted_since: Option<String>,
    #[schema(required)]
    filtered_by_topic: Option<Topics>,
    /// Present only if true: without `topic`, and with a token that may not read every topic, the events of some that it may read are
    /// left out, because they are not among the first 10,000 of the store, or there was no time to add up all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
    /// In order of time, without gaps; at most 120.
    buckets: Vec<BucketView>,
}

/// The events of one bucket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bucket)]
struct BucketView {
    /// When the bucket begins.
    #[schema(format = DateTime)]
    at: String,
    stored: u64,
    duplicates: u64,
    /// Absent in a histogram of topics, because a rejected arrival has no topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rejected: Option<u64>,
}

const PARAMETERS: [&str; 3] = ["topic", "since", "until"];

/// Maximum number of topics in one query: each takes a lookup for each bucket.
const MAX_TOPICS: usize = 10;

parameters! {
    /// The parameters of `GET /histogram`.
    OfHistogram = [
        filter::topic_parameter(MAX_TOPICS).description(Some("Only events of this topic, which must be one of the first 10,000 of the store; can be repeated for the sum of several.")),
        parameters::query("since", "The beginning: RFC 3339, or relative to the time of the request, such as -15m, -2h or -7d; by default an hour before the end. It is rounded down to the beginning of a bucket.")
            .schema(Some(time_or_relative())),
        parameters::query("until", "The end, by default now. It is rounded up to the end of a bucket.")
            .schema(Some(time_or_relative())),
    ];
}

refusals! {
    /// The refusals of `GET /histogram`.
    HistogramRefusals = problems([
        unknown_parameter(&PARAMETERS),
        Problem::store_unreadable(),
    ]);
}

/// Counts the events of a time range by the time at which they were processed. The length of a bucket, from a minute to 30
/// days, is the shortest that needs at most 120 buckets; for times more than 7 days ago it is at least an hour. Only the first
/// 10,000 topics of a store are counted over time.
#[utoipa::path(
    get,
    path = "/histogram",
    tag = "counts",
    params(OfHistogram),
    responses((status = OK, body = HistogramView), HistogramRefusals)
)]
pub async fn histogram(
    State(api): State<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse_many(query.as_deref(), &PARAMETERS, |name| name == "topic")?;
    let query = selected(&caller, &query, api.reader.clock().now())?;
    paging::answer(&api.permits, async |room| {
        let histogram = api.reader.histogram(query.clone()).await;
        let histogram = histogram.map_err(|err| Problem::internal(&err))?;
        let Histogram {
            window,
            counted_since,
            is_partial,
            buckets,
        } = match histogram {
            Ok(histogram) if histogram.window.since() >= clock::EARLIEST => histogram,
            Ok(_) | Err(NoHistogram::WrongSpan) => return Err(wrong_span()),
            Err(NoHistogram::NotCounted) => return Err(not_counted()),
        };
        let has_rejected = query.topics.is_empty() && query.visible.is_every();
        let bucket = |bucket: Bucket| BucketView {
            at: clock::rfc3339(bucket.at),
            stored: bucket.unique,
            duplicates: bucket.duplicates,
            rejected: has_rejected.then_some(bucket.rejected),
        };
        let view = HistogramView {
            since: clock::rfc3339(window.since()),
            until: clock::rfc3339(window.until()),
            step_seconds: window.step_seconds(),
            counted_since: counted_since.map(clock::rfc3339),
            filtered_by_topic: Topics::of(&query.topics),
            partial: is_partial,
            buckets: buckets.into_iter().map(bucket).collect(),
        };
        Ok(Whole::of(&view, room))
    })
    .await
}

const MICROS_PER_HOUR: i64 = 3_600 * 1_000_000;

fn selected(caller: &Caller, parameters: &Query, now: i64) -> Result<HistogramQuery, Problem> {
    let until = parameters.time("until", now)?.unwrap_or(now);
    let since = parameters.time("since", now)?;
    let topics = filter::topics(parameters, MAX_TOPICS)?;
    Ok(HistogramQuery {
        visible: caller.visible(&topics)?,
        topics,
        since: since.unwrap_or(until.min(now) - MICROS_PER_HOUR),
        until,
        now,
    })
}

fn not_counted() -> Problem {
    let message =
        format!("is not counted over time: only the first {TOPICS_KEPT} topics of the store are");
    Problem::invalid_query("topic", Code::OutOfRange, message)
}

fn wrong_span() -> Problem {
    let message = "must be earlier than until, by at most 9 years".to_owned();
    Problem::invalid_query("since", Code::OutOfRange, message)
}
