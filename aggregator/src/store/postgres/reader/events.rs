//! Pages of events, and one event.

use std::pin::pin;

use deadpool_postgres::Client;
use futures::TryStreamExt;
use tokio_postgres::{Row, types::ToSql};

use super::{Budget, duplicates, in_stream, text};
use crate::store::{
    StoreError,
    matcher::Candidate,
    postgres::{
        lives::{signed, unsigned},
        writer::bytes_of,
    },
    query::{
        EventPage, EventQuery, Filter, FoundEvent, MICROS_PER_MINUTE, Order, PageBounds, Sink,
        StoredEvent,
    },
};

/// The columns that [`stored_from`] reads, of an event `e`.
pub(super) const COLUMNS: &str = "e.place, e.topic, e.event_id, e.\"timestamp\", e.timestamp_filled, e.source, e.payload, e.processed_at";

/// Events counted in the index.
const COUNTED: u64 = if cfg!(test) { 50 } else { 500_000 };

/// Events read to count those that a token may read.
const COUNTED_VISIBLE: u64 = if cfg!(test) { 20 } else { 20_000 };

/// Reads an event from the columns that begin with `first`.
pub(super) fn stored_from(row: &Row, first: usize) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        sequence: row.get(first),
        topic: text(row.get(first + 1))?,
        event_id: text(row.get(first + 2))?,
        timestamp: row.get(first + 3),
        timestamp_filled: row.get(first + 4),
        source: text(row.get(first + 5))?,
        payload: row.get(first + 6),
        processed_at: row.get(first + 7),
    })
}

fn stored(row: &Row) -> Result<StoredEvent, StoreError> {
    stored_from(row, 0)
}

/// A page of events. It ends early if the sink has no room for an event, or if it has scanned enough.
pub(super) async fn page<S: Sink<StoredEvent>>(
    client: &Client,
    query: &EventQuery,
    bounds: PageBounds,
    sink: S,
) -> Result<EventPage<S>, StoreError> {
    let is_counted = query.since.is_none() && query.until.is_none();
    let is_counted = is_counted && query.filter == Filter::default() && bounds.last == i64::MAX;
    // The end of an ascending page is not the end of what is counted.
    let is_counted = is_counted || query.order == Order::OldestFirst && query.is_whole();
    let mut page = EventPage {
        events: sink,
        total: None,
        next: None,
        searched_to: None,
    };
    if is_counted {
        page.total = total(client, query).await?;
    }
    let Some((mut after, mut upto)) = range(client, query, &bounds).await? else {
        return Ok(page);
    };
    let matcher = query.filter.matcher();
    let visible = (query.topics.is_empty() && !query.visible.is_every()).then_some(&query.visible);
    let is_filtered = matcher.is_some() || visible.is_some();
    let topics = padded(&query.topics);
    let is_newest_first = query.order == Order::NewestFirst;
    let sql = sql(topics.len(), is_newest_first);
    let statement = client.prepare_cached(&sql).await?;
    let (mut found, mut budget) = (0, Budget::of(is_filtered));
    let mut last: Option<(i64, i64)> = None;
    loop {
        let rows = budget.rows_at_once(bounds.limit - found);
        let since = query.since.unwrap_or(i64::MIN);
        let until = query.until.unwrap_or(i64::MAX);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&after, &upto, &since, &until, &rows];
        parameters.extend(topics.iter().map(|topic| topic as &(dyn ToSql + Sync)));
        let mut stream = pin!(client.query_raw(&statement, parameters).await?);
        let mut read = 0;
        while let Some(row) = stream.try_next().await? {
            read += 1;
            let is_full = found >= bounds.limit;
            if is_full || !budget.spend() {
                page.next = last.map(|(place, _)| place);
                if !is_full {
                    page.searched_to = last.map(|(_, stored_at)| stored_at);
                }
                return Ok(page);
            }
            let event = stored(&row)?;
            let place = (event.sequence, event.processed_at);
            let is_visible = visible.is_none_or(|visible| visible.includes(&event.topic));
            let is_match = is_visible
                && matcher.as_ref().is_none_or(|matcher| {
                    matcher.is_match(Candidate {
                        event_id: &event.event_id,
                        timestamp: &event.timestamp,
                        source: &event.source,
                        payload: &event.payload,
                    })
                });
            if is_match {
                if !page.events.take(event) {
                    page.next = last.map(|(place, _)| place);
                    return Ok(page);
                }
                found += 1;
            }
            last = Some(place);
        }
        if read < rows {
            return Ok(page);
        }
        if let Some((place, _)) = last {
            if is_newest_first {
                upto = place - 1;
            } else {
                after = place;
            }
        }
    }
}

