//! The counts over time: those of all topics from the rows of `minutes`, those of single topics from `topic_minutes`.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use deadpool_postgres::Client;
use tokio_postgres::Row;

use super::{SCAN_ROWS, SCAN_TIME, text};
use crate::store::{
    StoreError,
    postgres::lives::unsigned,
    query::{
        Bucket, Histogram, HistogramQuery, MICROS_PER_MINUTE, NoHistogram, TOPICS_KEPT,
        TopicCounts, Visible, Window,
    },
};

/// Topics that are added up at once.
const TOPICS: usize = if cfg!(test) { 1 } else { 20 };

const LATEST: &str = "SELECT coalesce(max(processed_at), 0) FROM counters";

const OF_ALL: &str = "SELECT minute, sum(unique_processed)::bigint, sum(duplicate_dropped)::bigint, sum(rejected)::bigint FROM minutes \
     WHERE minute >= $1 AND minute < $2 GROUP BY minute ORDER BY minute";

const OF_TOPICS: &str = "SELECT minute, sum(unique_processed)::bigint, sum(duplicate_dropped)::bigint, 0::bigint FROM topic_minutes \
     WHERE topic = ANY ($3) AND minute >= $1 AND minute < $2 GROUP BY minute ORDER BY minute";

const RECEIVED: &str = "SELECT topic, minute, sum(unique_processed + duplicate_dropped)::bigint FROM topic_minutes \
     WHERE topic = ANY ($3) AND minute >= $1 AND minute < $2 GROUP BY topic, minute";

/// What is known of the count of topics over time.
struct Counting {
    /// Whether there is no room for more topics.
    is_full: bool,
    /// When it began, in microseconds since 1970; `None` for always.
    since: Option<i64>,
}

impl Counting {
    async fn read(client: &Client) -> Result<Self, StoreError> {
        let statement = client
            .prepare_cached("SELECT topics, since FROM topic_counting")
            .await?;
        let row = client.query_one(&statement, &[]).await?;
        let (topics, since): (i32, i64) = (row.get(0), row.get(1));
        Ok(Self {
            is_full: i64::from(topics) >= TOPICS_KEPT,
            since: (since > 0).then_some(since),
        })
    }
}

/// The histogram that a query selects.
pub(super) async fn histogram(
    client: &Client,
    query: &HistogramQuery,
) -> Result<Result<Histogram, NoHistogram>, StoreError> {
    // Minutes are added to their hours by the time of the latest batch, which may be of a clock that is ahead.
    let statement = client.prepare_cached(LATEST).await?;
    let latest: i64 = client.query_one(&statement, &[]).await?.get(0);
    let Some(window) = Window::new(query.since, query.until, query.now.max(latest)) else {
        return Ok(Err(NoHistogram::WrongSpan));
    };
    let mut histogram = Histogram {
        window,
        counted_since: None,
        is_partial: false,
        buckets: empty(window),
    };
    if query.topics.is_empty() && query.visible.is_every() {
        let (first, end) = span(window);
        let statement = client.prepare_cached(OF_ALL).await?;
        let rows = client.query(&statement, &[&first, &end]).await?;
        add(&mut histogram, &rows);
        return Ok(Ok(histogram));
    }
    let counting = Counting::read(client).await?;
    let topics = if query.topics.is_empty() {
        let topics = visible(client, &query.visible).await?;
        histogram.is_partial =
            counting.is_full && has_others(client, &query.visible, &topics).await?;
        topics
    } else {
        if counting.is_full && !are_counted(client, &query.topics).await? {
            return Ok(Err(NoHistogram::NotCounted));
        }
        query.topics.clone()
    };
    let began = Instant::now();
    for topics in topics.chunks(TOPICS) {
        // Those that a client names are few.
        if query.topics.is_empty() && began.elapsed() > SCAN_TIME {
            histogram.is_partial = true;
            break;
        }
        let (first, end) = span(window);
        let topics: Vec<&[u8]> = topics.iter().map(String::as_bytes).collect();
        let statement = client.prepare_cached(OF_TOPICS).await?;
        let rows = client.query(&statement, &[&first, &end, &topics]).await?;
        add(&mut histogram, &rows);
    }
    histogram.counted_since = counting.since;
    let since = counting.since.unwrap_or(i64::MIN);
    histogram.buckets.retain(|bucket| since <= bucket.at);
    Ok(Ok(histogram))
}

/// The first minute of a window, and the one after its last.
fn span(window: Window) -> (i64, i64) {
    (window.first(), window.bounds().last().unwrap_or_default())
}

fn empty(window: Window) -> Vec<Bucket> {
    let mut starts: Vec<_> = window.bounds().collect();
    starts.pop();
    let bucket = |start| Bucket {
        at: start * MICROS_PER_MINUTE,
        unique: 0,
        duplicates: 0,
        rejected: 0,
    };
    starts.into_iter().map(bucket).collect()
}

