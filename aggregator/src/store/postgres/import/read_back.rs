//! Reads the rows of a copy back, in the order of their places, and sums their hashes.

use std::pin::pin;

use futures::TryStreamExt;
use tokio_postgres::{Row, types::ToSql};

use super::{PATIENT, Target, counted, number};
use crate::store::{
    copy::{
        CopyError,
        rows::{ConflictRow, EventRow, Hashed, Origin, Part, RejectedRow, Sums, TopicRow},
    },
    postgres::{
        connect::Transaction,
        lives::unsigned,
        place, reader,
        writer::{content_of, identity_of},
    },
};

/// Rows that are asked for at once. They are hashed as they arrive.
const CHUNK: i64 = if cfg!(test) { 7 } else { 10_000 };

/// The fingerprint is compared with that of the columns.
const EVENTS: &str = "SELECT place, topic, event_id, \"timestamp\", timestamp_filled, source, payload, processed_at, fingerprint, content \
     FROM events WHERE place > $1 ORDER BY place LIMIT $2";

const REJECTED: &str = "SELECT place, incarnation, stream_sequence, position, reason, detail, subject, processed_at, requeued_at, body, sent_by \
     FROM rejected WHERE place > $1 ORDER BY place LIMIT $2";

const CONFLICTS: &str = "SELECT c.place, c.incarnation, c.stream_sequence, c.position, c.fingerprint, c.\"timestamp\", c.timestamp_filled, c.source, \
     c.payload, c.subject, c.processed_at, c.sent_by FROM conflicts c WHERE c.place > $1 ORDER BY c.place LIMIT $2";

const TOPICS: &str = "SELECT topic, unique_processed, duplicate_dropped, digest::text, first_at, last_at FROM topics \
     WHERE topic > $1 ORDER BY topic LIMIT $2";

impl Target {
    /// The sums over all rows of a part. Reports how many were read.
    pub async fn read_back(
        &self,
        part: Part,
        report: &(dyn Fn(u64) + Sync),
    ) -> Result<Sums, CopyError> {
        match part {
            Part::Events => {
                let read = |row: &Row| self.event(row);
                self.sums(EVENTS, -1_i64, |row| row.get(0), read, report)
                    .await
            }
            Part::Topics => {
                let before: Vec<u8> = Vec::new();
                self.sums(TOPICS, before, |row| row.get(0), topic, report)
                    .await
            }
            Part::Rejected => {
                self.sums(REJECTED, -1_i64, |row| row.get(0), rejected, report)
                    .await
            }
            Part::Conflicts => {
                self.sums(CONFLICTS, -1_i64, |row| row.get(0), conflict, report)
                    .await
            }
            Part::OverTime => self.over_time(report).await,
            Part::Repeats => {
                let before: Vec<u8> = Vec::new();
                let read = counted::repeats_row;
                self.sums(counted::REPEATS, before, |row| row.get(0), read, report)
                    .await
            }
        }
    }

    /// Reads a table in the order of a key, from the one after `after` on.
    pub(super) async fn sums<K: ToSql + Sync, T: Hashed>(
        &self,
        sql: &str,
        mut after: K,
        key: impl Fn(&Row) -> K,
        read: impl Fn(&Row) -> Result<T, CopyError>,
        report: &(dyn Fn(u64) + Sync),
    ) -> Result<Sums, CopyError> {
        let mut sums = Sums::default();
        loop {
            let transaction = Transaction::begin(&self.pool).await?;
            let client = transaction.client();
            client.batch_execute(PATIENT).await?;
            let statement = client.prepare_cached(sql).await?;
            let parameters: [&(dyn ToSql + Sync); 2] = [&after, &CHUNK];
            let mut found = 0;
            {
                let mut rows = pin!(client.query_raw(&statement, parameters).await?);
                while let Some(row) = rows.try_next().await? {
                    found += 1;
                    sums.add(read(&row)?.sums(&self.key));
                    // Only the last one is used.
                    after = key(&row);
                }
            }
            transaction.commit().await?;
            report(sums.rows);
            if found < CHUNK {
                return Ok(sums);
            }
        }
    }

    fn event(&self, row: &Row) -> Result<EventRow, CopyError> {
        let (message, position) = place::parts(row.get(0));
        let event = EventRow {
            message,
            position,
            topic: text(row.get(1))?,
            event_id: text(row.get(2))?,
            timestamp: row.get(3),
            timestamp_filled: row.get(4),
            source: text(row.get(5))?,
            payload: row.get(6),
            processed_at: row.get(7),
        };
        let fingerprint = event.fingerprint(&self.key);
        let (identity, content): (&[u8], i64) = (row.get(8), row.get(9));
        if identity_of(identity).map_err(CopyError::Target)? != fingerprint.identity
            || content_of(content) != fingerprint.content
        {
            return Err(CopyError::Differs(
                "an event has another fingerprint than its content".to_owned(),
            ));
        }
        Ok(event)
    }
}

fn topic(row: &Row) -> Result<TopicRow, CopyError> {
    Ok(TopicRow {
        name: text(row.get(0))?,
        unique: unsigned(row.get(1)),
        duplicates: unsigned(row.get(2)),
        digest: number(row, 3)?,
        first_at: row.get(4),
        last_at: row.get(5),
    })
}

fn origin(row: &Row) -> Result<Origin, CopyError> {
    let place = row.get(0);
    let (message, position) = place::parts(place);
    if position != unsigned(row.get(3)) {
        let what = format!("the row at place {place} has another position");
        return Err(CopyError::Differs(what));
    }
    Ok(Origin {
        life: row.get(1),
        sequence: unsigned(row.get(2)),
        message,
        position,
    })
}

fn rejected(row: &Row) -> Result<RejectedRow, CopyError> {
    Ok(RejectedRow {
        origin: origin(row)?,
        reason: row.get(4),
        detail: text(row.get(5))?,
        subject: text(row.get(6))?,
        processed_at: row.get(7),
        requeued_at: row.get(8),
        body: row.get(9),
        sent_by: row.get::<_, Option<Vec<u8>>>(10).map(text).transpose()?,
    })
}

fn conflict(row: &Row) -> Result<ConflictRow, CopyError> {
    Ok(ConflictRow {
        origin: origin(row)?,
        identity: identity_of(row.get(4)).map_err(CopyError::Target)?,
        timestamp: row.get(5),
        timestamp_filled: row.get(6),
        source: text(row.get(7))?,
        payload: row.get(8),
        subject: text(row.get(9))?,
        processed_at: row.get(10),
        sent_by: row.get::<_, Option<Vec<u8>>>(11).map(text).transpose()?,
    })
}

pub(super) fn text(bytes: Vec<u8>) -> Result<String, CopyError> {
    reader::text(bytes).map_err(CopyError::Target)
}
