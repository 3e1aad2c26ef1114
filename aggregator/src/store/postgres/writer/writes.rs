//! The rows that say what a batch did: conflicts, rejected arrivals, and the counts. As arrays: one statement for each table, however
//! many rows.

mod repeats;
mod topic_minutes;

use deadpool_postgres::Client;
use tokio_postgres::{Statement, types::ToSql};

use self::{repeats::Repeats, topic_minutes::TopicMinutes};
use super::{
    plan::{Origin, Outcomes},
    rows::bytes_of,
};
use crate::store::{
    kept::row_bytes,
    postgres::{counted::Counted, error::DatabaseError, lives::signed},
    query::MICROS_PER_MINUTE,
};

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// The statements that write what a batch did; none for a table that it does not change.
pub(super) struct Writes {
    conflicts: Option<Statement>,
    rejected: Option<Statement>,
    topics: Option<Statement>,
    topic_minutes: Option<Statement>,
    minutes: Option<Statement>,
    repeats: Option<Statement>,
    counters: Statement,
    /// For each topic whether it is counted over time.
    counted: Vec<bool>,
}

const CONFLICTS: &str = "INSERT INTO conflicts (place, fingerprint, incarnation, stream_sequence, position, \"timestamp\", timestamp_filled, \
     source, payload, subject, processed_at, sent_by) \
     SELECT p, f, $12::bigint, q, n, s, l, o, y, j, $11::bigint, b FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[], \
     $6::boolean[], $7::bytea[], $8::text[], $9::bytea[], $10::bytea[]) AS c (p, f, q, n, s, l, o, y, j, b)";

const REJECTED: &str = "INSERT INTO rejected (place, incarnation, stream_sequence, position, reason, detail, subject, processed_at, body, sent_by) \
     SELECT p, $10::bigint, q, n, r, d, j, $9::bigint, y, b FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bytea[], \
     $7::bytea[], $8::bytea[]) AS r (p, q, n, r, d, j, y, b)";

/// `%` keeps the digest a sum modulo 2^128.
const TOPICS: &str = "INSERT INTO topics AS t (topic, writer, unique_processed, duplicate_dropped, digest, first_at, last_at, schema) \
     SELECT n, $5::int4, u, d, g::numeric, $6::bigint, $6::bigint, 4 FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[]) AS c (n, u, d, g) \
     ON CONFLICT (topic, writer) DO UPDATE SET \
     unique_processed = t.unique_processed + excluded.unique_processed, \
     duplicate_dropped = t.duplicate_dropped + excluded.duplicate_dropped, \
     digest = (t.digest + excluded.digest) % 340282366920938463463374607431768211456, \
     last_at = greatest(t.last_at, excluded.last_at)";

const MINUTES: &str = "INSERT INTO minutes AS m (minute, writer, unique_processed, duplicate_dropped, rejected, first_place, last_place) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (minute, writer) DO UPDATE SET \
     unique_processed = m.unique_processed + excluded.unique_processed, \
     duplicate_dropped = m.duplicate_dropped + excluded.duplicate_dropped, \
     rejected = m.rejected + excluded.rejected, \
     first_place = least(m.first_place, excluded.first_place), \
     last_place = greatest(m.last_place, excluded.last_place)";

const COUNTERS: &str = "INSERT INTO counters AS c (writer, received, unique_processed, duplicate_dropped, rejected, rejected_bytes, conflicts, \
     conflicts_bytes, redelivered, processed_at, last_batch) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (writer) DO UPDATE SET \
     received = c.received + excluded.received, \
     unique_processed = c.unique_processed + excluded.unique_processed, \
     duplicate_dropped = c.duplicate_dropped + excluded.duplicate_dropped, \
     rejected = c.rejected + excluded.rejected, \
     rejected_bytes = c.rejected_bytes + excluded.rejected_bytes, \
     conflicts = c.conflicts + excluded.conflicts, \
     conflicts_bytes = c.conflicts_bytes + excluded.conflicts_bytes, \
     redelivered = c.redelivered + excluded.redelivered, \
     processed_at = greatest(c.processed_at, excluded.processed_at), \
     last_batch = excluded.last_batch";