/// Adds the counts of minutes, each to the last bucket that does not begin after it.
fn add(histogram: &mut Histogram, minutes: &[Row]) {
    for row in minutes {
        let at = row.get::<_, i64>(0) * MICROS_PER_MINUTE;
        let buckets = &mut histogram.buckets;
        let after = buckets.partition_point(|bucket| bucket.at <= at);
        if let Some(bucket) = after
            .checked_sub(1)
            .and_then(|index| buckets.get_mut(index))
        {
            bucket.unique += unsigned(row.get(1));
            bucket.duplicates += unsigned(row.get(2));
            bucket.rejected += unsigned(row.get(3));
        }
    }
}

/// Those of some topics that are counted.
async fn counted(client: &Client, topics: &[&[u8]]) -> Result<HashSet<Vec<u8>>, StoreError> {
    let statement = client
        .prepare_cached("SELECT topic FROM counted_topics WHERE topic = ANY ($1)")
        .await?;
    let rows = client.query(&statement, &[&topics]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether all of these topics are counted that have events.
async fn are_counted(client: &Client, topics: &[String]) -> Result<bool, StoreError> {
    let topics: Vec<&[u8]> = topics.iter().map(String::as_bytes).collect();
    let counted = counted(client, &topics).await?;
    let others: Vec<&[u8]> = topics
        .into_iter()
        .filter(|topic| !counted.contains(*topic))
        .collect();
    let statement = client
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM topics WHERE topic = ANY ($1))")
        .await?;
    let row = client.query_one(&statement, &[&others]).await?;
    Ok(!row.get::<_, bool>(0))
}

/// The counted topics that are visible.
async fn visible(client: &Client, visible: &Visible) -> Result<Vec<String>, StoreError> {
    let statement = client
        .prepare_cached("SELECT topic FROM counted_topics ORDER BY number")
        .await?;
    let mut topics = Vec::new();
    for row in client.query(&statement, &[]).await? {
        let topic = text(row.get(0))?;
        if visible.includes(&topic) {
            topics.push(topic);
        }
    }
    Ok(topics)
}

/// Whether other topics are visible than those that are counted, or may be: names are read for a limited time.
async fn has_others(
    client: &Client,
    visible: &Visible,
    counted: &[String],
) -> Result<bool, StoreError> {
    let counted: HashSet<&str> = counted.iter().map(String::as_str).collect();
    let statement = client
        .prepare_cached(
            "SELECT DISTINCT topic FROM topics WHERE topic > $1 ORDER BY topic LIMIT $2",
        )
        .await?;
    let (began, mut read, mut after) = (Instant::now(), 0, Vec::<u8>::new());
    loop {
        let rows = client.query(&statement, &[&after, &super::CHUNK]).await?;
        for row in &rows {
            after = row.get(0);
            let topic = text(row.get(0))?;
            if visible.includes(&topic) && !counted.contains(topic.as_str()) {
                return Ok(true);
            }
        }
        read += rows.len() as u64;
        if rows.len() as u64 != super::CHUNK.unsigned_abs() {
            return Ok(false);
        }
        if read > SCAN_ROWS || began.elapsed() > SCAN_TIME {
            return Ok(true);
        }
    }
}

/// Gives each topic of a page its events received in each minute of a window: 0 for minutes before the count began, nothing if it is not
/// counted over time.
pub(super) async fn recent(
    client: &Client,
    topics: &mut [TopicCounts],
    window: Window,
) -> Result<(), StoreError> {
    let counting = Counting::read(client).await?;
    let names: Vec<&[u8]> = topics.iter().map(|topic| topic.name.as_bytes()).collect();
    let counted = counted(client, &names).await?;
    let (first, end) = span(window);
    let since = counting.since.map_or(i64::MIN, |since| {
        (since - 1).div_euclid(MICROS_PER_MINUTE) + 1
    });
    let statement = client.prepare_cached(RECEIVED).await?;
    let rows = client
        .query(&statement, &[&first.max(since), &end, &names])
        .await?;
    let mut received: HashMap<Vec<u8>, Vec<u64>> = HashMap::new();
    let minutes = usize::try_from(end - first).unwrap_or(0);
    for row in &rows {
        let counts = received
            .entry(row.get(0))
            .or_insert_with(|| vec![0; minutes]);
        let minute = usize::try_from(row.get::<_, i64>(1) - first).ok();
        if let Some(count) = minute.and_then(|minute| counts.get_mut(minute)) {
            *count += unsigned(row.get(2));
        }
    }
    for topic in topics {
        let name = topic.name.as_bytes();
        topic.recent = match received.remove(name) {
            Some(counts) => counts,
            // One that is not counted though there is room has had no events since the count began.
            None if counted.contains(name) || !counting.is_full => vec![0; minutes],
            None => Vec::new(),
        };
    }
    Ok(())
}
