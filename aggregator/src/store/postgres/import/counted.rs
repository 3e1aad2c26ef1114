//! The counts of topics over time, which events were repeated, and what is marked as seen: writing them, and reading them back.

use deadpool_postgres::Client;
use futures::future::try_join_all;
use tokio_postgres::{Row, Statement, types::ToSql};

use super::{PATIENT, Target, WRITER, read_back::text, write::place_of};
use crate::store::{
    copy::{
        CopyError, Marked,
        minutes::Minute,
        rows::{Hashed, OverTimeRow, RepeatsRow, Sums},
    },
    postgres::{
        connect::Transaction,
        lives::{signed, unsigned},
        place,
    },
};

const COUNTED: &str = "INSERT INTO counted_topics (topic, number) SELECT t, n FROM unnest($1::bytea[], $2::int4[]) AS c (t, n)";

const MINUTES: &str = "INSERT INTO topic_minutes (topic, minute, writer, unique_processed, duplicate_dropped) \
     SELECT t, m, $5::int4, u, d FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) AS c (t, m, u, d)";

const INSERT_REPEATS: &str = "INSERT INTO repeats (writer, batch, processed_at, number, first_stored, last_stored, topics, counts, stored) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const SEEN: &str = "INSERT INTO seen_marks (kept, up_to, number) VALUES ($1, $2, $3)";

/// Topics that are read at once.
const TOPICS: i64 = if cfg!(test) { 3 } else { 1_000 };

const READ_COUNTED: &str =
    "SELECT topic, number FROM counted_topics WHERE number > $1 ORDER BY number LIMIT $2";

const READ_MINUTES: &str = "SELECT minute, unique_processed, duplicate_dropped FROM topic_minutes WHERE topic = $1 ORDER BY minute";

/// The batch is the number of the row, so that they are in its order.
pub(super) const REPEATS: &str = "SELECT batch, processed_at, number, topics, counts, stored FROM repeats \
     WHERE writer = -1 AND batch > $1 ORDER BY batch LIMIT $2";

/// Writes the counts of topics over time.
pub(super) async fn over_time(client: &Client, rows: &[OverTimeRow]) -> Result<(), CopyError> {
    let names: Vec<&[u8]> = rows.iter().map(|row| row.topic.as_bytes()).collect();
    let numbers: Vec<i32> = rows.iter().map(|row| number_of(row.number)).collect();
    client.execute(COUNTED, &[&names, &numbers]).await?;
    let (mut topics, mut at): (Vec<&[u8]>, Vec<i64>) = (Vec::new(), Vec::new());
    let (mut unique, mut duplicates) = (Vec::new(), Vec::new());
    for row in rows {
        for minute in &row.minutes {
            topics.push(row.topic.as_bytes());
            at.push(minute.at);
            unique.push(signed(minute.unique));
            duplicates.push(signed(minute.duplicates));
        }
    }
    client
        .execute(MINUTES, &[&topics, &at, &unique, &duplicates, &WRITER])
        .await?;
    Ok(())
}

/// Writes rows of repeated events. Where the duplicates are in the stream is not known.
pub(super) async fn repeats(client: &Client, rows: &[RepeatsRow]) -> Result<(), CopyError> {
    let statement = client.prepare_cached(INSERT_REPEATS).await?;
    // All are sent before the first is answered.
    let sent = rows.iter().map(|row| insert(client, &statement, row));
    try_join_all(sent).await?;
    Ok(())
}

async fn insert(client: &Client, statement: &Statement, row: &RepeatsRow) -> Result<(), CopyError> {
    let batch = row.id.to_be_bytes();
    let columns = row.events.as_deref().map(columns).transpose()?;
    // As in rows that a change of the schema makes.
    let (mut first, mut last) = (0, i64::MAX);
    let (mut topics, mut counts, mut stored) = (None, None, None);
    if let Some(columns) = columns {
        first = columns.2.iter().copied().min().unwrap_or(0);
        last = columns.2.iter().copied().max().unwrap_or(0);
        (topics, counts, stored) = (Some(columns.0), Some(columns.1), Some(columns.2));
    }
    let (batch, number) = (batch.as_slice(), signed(row.number));
    let values: [&(dyn ToSql + Sync); 9] = [
        &WRITER,
        &batch,
        &row.processed_at,
        &number,
        &first,
        &last,
        &topics,
        &counts,
        &stored,
    ];
    client.execute(statement, &values).await?;
    Ok(())
}