impl Writes {
    pub async fn prepare(
        client: &Client,
        outcomes: &Outcomes<'_>,
        counted: &Counted,
    ) -> Result<Self, DatabaseError> {
        let counted = counted.of(outcomes.topics.keys().copied());
        let prepare = async |sql: &str, is_needed: bool| {
            Ok::<_, DatabaseError>(if is_needed {
                Some(client.prepare_cached(sql).await?)
            } else {
                None
            })
        };
        Ok(Self {
            conflicts: prepare(CONFLICTS, !outcomes.conflicts.is_empty()).await?,
            rejected: prepare(REJECTED, !outcomes.rejected.is_empty()).await?,
            topics: prepare(TOPICS, !outcomes.topics.is_empty()).await?,
            topic_minutes: prepare(topic_minutes::INSERT, counted.contains(&true)).await?,
            minutes: prepare(MINUTES, outcomes.done.arrivals() > 0).await?,
            repeats: prepare(repeats::INSERT, !outcomes.repeats.is_empty()).await?,
            counters: client.prepare_cached(COUNTERS).await?,
            counted,
        })
    }

    /// Sends all statements when it is first polled, and then waits for their answers.
    pub async fn run(
        &self,
        client: &Client,
        (writer, life): (i32, i64),
        (outcomes, batch): (&Outcomes<'_>, &[u8; 16]),
        now: i64,
    ) -> Result<(), DatabaseError> {
        let conflicts = Conflicts::of(outcomes);
        let rejected = Rejected::of(outcomes);
        let topics = Topics::of(outcomes);
        let topic_minutes = TopicMinutes::of(outcomes, &self.counted);
        let repeats = Repeats::of(outcomes);
        let done = &outcomes.done;
        let minute = now.div_euclid(MICROS_PER_MINUTE);
        // Without a stored event: an empty range.
        let (first, last) = outcomes.places.unwrap_or((i64::MAX, -1));
        let counts = [
            done.arrivals(),
            done.unique,
            done.duplicates,
            done.rejected,
            rejected.bytes,
            done.conflicts,
            conflicts.bytes,
            done.redelivered,
        ]
        .map(signed);
        let [
            received,
            unique,
            duplicates,
            rejections,
            rejected_bytes,
            conflicting,
            conflict_bytes,
            redelivered,
        ] = &counts;
        // A batch of redeliveries applies nothing.
        let processed_at = if done.arrivals() > 0 { now } else { 0 };
        let batch = batch.as_slice();
        let for_conflicts = conflicts.parameters(&now, &life);
        let for_rejected = rejected.parameters(&now, &life);
        let for_topics = topics.parameters(&writer, &now);
        let for_topic_minutes = topic_minutes.parameters(&writer, &minute);
        let for_repeats = repeats.parameters(&writer, &batch, &now);
        let for_minutes: [Parameter<'_>; 7] = [
            &minute, &writer, unique, duplicates, rejections, &first, &last,
        ];
        let for_counters: [Parameter<'_>; 11] = [
            &writer,
            received,
            unique,
            duplicates,
            rejections,
            rejected_bytes,
            conflicting,
            conflict_bytes,
            redelivered,
            &processed_at,
            &batch,
        ];
        let (conflicts, rejected, topics, topic_minutes, minutes, repeats, counters) = futures::join!(
            execute(client, self.conflicts.as_ref(), &for_conflicts),
            execute(client, self.rejected.as_ref(), &for_rejected),
            execute(client, self.topics.as_ref(), &for_topics),
            execute(client, self.topic_minutes.as_ref(), &for_topic_minutes),
            execute(client, self.minutes.as_ref(), &for_minutes),
            execute(client, self.repeats.as_ref(), &for_repeats),
            execute(client, Some(&self.counters), &for_counters),
        );
        conflicts
            .and(rejected)
            .and(topics)
            .and(topic_minutes)
            .and(minutes)
            .and(repeats)
            .and(counters)
    }
}

async fn execute(
    client: &Client,
    statement: Option<&Statement>,
    parameters: &[Parameter<'_>],
) -> Result<(), DatabaseError> {
    if let Some(statement) = statement {
        client.execute(statement, parameters).await?;
    }
    Ok(())
}

/// The columns that conflicts and rejected arrivals have in common.
#[derive(Default)]
struct Origins<'a> {
    places: Vec<i64>,
    sequences: Vec<i64>,
    positions: Vec<i64>,
    subjects: Vec<&'a [u8]>,
    senders: Vec<Option<&'a [u8]>>,
}

impl<'a> Origins<'a> {
    fn push(&mut self, origin: &Origin<'a>) {
        let Origin {
            delivery,
            position,
            place,
        } = *origin;
        self.places.push(place);
        self.sequences.push(signed(delivery.sequence));
        self.positions.push(signed(position as u64));
        self.subjects.push(delivery.subject.as_bytes());
        self.senders
            .push(delivery.senders.of(position).map(str::as_bytes));
    }
}

#[derive(Default)]
struct Conflicts<'a> {
    origins: Origins<'a>,
    fingerprints: Vec<Vec<u8>>,
    timestamps: Vec<&'a str>,
    filled: Vec<bool>,
    sources: Vec<&'a [u8]>,
    payloads: Vec<&'a str>,
    bytes: u64,
}

