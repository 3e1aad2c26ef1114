//! Writes chunks: rows by binary COPY, which is the fastest way into a table, and the progress, in one transaction.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use bytes::Bytes;
use deadpool_postgres::Client;
use tokio::time::sleep;
use tokio_postgres::{
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};
use tracing::debug;

use super::{COUNTS, Target, WRITER, column, counted};
use crate::store::{
    StoreError,
    copy::{
        Chunk, CopyError, Record, Totals,
        rows::{ConflictRow, EventRow, Part, RejectedRow, Rows, Sums, TopicRow},
    },
    fingerprint::Key,
    postgres::{
        connect::{LONGEST, Transaction, limited},
        lives::signed,
        place,
        writer::{bytes_of, number_of},
    },
    query::MICROS_PER_MINUTE,
};

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// How often a transaction is tried again, if the connection is lost or the server restarts.
const ATTEMPTS: u32 = 12;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A chunk may take longer than a batch.
const SLOW: &str = "SET LOCAL statement_timeout = '80s'";

const EVENTS: &str = "COPY events (fingerprint, content, place, topic, event_id, \"timestamp\", timestamp_filled, source, payload, processed_at) \
     FROM STDIN BINARY";
const OF_EVENTS: [Type; 10] = [
    Type::BYTEA,
    Type::INT8,
    Type::INT8,
    Type::BYTEA,
    Type::BYTEA,
    Type::TEXT,
    Type::BOOL,
    Type::BYTEA,
    Type::TEXT,
    Type::INT8,
];

const REJECTED: &str = "COPY rejected (place, incarnation, stream_sequence, position, reason, detail, subject, processed_at, requeued_at, body, sent_by) \
     FROM STDIN BINARY";
const OF_REJECTED: [Type; 11] = [
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::BYTEA,
    Type::BYTEA,
    Type::INT8,
    Type::INT8,
    Type::BYTEA,
    Type::BYTEA,
];

const CONFLICTS: &str = "COPY conflicts (place, fingerprint, incarnation, stream_sequence, position, \"timestamp\", timestamp_filled, source, payload, \
     subject, processed_at, sent_by) FROM STDIN BINARY";
const OF_CONFLICTS: [Type; 12] = [
    Type::INT8,
    Type::BYTEA,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::BOOL,
    Type::BYTEA,
    Type::TEXT,
    Type::BYTEA,
    Type::INT8,
    Type::BYTEA,
];

/// COPY has no form for numbers as large as a digest.
const TOPICS: &str = "INSERT INTO topics (topic, writer, unique_processed, duplicate_dropped, digest, first_at, last_at, schema) \
     SELECT n, $7::int4, u, d, g::numeric, f, l, 4 \
     FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[]) AS t (n, u, d, g, f, l)";

/// The minutes in which events were stored are how the database finds those of a span of time.
const MINUTES: &str = "INSERT INTO minutes AS m (minute, writer, unique_processed, duplicate_dropped, rejected, first_place, last_place) \
     SELECT t, $7::int4, u, d, r, f, l \
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS c (t, u, d, r, f, l) \
     ON CONFLICT (minute, writer) DO UPDATE SET \
     unique_processed = m.unique_processed + excluded.unique_processed, \
     duplicate_dropped = m.duplicate_dropped + excluded.duplicate_dropped, \
     rejected = m.rejected + excluded.rejected, \
     first_place = least(m.first_place, excluded.first_place), \
     last_place = greatest(m.last_place, excluded.last_place)";

const COUNTERS: &str = "INSERT INTO counters (writer, received, unique_processed, duplicate_dropped, rejected, rejected_bytes, rejected_evicted, \
     conflicts, conflicts_bytes, conflicts_evicted, redelivered, processed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// `%` keeps a sum one modulo 2^128.
const PROGRESS: &str = "UPDATE copy_progress SET last = $2, rows = rows + $3, \
     hashes = (hashes + $4::text::numeric) % 340282366920938463463374607431768211456, \
     digests = (digests + $5::text::numeric) % 340282366920938463463374607431768211456 WHERE part = $1";