/// The topics as parameters, filled up with NULL, which no event has: a power of two, so that each connection prepares few statements.
fn padded(topics: &[String]) -> Vec<Option<&[u8]>> {
    let mut padded: Vec<_> = topics.iter().map(|topic| Some(topic.as_bytes())).collect();
    if !topics.is_empty() {
        padded.resize(topics.len().next_power_of_two(), None);
    }
    padded
}

/// With topics, which are the parameters from the sixth on, a subquery for each reads no more rows of the index by topic than the page
/// has. They are the arms of a `UNION ALL`, since Citus has no `LATERAL` between a list and a distributed table; an index in the
/// order of places is read only as far as the page needs it.
fn sql(topics: usize, is_newest_first: bool) -> String {
    let order = if is_newest_first { "DESC" } else { "ASC" };
    let select = |of: &str| {
        format!(
            "SELECT {COLUMNS} FROM events e WHERE {of}e.place > $1 AND e.place <= $2 AND e.processed_at >= $3 AND e.processed_at < $4 \
             ORDER BY e.place {order} LIMIT $5"
        )
    };
    if topics == 0 {
        return select("");
    }
    let arms = (6..6 + topics).map(|number| select(&format!("e.topic = ${number}::bytea AND ")));
    let arms: Vec<_> = arms.collect();
    match arms.as_slice() {
        [one] => one.clone(),
        arms => {
            let arms = arms.join(") UNION ALL (");
            format!("SELECT * FROM (({arms})) e ORDER BY place {order} LIMIT $5")
        }
    }
}

/// The places that a page may contain: greater than the first and up to the second; `None` if there are none.
///
/// Times are not in the order of places, because several aggregators take them. So the minutes in which events were stored give the
/// range of places, and each event's own time is compared, too.
async fn range(
    client: &Client,
    query: &EventQuery,
    bounds: &PageBounds,
) -> Result<Option<(i64, i64)>, StoreError> {
    let (mut after, mut upto) = (bounds.after, bounds.last);
    match (query.order, bounds.from) {
        (Order::NewestFirst, Some(from)) => upto = upto.min(from - 1),
        (Order::OldestFirst, Some(from)) => after = after.max(from),
        (_, None) => {}
    }
    if query.since.is_some() || query.until.is_some() {
        let minute = |time: i64| time.div_euclid(MICROS_PER_MINUTE);
        let first = query.since.map_or(i64::MIN, minute);
        let last = query
            .until
            .map_or(i64::MAX, |until| minute(until.saturating_sub(1)));
        let statement = client
            .prepare_cached(
                "SELECT min(first_place), max(last_place) FROM minutes WHERE minute >= $1 AND minute <= $2 AND unique_processed > 0",
            )
            .await?;
        let row = client.query_one(&statement, &[&first, &last]).await?;
        let (Some(first), Some(last)) =
            (row.get::<_, Option<i64>>(0), row.get::<_, Option<i64>>(1))
        else {
            return Ok(None);
        };
        (after, upto) = (after.max(first - 1), upto.min(last));
    }
    Ok((after < upto).then_some((after, upto)))
}

/// The number of events of the query's topics; `None` if they would have to be counted.
async fn total(client: &Client, query: &EventQuery) -> Result<Option<u64>, StoreError> {
    let count = if !query.topics.is_empty() {
        let topics: Vec<&[u8]> = query.topics.iter().map(String::as_bytes).collect();
        let statement = client
            .prepare_cached(
                "SELECT coalesce(sum(unique_processed), 0)::bigint FROM topics WHERE topic = ANY ($1)",
            )
            .await?;
        client.query_one(&statement, &[&topics]).await?
    } else if query.visible.is_every() {
        let statement = client
            .prepare_cached("SELECT coalesce(sum(unique_processed), 0)::bigint FROM counters")
            .await?;
        client.query_one(&statement, &[]).await?
    } else {
        return Ok(None);
    };
    Ok(Some(unsigned(count.get(0))))
}