type Columns<'a> = (Vec<&'a [u8]>, Vec<i64>, Vec<i64>);

/// The topics, how many duplicates each has, and the places of the events, which are in the order of topics.
fn columns(events: &[(String, i64, u64)]) -> Result<Columns<'_>, CopyError> {
    let (mut topics, mut counts): (Vec<&[u8]>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut stored = Vec::with_capacity(events.len());
    for (topic, message, position) in events {
        match (topics.last(), counts.last_mut()) {
            (Some(last), Some(count)) if *last == topic.as_bytes() => *count += 1,
            _ => {
                topics.push(topic.as_bytes());
                counts.push(1);
            }
        }
        stored.push(place_of(*message, *position)?);
    }
    Ok((topics, counts, stored))
}

/// Writes what is marked as seen of rejected arrivals, and of conflicts.
pub(super) async fn seen(client: &Client, seen: &(Marked, Marked)) -> Result<(), CopyError> {
    for (kept, marked) in [("rejected", &seen.0), ("conflicts", &seen.1)] {
        let Marked { number, up_to } = *marked;
        if number == 0 {
            continue;
        }
        let up_to = up_to.map(|(message, position)| place_of(message, position));
        let up_to = up_to.transpose()?.unwrap_or(0);
        client
            .execute(SEEN, &[&kept, &up_to, &signed(number)])
            .await?;
    }
    Ok(())
}

impl Target {
    /// The sums over the topics that are counted over time.
    pub(super) async fn over_time(&self, report: &(dyn Fn(u64) + Sync)) -> Result<Sums, CopyError> {
        let (mut sums, mut after) = (Sums::default(), 0_i32);
        loop {
            let transaction = Transaction::begin(&self.pool).await?;
            let client = transaction.client();
            client.batch_execute(PATIENT).await?;
            let statement = client.prepare_cached(READ_MINUTES).await?;
            let topics = client.query(READ_COUNTED, &[&after, &TOPICS]).await?;
            for topic in &topics {
                after = topic.get(1);
                let name: Vec<u8> = topic.get(0);
                let minutes = client.query(&statement, &[&name]).await?;
                let minute = |row: &Row| Minute {
                    at: row.get(0),
                    unique: unsigned(row.get(1)),
                    duplicates: unsigned(row.get(2)),
                    rejected: 0,
                };
                let row = OverTimeRow {
                    number: after.into(),
                    topic: text(name)?,
                    minutes: minutes.iter().map(minute).collect(),
                };
                sums.add(row.sums(&self.key));
            }
            transaction.commit().await?;
            report(sums.rows);
            if signed(topics.len() as u64) < TOPICS {
                return Ok(sums);
            }
        }
    }
}

/// Reads a row of [`REPEATS`].
pub(super) fn repeats_row(row: &Row) -> Result<RepeatsRow, CopyError> {
    let damaged = |what: &str| CopyError::Differs(format!("a row of repeats has {what}"));
    let batch: &[u8] = row.get(0);
    let batch = batch
        .try_into()
        .map_err(|_| damaged("another batch than those of a copy"))?;
    let topics: Option<Vec<Vec<u8>>> = row.get(3);
    let (counts, stored): (Option<Vec<i64>>, Option<Vec<i64>>) = (row.get(4), row.get(5));
    let events = match (topics, counts, stored) {
        (None, None, None) => None,
        (Some(topics), Some(counts), Some(stored)) => {
            let mut places = stored.into_iter();
            let mut events = Vec::with_capacity(places.len());
            for (topic, count) in topics.into_iter().zip(counts) {
                let topic = text(topic)?;
                let count = usize::try_from(count).unwrap_or(0);
                for stored in places.by_ref().take(count) {
                    let (message, position) = place::parts(stored);
                    events.push((topic.clone(), message, position));
                }
            }
            Some(events)
        }
        _ => return Err(damaged("only some of its columns")),
    };
    Ok(RepeatsRow {
        id: i64::from_be_bytes(batch),
        processed_at: row.get(1),
        number: unsigned(row.get(2)),
        events,
    })
}

fn number_of(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