/// One step of a copy.
#[derive(Clone, Copy)]
enum Step<'a> {
    Chunk(&'a Chunk),
    Counts(&'a Record),
}

impl Target {
    /// Writes a chunk, if it is not written yet; returns its sums.
    pub async fn write(&self, part: Part, chunk: &Chunk) -> Result<Sums, CopyError> {
        let sums = chunk.rows.sums(&self.key);
        let to = (chunk.after, chunk.last);
        self.step(part.name(), to, sums, Step::Chunk(chunk)).await?;
        Ok(sums)
    }

    /// Writes the counters, and what was counted over time, if they are not written yet.
    pub async fn count(&self, record: &Record) -> Result<(), CopyError> {
        let step = Step::Counts(record);
        self.step(COUNTS, (0, 1), Sums::default(), step).await
    }

    async fn step(
        &self,
        part: &str,
        to: (i64, i64),
        sums: Sums,
        step: Step<'_>,
    ) -> Result<(), CopyError> {
        let (mut failed, mut pause) = (0, FIRST_PAUSE);
        loop {
            match limited(LONGEST, self.attempt(part, to, sums, step)).await {
                // No other transaction writes these rows.
                Err(CopyError::Target(StoreError::Postgres(err))) if err.is_repeated_key() => {
                    let what = format!("{part}: two rows have the same identity or place: {err}");
                    return Err(CopyError::Damaged(what));
                }
                Err(CopyError::Target(StoreError::Postgres(err)))
                    if err.is_retried() && failed < ATTEMPTS =>
                {
                    failed += 1;
                    debug!(error = %err, attempt = failed, "a chunk is written again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                ended => return ended,
            }
        }
    }

    async fn attempt(
        &self,
        part: &str,
        (after, last): (i64, i64),
        sums: Sums,
        step: Step<'_>,
    ) -> Result<(), CopyError> {
        let transaction = Transaction::begin(&self.pool).await?;
        let client = transaction.client();
        client.batch_execute(SLOW).await?;
        let lock = "SELECT last FROM copy_progress WHERE part = $1 FOR UPDATE";
        let locked = client.query_opt(lock, &[&part]).await?;
        let found: Option<i64> = locked.map(|row| row.get(0));
        if found == Some(last) {
            // An earlier attempt has committed, but its answer was lost.
            return Ok(transaction.roll_back().await?);
        }
        if found != Some(after) {
            return Err(CopyError::Concurrent);
        }
        match step {
            Step::Chunk(chunk) => match &chunk.rows {
                Rows::Events(rows) => events(client, &self.key, rows).await?,
                Rows::Topics(rows) => topics(client, rows).await?,
                Rows::Rejected(rows) => rejected(client, rows).await?,
                Rows::Conflicts(rows) => conflicts(client, rows).await?,
                Rows::OverTime(rows) => counted::over_time(client, rows).await?,
                Rows::Repeats(rows) => counted::repeats(client, rows).await?,
            },
            Step::Counts(record) => counts(client, record).await?,
        }
        let (hashes, digests) = (sums.hashes.to_string(), sums.digests.to_string());
        client
            .execute(
                PROGRESS,
                &[&part, &last, &signed(sums.rows), &hashes, &digests],
            )
            .await?;
        Ok(transaction.commit().await?)
    }
}

/// What is added to a minute.
struct Counted {
    unique: i64,
    duplicates: i64,
    rejected: i64,
    first: i64,
    last: i64,
}

impl Default for Counted {
    /// Without a stored event: an empty range of places.
    fn default() -> Self {
        Self {
            unique: 0,
            duplicates: 0,
            rejected: 0,
            first: i64::MAX,
            last: -1,
        }
    }
}

async fn events(client: &Client, key: &Key, rows: &[EventRow]) -> Result<(), CopyError> {
    let mut minutes: BTreeMap<i64, Counted> = BTreeMap::new();
    let sink = client.copy_in::<str, Bytes>(EVENTS).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &OF_EVENTS));
    for event in rows {
        let fingerprint = event.fingerprint(key);
        let place = place_of(event.message, event.position)?;
        let minute = event.processed_at.div_euclid(MICROS_PER_MINUTE);
        let counted = minutes.entry(minute).or_default();
        counted.unique += 1;
        counted.first = counted.first.min(place);
        counted.last = counted.last.max(place);
        let identity = bytes_of(fingerprint.identity);
        let columns: [Parameter<'_>; 10] = [
            &identity.as_slice(),
            &number_of(fingerprint.content),
            &place,
            &event.topic.as_bytes(),
            &event.event_id.as_bytes(),
            &event.timestamp,
            &event.timestamp_filled,
            &event.source.as_bytes(),
            &event.payload,
            &event.processed_at,
        ];
        writer.as_mut().write(&columns).await?;
    }
    writer.finish().await?;
    add_minutes(client, &minutes).await
}

async fn topics(client: &Client, rows: &[TopicRow]) -> Result<(), CopyError> {
    let names: Vec<&[u8]> = rows.iter().map(|topic| topic.name.as_bytes()).collect();
    let digests: Vec<String> = rows.iter().map(|topic| topic.digest.to_string()).collect();
    client
        .execute(
            TOPICS,
            &[
                &names,
                &column(rows, |topic| signed(topic.unique)),
                &column(rows, |topic| signed(topic.duplicates)),
                &digests,
                &column(rows, |topic| topic.first_at),
                &column(rows, |topic| topic.last_at),
                &WRITER,
            ],
        )
        .await?;
    Ok(())
}

async fn rejected(client: &Client, rows: &[RejectedRow]) -> Result<(), CopyError> {
    let sink = client.copy_in::<str, Bytes>(REJECTED).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &OF_REJECTED));
    for row in rows {
        let origin = &row.origin;
        let columns: [Parameter<'_>; 11] = [
            &place_of(origin.message, origin.position)?,
            &origin.life,
            &signed(origin.sequence),
            &signed(origin.position),
            &row.reason,
            &row.detail.as_bytes(),
            &row.subject.as_bytes(),
            &row.processed_at,
            &row.requeued_at,
            &row.body,
            &row.sent_by.as_ref().map(String::as_bytes),
        ];
        writer.as_mut().write(&columns).await?;
    }
    writer.finish().await?;
    Ok(())
}

