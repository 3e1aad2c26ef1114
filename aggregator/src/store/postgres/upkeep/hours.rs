//! The counts of topics over time are kept by minute for [`MINUTES_KEPT`]. After that, each minute is added to the first one of its hour.
//!
//! A histogram of such times has buckets of whole hours, so it is the same before and after. Time is that of the latest batch, as no
//! batch counts in minutes that are older by days.

use crate::store::{
    StoreError,
    postgres::connect::{Pool, Transaction},
    query::{MICROS_PER_MINUTE, MINUTES_KEPT},
};

/// Minutes added in one pass.
const MINUTES: u32 = 10;

const LATEST: &str = "SELECT coalesce(max(processed_at), 0) FROM counters";

const OLDEST: &str = "SELECT min(minute) FROM topic_minutes WHERE minute < $1 AND minute % 60 <> 0";

const DELETE: &str = "DELETE FROM topic_minutes WHERE minute = $1 AND minute % 60 <> 0 \
     RETURNING topic, writer, unique_processed, duplicate_dropped";

const ADD: &str = "INSERT INTO topic_minutes AS m (topic, minute, writer, unique_processed, duplicate_dropped) \
     SELECT t, $5::bigint, w, u, d FROM unnest($1::bytea[], $2::int4[], $3::bigint[], $4::bigint[]) AS a (t, w, u, d) \
     ON CONFLICT (topic, minute, writer) DO UPDATE SET \
     unique_processed = m.unique_processed + excluded.unique_processed, \
     duplicate_dropped = m.duplicate_dropped + excluded.duplicate_dropped";

/// Adds the oldest minutes to their hours, each in a transaction: as many rows at a time as there are counted topics and writers.
pub(super) async fn add_up(pool: &Pool) -> Result<(), StoreError> {
    for _ in 0..MINUTES {
        if !add_minute(pool).await? {
            break;
        }
    }
    Ok(())
}

/// Adds a minute, and returns whether there was one.
async fn add_minute(pool: &Pool) -> Result<bool, StoreError> {
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
    // What another aggregator deletes at the same time, it also adds.
    let mut rows = client.query(DELETE, &[&minute]).await?;
    rows.sort_by_cached_key(|row| (row.get::<_, Vec<u8>>(0), row.get::<_, i32>(1)));
    let topics: Vec<&[u8]> = rows.iter().map(|row| row.get(0)).collect();
    let writers: Vec<i32> = rows.iter().map(|row| row.get(1)).collect();
    let unique: Vec<i64> = rows.iter().map(|row| row.get(2)).collect();
    let duplicates: Vec<i64> = rows.iter().map(|row| row.get(3)).collect();
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