impl<'a> Conflicts<'a> {
    fn of(outcomes: &'a Outcomes<'a>) -> Self {
        let mut columns = Self::default();
        for arrived in &outcomes.conflicts {
            let event = arrived.event;
            columns.origins.push(&arrived.origin);
            columns
                .fingerprints
                .push(bytes_of(arrived.fingerprint.identity).to_vec());
            columns.timestamps.push(event.timestamp.as_str());
            columns.filled.push(event.timestamp.is_filled());
            columns.sources.push(event.source.as_str().as_bytes());
            columns.payloads.push(event.payload.as_str());
            columns.bytes += row_bytes(&[
                event.timestamp.as_str().len(),
                event.source.as_str().len(),
                event.payload.as_bytes().len(),
                arrived.origin.delivery.subject.len(),
            ]);
        }
        columns
    }

    fn parameters(&'a self, now: &'a i64, life: &'a i64) -> [Parameter<'a>; 12] {
        [
            &self.origins.places,
            &self.fingerprints,
            &self.origins.sequences,
            &self.origins.positions,
            &self.timestamps,
            &self.filled,
            &self.sources,
            &self.payloads,
            &self.origins.subjects,
            &self.origins.senders,
            now,
            life,
        ]
    }
}

#[derive(Default)]
struct Rejected<'a> {
    origins: Origins<'a>,
    reasons: Vec<&'a str>,
    details: Vec<&'a [u8]>,
    bodies: Vec<&'a [u8]>,
    bytes: u64,
}

impl<'a> Rejected<'a> {
    fn of(outcomes: &'a Outcomes<'a>) -> Self {
        let mut columns = Self::default();
        for (rejection, origin) in &outcomes.rejected {
            columns.origins.push(origin);
            columns.reasons.push(rejection.reason.as_str());
            columns.details.push(rejection.detail.as_bytes());
            columns.bodies.push(&rejection.body);
            columns.bytes += row_bytes(&[
                rejection.detail.len(),
                origin.delivery.subject.len(),
                rejection.body.len(),
            ]);
        }
        columns
    }

    fn parameters(&'a self, now: &'a i64, life: &'a i64) -> [Parameter<'a>; 10] {
        [
            &self.origins.places,
            &self.origins.sequences,
            &self.origins.positions,
            &self.reasons,
            &self.details,
            &self.origins.subjects,
            &self.bodies,
            &self.origins.senders,
            now,
            life,
        ]
    }
}

#[derive(Default)]
struct Topics<'a> {
    names: Vec<&'a [u8]>,
    unique: Vec<i64>,
    duplicates: Vec<i64>,
    digests: Vec<String>,
}

impl<'a> Topics<'a> {
    fn of(outcomes: &Outcomes<'a>) -> Self {
        let mut columns = Self::default();
        for (name, delta) in &outcomes.topics {
            columns.names.push(name.as_bytes());
            columns.unique.push(signed(delta.unique));
            columns.duplicates.push(signed(delta.duplicates));
            let digest = u128::from_le_bytes(delta.digest.to_bytes());
            columns.digests.push(digest.to_string());
        }
        columns
    }

    fn parameters(&'a self, writer: &'a i32, now: &'a i64) -> [Parameter<'a>; 6] {
        [
            &self.names,
            &self.unique,
            &self.duplicates,
            &self.digests,
            writer,
            now,
        ]
    }
}
