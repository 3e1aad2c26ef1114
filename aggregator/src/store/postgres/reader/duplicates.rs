//! Which events are repeated, from the rows of `repeats`: one for each batch with duplicates, which never changes.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use deadpool_postgres::Client;
use tokio_postgres::{Row, types::ToSql};

use super::{Budget, SCAN_TIME, text};
use crate::store::{
    StoreError,
    postgres::{
        lives::{signed, unsigned},
        place,
    },
    query::{Duplicate, Duplicates, MICROS_PER_MINUTE, RepeatedIdentity, Visible},
};

/// The latest duplicates of all topics that are read. The API's documents name it.
const LATEST: u64 = if cfg!(test) { 40 } else { 100_000 };

/// Rows that are read at once.
const ROWS: i64 = if cfg!(test) { 3 } else { 500 };

/// Duplicates that are read at once: those of one row, or of several that have no more of them together.
pub(in crate::store::postgres) const AT_ONCE: u64 = if cfg!(test) { 10 } else { 4_000 };

/// How much earlier than its event a row of its duplicates may seem to be, in microseconds: a batch has the time at which it was first tried,
/// and is tried for some minutes; and clocks are set.
const MARGIN: i64 = 15 * MICROS_PER_MINUTE;

/// The order of the rows: by time.
pub(in crate::store::postgres) type Key = (i64, i32, Vec<u8>);

/// After every row.
pub(in crate::store::postgres) const NEWEST: Key = (i64::MAX, i32::MAX, Vec::new());

const NUMBERS: &str = "SELECT processed_at, writer, batch, number FROM repeats \
     WHERE (processed_at, writer, batch) < ($1, $2, $3) ORDER BY processed_at DESC, writer DESC, batch DESC LIMIT $4";

const SELECT: &str = "SELECT processed_at, writer, batch, number, topics, counts, stored, places, sources FROM repeats \
     WHERE (processed_at, writer, batch) < ($1, $2, $3) AND (processed_at, writer, batch) >= ($4, $5, $6) \
     ORDER BY processed_at DESC, writer DESC, batch DESC";

/// How often a row has one event, or NULL if that is not known. The arrays of rows that cannot have it are not read.
const COUNT: &str = "SELECT processed_at, writer, batch, number, CASE WHEN stored IS NULL THEN NULL \
     WHEN first_stored <= $5 AND last_stored >= $5 THEN coalesce(cardinality(array_positions(stored, $5)), 0)::bigint ELSE 0 END FROM repeats \
     WHERE (processed_at, writer, batch) < ($1, $2, $3) AND processed_at >= $6 \
     ORDER BY processed_at DESC, writer DESC, batch DESC LIMIT $4";

const TOTAL: &str = "SELECT coalesce(sum(duplicate_dropped), 0)::bigint FROM counters";

const TOTAL_OF: &str =
    "SELECT coalesce(sum(duplicate_dropped), 0)::bigint FROM topics WHERE topic = $1";

const BY_TOPIC: &str = "SELECT topic, sum(duplicate_dropped)::bigint FROM topics WHERE topic > $1 GROUP BY topic ORDER BY topic LIMIT $2";

/// The latest duplicates as far as they were read.
#[derive(Default)]
struct Latest {
    /// Of the topics of the query, with the place of the event that has the identity.
    recent: Vec<Recent>,
    /// The repeats of each event.
    counts: HashMap<i64, u64>,
}

/// A duplicate.
struct Recent {
    stored: i64,
    place: i64,
    /// That of a conflict.
    source: Option<String>,
    processed_at: i64,
}

/// The event that has an identity.
struct Repeated {
    topic: String,
    event_id: String,
    source: String,
}

/// The duplicates of a topic, or of all that are visible, at most `limit` of each kind.
pub(super) async fn duplicates(
    client: &Client,
    topic: Option<&str>,
    visible: &Visible,
    limit: usize,
) -> Result<Duplicates, StoreError> {
    let total = total(client, topic, visible).await?;
    let is_wanted = |of: &str| topic.is_none_or(|topic| topic == of) && visible.includes(of);
    let (latest, since) = latest(client, is_wanted, limit).await?;
    let mut counts: Vec<(i64, u64)> = latest.counts.into_iter().collect();
    counts.sort_unstable_by_key(|(stored, count)| (Reverse(*count), *stored));
    counts.truncate(limit);
    let recent = latest.recent.iter().map(|recent| recent.stored);
    let stored: BTreeSet<i64> = recent
        .chain(counts.iter().map(|(stored, _)| *stored))
        .collect();
    let events = events(client, stored.into_iter().collect()).await?;
    let bases = bases(client).await?;
    let mut duplicates = Duplicates {
        total,
        since: Some(since),
        ..Duplicates::default()
    };
    for recent in latest.recent {
        let event = of(&events, recent.stored)?;
        let (message, position) = place::parts(recent.place);
        let life = bases.partition_point(|base| *base < message);
        let base = life.checked_sub(1).map_or(0, |life| bases[life]);
        duplicates.recent.push(Duplicate {
            topic: event.topic.clone(),
            event_id: event.event_id.clone(),
            is_conflict: recent.source.is_some(),
            source: recent.source.unwrap_or_else(|| event.source.clone()),
            stored: recent.stored,
            stream_sequence: unsigned(message - base),
            position,
            processed_at: recent.processed_at,
        });
    }
    for (stored, count) in counts {
        let event = of(&events, stored)?;
        duplicates.often.push(RepeatedIdentity {
            topic: event.topic.clone(),
            event_id: event.event_id.clone(),
            stored,
            least: count,
            most: count,
        });
    }
    Ok(duplicates)
}

