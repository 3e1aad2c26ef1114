//! Queries for what is kept for review: rejected arrivals, conflicts and missing sequences. Their ids are their places.

use std::pin::pin;

use deadpool_postgres::Client;
use futures::TryStreamExt;
use shared::{
    event::{EventId, Topic},
    message::Reason,
};
use tokio_postgres::{Row, types::ToSql};

use super::{Budget, events, text};
use crate::store::{
    StoreError,
    kept::topic_of,
    postgres::lives::{signed, unsigned},
    query::{Conflict, Missing, Rejected, ReviewPage, ReviewQuery, Sink},
};

const REJECTED: &str = "SELECT place, processed_at, reason, detail, subject, stream_sequence, position, requeued_at, body, sent_by FROM rejected";

fn rejected_row(row: &Row) -> Result<Rejected, StoreError> {
    Ok(Rejected {
        id: row.get(0),
        processed_at: row.get(1),
        reason: row.get(2),
        detail: text(row.get(3))?,
        subject: text(row.get(4))?,
        stream_sequence: unsigned(row.get(5)),
        position: unsigned(row.get(6)),
        requeued_at: row.get(7),
        body: row.get(8),
        sent_by: row.get::<_, Option<Vec<u8>>>(9).map(text).transpose()?,
    })
}

/// The rejected arrivals that a query selects, newest first.
pub(super) async fn rejected<S: Sink<Rejected>>(
    client: &Client,
    query: &ReviewQuery,
    limit: usize,
    sink: S,
) -> Result<ReviewPage<S>, StoreError> {
    let counts = "SELECT coalesce(sum(rejected), 0)::bigint, coalesce(sum(rejected_evicted), 0)::bigint FROM counters";
    let sql = format!("{REJECTED} WHERE place < $1 ORDER BY place DESC LIMIT $2");
    page(client, (counts, &sql), (query, limit), sink, |row| {
        let rejected = rejected_row(row)?;
        let is_reason = query
            .reason
            .is_none_or(|reason| rejected.reason == Reason::as_str(reason));
        let is_every = query.topic.is_none() && query.visible.is_every();
        let is_topic = is_every
            || topic_of(&rejected.subject, &rejected.body).is_some_and(|of| {
                let topic = query.topic.as_ref();
                topic.is_none_or(|topic| of == topic.as_str()) && query.visible.includes(&of)
            });
        Ok((is_reason && is_topic).then_some(rejected))
    })
    .await
}

/// One rejected arrival; `None` if there is none with this id or it has been evicted.
pub(super) async fn rejected_one(client: &Client, id: i64) -> Result<Option<Rejected>, StoreError> {
    let sql = format!("{REJECTED} WHERE place = $1");
    let row = client.query_opt(&sql, &[&id]).await?;
    row.as_ref().map(rejected_row).transpose()
}

/// The conflicts that a query selects, newest first.
pub(super) async fn conflicts<S: Sink<Conflict>>(
    client: &Client,
    query: &ReviewQuery,
    limit: usize,
    sink: S,
) -> Result<ReviewPage<S>, StoreError> {
    let counts = "SELECT coalesce(sum(conflicts), 0)::bigint, coalesce(sum(conflicts_evicted), 0)::bigint FROM counters";
    let sql = format!(
        "SELECT c.place, c.processed_at, {}, c.\"timestamp\", c.timestamp_filled, c.source, c.payload, c.subject, c.stream_sequence, \
         c.position, c.sent_by FROM conflicts c JOIN events e ON e.fingerprint = c.fingerprint WHERE c.place < $1 ORDER BY c.place DESC LIMIT $2",
        events::COLUMNS
    );
    page(client, (counts, &sql), (query, limit), sink, |row| {
        let stored = events::stored_from(row, 2)?;
        let is_match = query.visible.includes(&stored.topic)
            && is(query.topic.as_ref().map(Topic::as_str), &stored.topic)
            && is(
                query.event_id.as_ref().map(EventId::as_str),
                &stored.event_id,
            );
        if !is_match {
            return Ok(None);
        }
        Ok(Some(Conflict {
            id: row.get(0),
            processed_at: row.get(1),
            stored,
            timestamp: row.get(10),
            timestamp_filled: row.get(11),
            source: text(row.get(12))?,
            payload: row.get(13),
            subject: text(row.get(14))?,
            stream_sequence: unsigned(row.get(15)),
            position: unsigned(row.get(16)),
            sent_by: row.get::<_, Option<Vec<u8>>>(17).map(text).transpose()?,
        }))
    })
    .await
}

fn is(wanted: Option<&str>, found: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

/// Reads a page of at most `limit` rows. The first two columns are the id and when the row was counted; `decode` returns nothing
/// for a row that does not match.
async fn page<T, S: Sink<T>>(
    client: &Client,
    (counts, sql): (&str, &str),
    (query, limit): (&ReviewQuery, usize),
    sink: S,
    decode: impl Fn(&Row) -> Result<Option<T>, StoreError>,
) -> Result<ReviewPage<S>, StoreError> {
    let row = client.query_one(counts, &[]).await?;
    let is_every = query.visible.is_every();
    let count = |column: usize| is_every.then(|| unsigned(row.get(column)));
    let mut page = ReviewPage {
        rows: sink,
        total: count(0),
        evicted: count(1),
        next: None,
    };
    let statement = client.prepare_cached(sql).await?;
    let mut before = query.before.unwrap_or(i64::MAX);
    let (mut taken, mut last, mut budget) = (0, None, Budget::of(query.is_filtered()));
    loop {
        let limit_of_rows = budget.rows_at_once(limit - taken);
        let parameters: [&(dyn ToSql + Sync); 2] = [&before, &limit_of_rows];
        let mut rows = pin!(client.query_raw(&statement, parameters).await?);
        let mut read = 0;
        while let Some(row) = rows.try_next().await? {
            read += 1;
            let (id, counted_at): (i64, i64) = (row.get(0), row.get(1));
            if taken == limit || !budget.spend() {
                page.next = last;
                return Ok(page);
            }
            let is_in_time = query.since.is_none_or(|since| counted_at >= since)
                && query.until.is_none_or(|until| counted_at < until);
            if is_in_time && let Some(found) = decode(&row)? {
                if !page.rows.take(found) {
                    page.next = last;
                    return Ok(page);
                }
                taken += 1;
            }
            last = Some(id);
            before = id;
        }
        if read < limit_of_rows {
            return Ok(page);
        }
    }
}

impl ReviewQuery {
    /// Whether it selects only some rows.
    fn is_filtered(&self) -> bool {
        self.topic.is_some()
            || !self.visible.is_every()
            || self.event_id.is_some()
            || self.reason.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }
}

/// The latest ranges of missing sequences, at most `limit`, including acknowledged ones.
pub(super) async fn missing(client: &Client, limit: usize) -> Result<Vec<Missing>, StoreError> {
    let rows = client
        .query(
            "SELECT i.stream, m.first, m.last, m.noticed_at, m.acknowledged_at \
             FROM missing m JOIN incarnations i ON i.id = m.incarnation \
             ORDER BY m.incarnation DESC, m.first DESC LIMIT $1",
            &[&signed(limit as u64)],
        )
        .await?;
    let missing = rows.iter().map(|row| Missing {
        stream: row.get(0),
        first: unsigned(row.get(1)),
        last: unsigned(row.get(2)),
        noticed_at: row.get(3),
        acknowledged_at: row.get(4),
    });
    Ok(missing.collect())
}
