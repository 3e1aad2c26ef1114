//! The counts of topics over time are kept by minute for [`MINUTES_KEPT`]. After that, each minute is added to the first one of its hour.
//!
//! A histogram of such times has buckets of whole hours, so it is the same before and after. Time is that of the latest batch, as no
//! batch counts in minutes that are older by days. In an hour one row has the counts of all writers, but those of a copy, which `aggregator verify`
//! counts apart.

use std::{collections::BTreeMap, sync::Weak, time::Duration};

use tokio::time::sleep;
use tracing::debug;

use super::lease;
use crate::store::{
    StoreError,
    postgres::{
        Shared,
        connect::{LONGEST, Pool, Transaction, limited},
    },
    query::{MICROS_PER_MINUTE, MINUTES_KEPT},
};

/// Topics of a minute that are added in one transaction.
const TOPICS: i64 = if cfg!(test) { 2 } else { 500 };

/// How long after a pass the next one follows.
const PERIOD: Duration = Duration::from_secs(5);

/// How long another aggregator waits before it takes over.
const LEASE_SECONDS: f64 = 60.0;

const LATEST: &str = "SELECT coalesce(max(processed_at), 0) FROM counters";

/// To be added are rows of minutes that are not the first of their hour, or of writers other than 0, which has the sums.
const OLDEST: &str =
    "SELECT min(minute) FROM topic_minutes WHERE minute < $1 AND (minute % 60 <> 0 OR writer > 0)";

const NAMES: &str = "SELECT DISTINCT topic FROM topic_minutes WHERE minute = $1 AND (minute % 60 <> 0 OR writer > 0) ORDER BY topic LIMIT $2";

const DELETE: &str = "DELETE FROM topic_minutes WHERE minute = $1 AND (minute % 60 <> 0 OR writer > 0) AND topic = ANY ($2) \
     RETURNING topic, writer, unique_processed, duplicate_dropped";

const ADD: &str = "INSERT INTO topic_minutes AS m (topic, minute, writer, unique_processed, duplicate_dropped) \
     SELECT t, $5::bigint, w, u, d FROM unnest($1::bytea[], $2::int4[], $3::bigint[], $4::bigint[]) AS a (t, w, u, d) \
     ON CONFLICT (topic, minute, writer) DO UPDATE SET \
     unique_processed = m.unique_processed + excluded.unique_processed, \
     duplicate_dropped = m.duplicate_dropped + excluded.duplicate_dropped";

/// Adds minutes to their hours for as long as the store is used, if this aggregator has the lease. Nothing waits for it: if it fails, it is
/// tried again, and histograms are the same meanwhile.
pub(super) async fn run(shared: &Weak<Shared>) {
    loop {
        let Some((pool, holder)) = shared
            .upgrade()
            .map(|shared| (shared.pool.clone(), shared.holder.clone()))
        else {
            return;
        };
        let pass = async {
            let lease = lease(&pool, &holder, "hours", LEASE_SECONDS);
            if lease.await?.is_some() {
                add_up(&pool).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(err) = limited(LONGEST, pass).await {
            debug!(error = %err, "old minutes were not added to their hours; retrying");
        }
        sleep(PERIOD).await;
    }
}

/// Adds all minutes that are old enough to their hours, some topics of a minute at a time.
pub(in crate::store::postgres) async fn add_up(pool: &Pool) -> Result<(), StoreError> {
    while add_some(pool).await? {}
    Ok(())
}

/// Adds some topics of the oldest minute in one transaction, and returns whether there was one.
async fn add_some(pool: &Pool) -> Result<bool, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(LATEST).await?;
    let latest: i64 = client.query_one(&statement, &[]).await?.get(0);
    let end = hour_of(latest.div_euclid(MICROS_PER_MINUTE)) - MINUTES_KEPT;
    let statement = client.prepare_cached(OLDEST).await?;
    let oldest: Option<i64> = client.query_one(&statement, &[&end]).await?.get(0);
    drop(client);
    let Some(minute) = oldest else {
        return Ok(false);
    };
    let transaction = Transaction::begin(pool).await?;
    let client = transaction.client();
    let names = client.query(NAMES, &[&minute, &TOPICS]).await?;
    let names: Vec<&[u8]> = names.iter().map(|row| row.get(0)).collect();
    // What another aggregator deletes at the same time, it also adds.
    let rows = client.query(DELETE, &[&minute, &names]).await?;
    let mut sums: BTreeMap<(&[u8], i32), (i64, i64)> = BTreeMap::new();
    for row in &rows {
        let writer = row.get::<_, i32>(1).min(0);
        let sum = sums.entry((row.get(0), writer)).or_default();
        sum.0 += row.get::<_, i64>(2);
        sum.1 += row.get::<_, i64>(3);
    }
    let (topics, writers): (Vec<&[u8]>, Vec<i32>) = sums.keys().copied().unzip();
    let (unique, duplicates): (Vec<i64>, Vec<i64>) = sums.values().copied().unzip();
    client
        .execute(
            ADD,
            &[&topics, &writers, &unique, &duplicates, &hour_of(minute)],
        )
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// The first minute of the hour.
fn hour_of(minute: i64) -> i64 {
    minute - minute.rem_euclid(60)
}