/// Reads the latest rows; returns also since when all duplicates are in them.
async fn latest(
    client: &Client,
    is_wanted: impl Fn(&str) -> bool,
    limit: usize,
) -> Result<(Latest, i64), StoreError> {
    let mut latest = Latest::default();
    let (mut after, mut read) = (NEWEST, 0);
    // Those of the latest time that was read: they are left out if another batch of that time is.
    let mut held: Vec<Row> = Vec::new();
    let end = 'read: loop {
        let rows = rows_after(client, &after).await?;
        if rows.is_empty() {
            break None;
        }
        for row in rows {
            let number = unsigned(row.get(3));
            let is_known = row.get::<_, Option<Vec<Vec<u8>>>>(4).is_some();
            // At least one batch, whatever its size.
            if !is_known || read > 0 && read + number > LATEST {
                break 'read Some(row.get(0));
            }
            read += number;
            after = (row.get(0), row.get(1), row.get(2));
            if held.first().is_some_and(|held| time(held) != time(&row)) {
                latest.take_all(&mut held, &is_wanted, limit)?;
            }
            held.push(row);
        }
    };
    held.retain(|row| end.is_none_or(|end| time(row) > end));
    latest.take_all(&mut held, &is_wanted, limit)?;
    let since = match end {
        Some(end) => end + 1,
        None => created(client).await?,
    };
    Ok((latest, since))
}

fn time(row: &Row) -> i64 {
    row.get(0)
}

/// The next older rows, of which there are so few that they have a bounded number of duplicates; none if there are no more.
pub(in crate::store::postgres) async fn rows_after(
    client: &Client,
    after: &Key,
) -> Result<Vec<Row>, StoreError> {
    let numbers = client.prepare_cached(NUMBERS).await?;
    let select = client.prepare_cached(SELECT).await?;
    let (at, writer, batch) = after;
    let numbers = client.query(&numbers, &[at, writer, batch, &ROWS]).await?;
    let (mut last, mut duplicates) = (None, 0);
    for row in &numbers {
        duplicates += unsigned(row.get(3));
        if last.is_some() && duplicates > AT_ONCE {
            break;
        }
        last = Some((row.get(0), row.get(1), row.get(2)));
    }
    let Some::<Key>((first_at, first_writer, first_batch)) = last else {
        return Ok(Vec::new());
    };
    let keys: [&(dyn ToSql + Sync); 6] =
        [at, writer, batch, &first_at, &first_writer, &first_batch];
    Ok(client.query(&select, &keys).await?)
}

impl Latest {
    /// Takes rows of one time.
    fn take_all(
        &mut self,
        rows: &mut Vec<Row>,
        is_wanted: impl Fn(&str) -> bool,
        limit: usize,
    ) -> Result<(), StoreError> {
        let Some(processed_at) = rows.first().map(time) else {
            return Ok(());
        };
        let mut recent = Vec::new();
        for row in rows.drain(..) {
            self.take(&row, &is_wanted, &mut recent)?;
        }
        recent.sort_unstable_by_key(|(place, ..)| Reverse(*place));
        recent.truncate(limit.saturating_sub(self.recent.len()));
        for (place, stored, source) in recent {
            self.recent.push(Recent {
                stored,
                place,
                source: source.map(text).transpose()?,
                processed_at,
            });
        }
        Ok(())
    }

