//! The counts over time, from the rows of `minutes`, which count all topics together.

use deadpool_postgres::Client;

use crate::store::{
    StoreError,
    postgres::lives::unsigned,
    query::{Bucket, Histogram, HistogramQuery, MICROS_PER_MINUTE, NoHistogram, Window},
};

/// The events of all topics over time; those of given topics are not counted.
pub(super) async fn histogram(
    client: &Client,
    query: &HistogramQuery,
) -> Result<Result<Histogram, NoHistogram>, StoreError> {
    if !query.topics.is_empty() || !query.visible.is_every() {
        return Err(StoreError::NotYet("the histogram of some topics"));
    }
    let Some(window) = Window::new(query.since, query.until, query.now) else {
        return Ok(Err(NoHistogram::WrongSpan));
    };
    let bounds: Vec<i64> = window.bounds().collect();
    let statement = client
        .prepare_cached(
            "SELECT minute, sum(unique_processed)::bigint, sum(duplicate_dropped)::bigint, sum(rejected)::bigint FROM minutes \
             WHERE minute >= $1 AND minute < $2 GROUP BY minute ORDER BY minute",
        )
        .await?;
    let (first, end) = (window.first(), bounds.last().copied().unwrap_or_default());
    let rows = client.query(&statement, &[&first, &end]).await?;
    let mut rows = rows.iter().peekable();
    let mut buckets = Vec::with_capacity(bounds.len());
    for pair in bounds.windows(2) {
        let mut bucket = Bucket {
            at: pair[0] * MICROS_PER_MINUTE,
            unique: 0,
            duplicates: 0,
            rejected: 0,
        };
        while let Some(row) = rows.next_if(|row| row.get::<_, i64>(0) < pair[1]) {
            bucket.unique += unsigned(row.get(1));
            bucket.duplicates += unsigned(row.get(2));
            bucket.rejected += unsigned(row.get(3));
        }
        buckets.push(bucket);
    }
    Ok(Ok(Histogram {
        window,
        counted_since: None,
        is_partial: false,
        buckets,
    }))
}