/// Counts events of any topic by reading the index, up to a limit.
pub(super) async fn count(
    client: &Client,
    after: i64,
    upto: i64,
    most: u64,
) -> Result<u64, StoreError> {
    let statement = client
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM events WHERE place > $1 AND place <= $2 LIMIT $3) counted",
        )
        .await?;
    let row = client
        .query_one(&statement, &[&after, &upto, &signed(most)])
        .await?;
    Ok(unsigned(row.get(0)))
}

/// Counts events by reading the index; `None` if too many would have to be read.
pub(super) async fn between(
    client: &Client,
    query: &EventQuery,
    after: i64,
    upto: i64,
) -> Result<Option<u64>, StoreError> {
    if !query.topics.is_empty() {
        let topics: Vec<&[u8]> = query.topics.iter().map(String::as_bytes).collect();
        let statement = client
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM events WHERE topic = ANY ($4) AND place > $1 AND place <= $2 LIMIT $3) counted",
            )
            .await?;
        let most = signed(COUNTED + 1);
        let row = client
            .query_one(&statement, &[&after, &upto, &most, &topics])
            .await?;
        let count = unsigned(row.get(0));
        return Ok((count <= COUNTED).then_some(count));
    }
    if query.visible.is_every() {
        let count = count(client, after, upto, COUNTED + 1).await?;
        return Ok((count <= COUNTED).then_some(count));
    }
    // The rows are read for their topics, which no index of places has.
    if count(client, after, upto, COUNTED_VISIBLE + 1).await? > COUNTED_VISIBLE {
        return Ok(None);
    }
    let statement = client
        .prepare_cached(
            "SELECT topic, count(*) FROM events WHERE place > $1 AND place <= $2 GROUP BY topic",
        )
        .await?;
    let mut visible = 0;
    for row in client.query(&statement, &[&after, &upto]).await? {
        if query.visible.includes(&text(row.get(0))?) {
            visible += unsigned(row.get(1));
        }
    }
    Ok(Some(visible))
}

/// The event with an identity, if it has this topic and id: two identities could share a fingerprint.
pub(super) async fn one(
    client: &Client,
    identity: u128,
    (topic, event_id): (&str, &str),
) -> Result<Option<FoundEvent>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM events e WHERE e.fingerprint = $1");
    let statement = client.prepare_cached(&sql).await?;
    let duplicates = client
        .prepare_cached(
            "SELECT coalesce(sum(duplicate_dropped), 0)::bigint FROM topics WHERE topic = $1",
        )
        .await?;
    let fingerprint = bytes_of(identity).to_vec();
    let of_event: [&(dyn ToSql + Sync); 1] = [&fingerprint];
    let name = topic.as_bytes();
    let of_topic: [&(dyn ToSql + Sync); 1] = [&name];
    let (row, duplicates) = futures::join!(
        client.query_opt(&statement, &of_event),
        client.query_one(&duplicates, &of_topic),
    );
    let (Some(row), duplicates) = (row?, duplicates?) else {
        return Ok(None);
    };
    let event = stored(&row)?;
    if event.topic != topic || event.event_id != event_id {
        return Ok(None);
    }
    let (stream_sequence, position) = in_stream(client, event.sequence).await?;
    let again = duplicates::of_event(
        client,
        (event.sequence, event.processed_at),
        unsigned(duplicates.get(0)),
    )
    .await?;
    Ok(Some(FoundEvent {
        event,
        stream_sequence,
        position,
        again,
    }))
}

impl EventQuery {
    /// Whether it selects all events of its topics.
    fn is_whole(&self) -> bool {
        self.since.is_none() && self.until.is_none() && self.filter == Filter::default()
    }
}