async fn conflicts(client: &Client, rows: &[ConflictRow]) -> Result<(), CopyError> {
    let sink = client.copy_in::<str, Bytes>(CONFLICTS).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &OF_CONFLICTS));
    for row in rows {
        let origin = &row.origin;
        let identity = bytes_of(row.identity);
        let columns: [Parameter<'_>; 12] = [
            &place_of(origin.message, origin.position)?,
            &identity.as_slice(),
            &origin.life,
            &signed(origin.sequence),
            &signed(origin.position),
            &row.timestamp,
            &row.timestamp_filled,
            &row.source.as_bytes(),
            &row.payload,
            &row.subject.as_bytes(),
            &row.processed_at,
            &row.sent_by.as_ref().map(String::as_bytes),
        ];
        writer.as_mut().write(&columns).await?;
    }
    writer.finish().await?;
    Ok(())
}

async fn counts(client: &Client, record: &Record) -> Result<(), CopyError> {
    let Totals {
        received,
        unique,
        duplicates,
        rejected,
        rejected_bytes,
        rejected_evicted,
        conflicts,
        conflicts_bytes,
        conflicts_evicted,
        redelivered,
        topics: _,
        processed_at,
    } = record.totals;
    let counts = [
        received,
        unique,
        duplicates,
        rejected,
        rejected_bytes,
        rejected_evicted,
        conflicts,
        conflicts_bytes,
        conflicts_evicted,
        redelivered,
    ]
    .map(signed);
    let mut parameters: Vec<Parameter<'_>> = vec![&WRITER];
    parameters.extend(counts.iter().map(|count| count as Parameter<'_>));
    parameters.push(&processed_at);
    client.execute(COUNTERS, &parameters).await?;
    counted::seen(client, &record.seen).await?;
    let minutes = record.minutes.iter().map(|minute| {
        let counted = Counted {
            duplicates: signed(minute.duplicates),
            rejected: signed(minute.rejected),
            ..Counted::default()
        };
        (minute.at, counted)
    });
    add_minutes(client, &minutes.collect()).await
}

async fn add_minutes(client: &Client, minutes: &BTreeMap<i64, Counted>) -> Result<(), CopyError> {
    let at: Vec<i64> = minutes.keys().copied().collect();
    let counts = minutes.values();
    client
        .execute(
            MINUTES,
            &[
                &at,
                &column(counts.clone(), |counted| counted.unique),
                &column(counts.clone(), |counted| counted.duplicates),
                &column(counts.clone(), |counted| counted.rejected),
                &column(counts.clone(), |counted| counted.first),
                &column(counts, |counted| counted.last),
                &WRITER,
            ],
        )
        .await?;
    Ok(())
}

pub(super) fn place_of(message: i64, position: u64) -> Result<i64, CopyError> {
    let fitting = usize::try_from(position).ok();
    let fitting = fitting.filter(|position| signed(*position as u64) < place::POSITIONS);
    let position = fitting
        .ok_or_else(|| CopyError::Damaged(format!("a message has no position {position}")))?;
    Ok(place::of(message, position))
}
