//! The store's counters at one commit.

use rusqlite::Transaction;
use tokio::sync::watch;

use crate::store::{
    query::{Seen, Stats},
    sqlite::{topics::StoredTopics, writer::incarnation::load_applied},
};

pub(super) fn stats(
    read: &Transaction<'_>,
    names: usize,
    missing: &watch::Receiver<u64>,
) -> rusqlite::Result<Stats> {
    let (mut stats, incarnation) = read
        .prepare_cached(
            "SELECT received, unique_processed, duplicate_dropped, rejected, conflicts, \
                    redelivered, topics, incarnation, processed_at, rejected_evicted, \
                    conflicts_evicted, rejected_seen, conflicts_seen, \
                    (SELECT count(*) FROM rejected WHERE requeued_at IS NOT NULL AND id > rejected_seen) \
             FROM counters",
        )?
        .query_row([], |row| {
            let stats = Stats {
                received: row.get(0)?,
                unique_processed: row.get(1)?,
                duplicate_dropped: row.get(2)?,
                rejected: row.get(3)?,
                conflicts: row.get(4)?,
                redelivered: row.get(5)?,
                topics_total: row.get(6)?,
                processed_at: row.get(8)?,
                rejected_evicted: row.get(9)?,
                conflicts_evicted: row.get(10)?,
                rejected_seen: Seen::dense(row.get(11)?),
                conflicts_seen: Seen::dense(row.get(12)?),
                rejected_requeued: row.get(13)?,
                ..Stats::default()
            };
            Ok((stats, row.get::<_, Option<i64>>(7)?))
        })?;
    stats.missing = *missing.borrow();
    if names > 0 {
        StoredTopics::open(read)?.names_after("", |name, _| {
            stats.topics.push(name.to_owned());
            Ok(stats.topics.len() < names)
        })?;
    }
    if let Some(incarnation) = incarnation {
        stats.stream = read
            .prepare_cached("SELECT stream, created FROM incarnations WHERE id = ?1")?
            .query_row([incarnation], |row| Ok(Some((row.get(0)?, row.get(1)?))))?;
        stats.applied = load_applied(read, incarnation)?;
    }
    Ok(stats)
}