    fn take(
        &mut self,
        row: &Row,
        is_wanted: impl Fn(&str) -> bool,
        recent: &mut Vec<(i64, i64, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let topics: Vec<Vec<u8>> = row.get(4);
        let (counts, stored): (Vec<i64>, Vec<i64>) = (row.get(5), row.get(6));
        // Those of a copy are not known.
        let places: Option<Vec<i64>> = row.get(7);
        let sources: Option<Vec<Option<Vec<u8>>>> = row.get(8);
        let mut wanted = Vec::with_capacity(stored.len());
        for (topic, count) in topics.into_iter().zip(&counts) {
            let is_wanted = is_wanted(&text(topic)?);
            let count = usize::try_from(*count).unwrap_or(0);
            wanted.resize(wanted.len() + count, is_wanted);
        }
        let places = places.unwrap_or_default();
        let mut sources = sources.unwrap_or_default().into_iter();
        for (index, stored) in stored.into_iter().enumerate() {
            let source = sources.next().flatten();
            if !wanted.get(index).is_some_and(|is_wanted| *is_wanted) {
                continue;
            }
            *self.counts.entry(stored).or_default() += 1;
            if let Some(place) = places.get(index) {
                recent.push((*place, stored, source));
            }
        }
        Ok(())
    }
}

/// All duplicates ever counted of a topic, or of all that are visible; `None` if there was no time to add them up.
async fn total(
    client: &Client,
    topic: Option<&str>,
    visible: &Visible,
) -> Result<Option<u64>, StoreError> {
    if let Some(topic) = topic {
        let statement = client.prepare_cached(TOTAL_OF).await?;
        let row = client.query_one(&statement, &[&topic.as_bytes()]).await?;
        return Ok(Some(unsigned(row.get(0))));
    }
    if visible.is_every() {
        let statement = client.prepare_cached(TOTAL).await?;
        let row = client.query_one(&statement, &[]).await?;
        return Ok(Some(unsigned(row.get(0))));
    }
    let statement = client.prepare_cached(BY_TOPIC).await?;
    let (mut total, mut after, mut budget) = (0, Vec::<u8>::new(), Budget::of(true));
    loop {
        let rows = client.query(&statement, &[&after, &super::CHUNK]).await?;
        for row in &rows {
            if !budget.spend() {
                return Ok(None);
            }
            after = row.get(0);
            if visible.includes(&text(row.get(0))?) {
                total += unsigned(row.get(1));
            }
        }
        if signed(rows.len() as u64) < super::CHUNK {
            return Ok(Some(total));
        }
    }
}

/// The events at places.
async fn events(client: &Client, places: Vec<i64>) -> Result<HashMap<i64, Repeated>, StoreError> {
    let statement = client
        .prepare_cached("SELECT place, topic, event_id, source FROM events WHERE place = ANY ($1)")
        .await?;
    let rows = client.query(&statement, &[&places]).await?;
    let events = rows.iter().map(|row| {
        let event = Repeated {
            topic: text(row.get(1))?,
            event_id: text(row.get(2))?,
            source: text(row.get(3))?,
        };
        Ok((row.get(0), event))
    });
    events.collect()
}

fn of(events: &HashMap<i64, Repeated>, place: i64) -> Result<&Repeated, StoreError> {
    let event = events.get(&place);
    event.ok_or_else(|| StoreError::Foreign(format!("the repeated event {place} is not in it")))
}

/// What the places of each life begin with, in their order.
async fn bases(client: &Client) -> Result<Vec<i64>, StoreError> {
    let statement = client
        .prepare_cached("SELECT base FROM incarnations ORDER BY base")
        .await?;
    let rows = client.query(&statement, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn created(client: &Client) -> Result<i64, StoreError> {
    let statement = client
        .prepare_cached("SELECT created_at FROM store")
        .await?;
    Ok(client.query_one(&statement, &[]).await?.get(0))
}

/// A lower and an upper bound of the duplicates of the event at a place, which was stored at a time, and whose topic has `most`. They are equal
/// unless it was stored before it was recorded which events are repeated, or less than [`MARGIN`] after that, or there was no time to read all rows
/// since.
pub(super) async fn of_event(
    client: &Client,
    (place, stored_at): (i64, i64),
    most: u64,
) -> Result<(u64, u64), StoreError> {
    let statement = client.prepare_cached(COUNT).await?;
    let (began, mut after) = (Instant::now(), NEWEST);
    let since = stored_at.saturating_sub(MARGIN);
    let (mut known, mut unknown) = (0_u64, 0_u64);
    while known < most {
        let (at, writer, batch) = &after;
        let rows = client
            .query(&statement, &[at, writer, batch, &ROWS, &place, &since])
            .await?;
        for row in &rows {
            match row.get::<_, Option<i64>>(4) {
                Some(count) => known += unsigned(count),
                None => unknown += unsigned(row.get(3)),
            }
            after = (row.get(0), row.get(1), row.get(2));
        }
        if signed(rows.len() as u64) < ROWS {
            return Ok((known, known.saturating_add(unknown).min(most).max(known)));
        }
        if began.elapsed() > SCAN_TIME {
            return Ok((known, most));
        }
    }
    Ok((known, known))
}
