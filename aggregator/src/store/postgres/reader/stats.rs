//! The store's counters, added up.

use deadpool_postgres::Client;
use tokio_postgres::Row;

use super::{MISSING, text};
use crate::store::{
    StoreError,
    postgres::{
        connect::{Pool, Transaction},
        lives::{self, unsigned},
        seen,
        upkeep::ALIVE_SECONDS,
    },
    query::{Alive, Stats},
};

const COUNTERS: &str = "SELECT coalesce(sum(received), 0)::bigint, coalesce(sum(unique_processed), 0)::bigint, \
     coalesce(sum(duplicate_dropped), 0)::bigint, coalesce(sum(rejected), 0)::bigint, coalesce(sum(rejected_evicted), 0)::bigint, \
     coalesce(sum(conflicts), 0)::bigint, coalesce(sum(conflicts_evicted), 0)::bigint, coalesce(sum(redelivered), 0)::bigint, \
     coalesce(max(processed_at), 0) FROM counters";

const REQUEUED: &str = "SELECT count(*) FROM rejected WHERE requeued_at IS NOT NULL AND place > $1";

/// An aggregator that has ended gave its slot back; one that was killed has it until it has not given a sign for long enough.
const ALIVE: &str = "SELECT name, (extract(epoch FROM since) * 1000000)::bigint, \
     (extract(epoch FROM alive_until - $1::float8 * interval '1 second') * 1000000)::bigint, holder = $2 \
     FROM aggregators WHERE alive_until > clock_timestamp() ORDER BY since, slot";

/// The counters, and the first names of topics. `holder` identifies the aggregator that asks.
pub(in crate::store::postgres) async fn stats(
    pool: &Pool,
    holder: &str,
    names: usize,
) -> Result<Stats, StoreError> {
    let transaction = Transaction::snapshot(pool).await?;
    let client = transaction.client();
    let statement = client.prepare_cached(COUNTERS).await?;
    let row = client.query_one(&statement, &[]).await?;
    let count = |column: usize| unsigned(row.get(column));
    let (rejected_seen, conflicts_seen) = seen::all(client).await?;
    let requeued = client
        .query_one(REQUEUED, &[&lives::signed(rejected_seen.up_to)])
        .await?;
    let mut stats = Stats {
        received: count(0),
        unique_processed: count(1),
        duplicate_dropped: count(2),
        rejected: count(3),
        rejected_evicted: count(4),
        conflicts: count(5),
        conflicts_evicted: count(6),
        redelivered: count(7),
        processed_at: row.get(8),
        rejected_requeued: unsigned(requeued.get(0)),
        rejected_seen,
        conflicts_seen,
        ..Stats::default()
    };
    let statement = client.prepare_cached(super::topics::NUMBER).await?;
    stats.topics_total = unsigned(client.query_one(&statement, &[]).await?.get(0));
    stats.topics = topics(client, names).await?;
    stats.missing = unsigned(client.query_one(MISSING, &[]).await?.get(0));
    let current = client
        .query_opt(
            "SELECT stream, created FROM incarnations ORDER BY id DESC LIMIT 1",
            &[],
        )
        .await?;
    if let Some(row) = current {
        let (name, created): (String, i64) = (row.get(0), row.get(1));
        let lives = lives::Lives::load(client, (name.as_str().into(), created)).await?;
        if let Some(current) = lives.current() {
            stats.applied = lives::applied(&transaction, current).await?;
        }
        stats.stream = Some((name, created));
    }
    let statement = client.prepare_cached(ALIVE).await?;
    let rows = client.query(&statement, &[&ALIVE_SECONDS, &holder]).await?;
    let alive = |row: &Row| Alive {
        name: row.get(0),
        since: row.get(1),
        seen: row.get(2),
        is_this: row.get(3),
    };
    stats.aggregators = rows.iter().map(alive).collect();
    transaction.commit().await?;
    Ok(stats)
}

async fn topics(client: &Client, names: usize) -> Result<Vec<String>, StoreError> {
    if names == 0 {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(names).unwrap_or(i64::MAX);
    let rows = client
        .query(
            "SELECT DISTINCT topic FROM topics ORDER BY topic LIMIT $1",
            &[&limit],
        )
        .await?;
    rows.iter().map(|row| text(row.get(0))).collect()
}
