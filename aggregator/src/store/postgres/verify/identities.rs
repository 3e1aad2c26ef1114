//! Checks that no identity is stored twice, and that the index of identities has every event.

use deadpool_postgres::Client;

use super::{SESSION, connection, share::answered};
use crate::store::{
    StoreError,
    postgres::{
        connect::{Pool, Transaction},
        lives::unsigned,
    },
    verify::{Check, Progress},
};

/// Events in a range of fingerprints, approximately.
const RANGE: u64 = if cfg!(test) { 2 } else { 100_000 };

/// The ranges differ in the first two bytes of a fingerprint.
const MOST_RANGES: u64 = 1 << 16;

/// Above every fingerprint.
const END: [u8; 17] = [0xff; 17];

const COUNT: &str = "SELECT count(*), count(DISTINCT fingerprint) FROM events WHERE fingerprint >= $1 AND fingerprint < $2";

const TWICE: &str = "SELECT min(place), max(place) FROM events WHERE fingerprint >= $1 AND fingerprint < $2 \
     GROUP BY fingerprint HAVING count(*) > 1 ORDER BY 1 LIMIT 5";

const HAS_INDEX: &str = "SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
     WHERE i.indrelid = to_regclass('events') AND i.indisvalid AND a.attname = 'fingerprint')";

/// The planner may choose to read the table, even for all ranges at once, which proves nothing about the index.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off";

const UNIQUE: &str = "SELECT coalesce(sum(unique_processed), 0)::bigint FROM counters";

/// Counts the identities in ranges of their fingerprints. `rows` were read in the order of places, after `unique` of them were recorded.
pub(super) async fn check(
    pool: &Pool,
    (rows, unique): (u64, u64),
    progress: &dyn Progress,
) -> Result<Check, StoreError> {
    let mut check = Check::new("identities, each stored once");
    let client = connection(pool).await?;
    let has_index: bool = client.query_one(HAS_INDEX, &[]).await?.get(0);
    drop(client);
    if !has_index {
        // Each range would be a scan of the table, and all of them at once would take too long.
        check.leave_out("the events have no valid index of their fingerprints");
        return Ok(check);
    }
    let ranges = ranges(rows);
    let (mut events, mut identities) = (0, 0);
    for number in 0..ranges {
        let (first, end) = (bound(number, ranges), bound(number + 1, ranges));
        // One for each range, so that none lasts for long.
        let transaction = Transaction::snapshot(pool).await?;
        let client = transaction.client();
        client.batch_execute(SESSION).await?;
        client.batch_execute(BY_INDEX).await?;
        let (counted, distinct) = answered(count(client, &first, &end)).await?;
        if counted > distinct {
            twice(client, (&first, &end), counted - distinct, &mut check).await?;
        }
        transaction.commit().await?;
        events += counted;
        identities += distinct;
        progress.at("identities compared", events.min(rows), rows);
    }
    check.show(events, identities);
    let client = connection(pool).await?;
    let now = unsigned(client.query_one(UNIQUE, &[]).await?.get(0));
    if now != unique {
        check.note(
            "aggregators stored events meanwhile, so it is not proven that the index has every row: verify without them for that",
        );
    }
    if events < rows {
        check.differs(|| {
            format!("the index of fingerprints has {events} events, but {rows} were read by their places")
        });
    }
    Ok(check)
}

async fn count(client: &Client, first: &[u8], end: &[u8]) -> Result<(u64, u64), StoreError> {
    let statement = client.prepare_cached(COUNT).await?;
    let row = client.query_one(&statement, &[&first, &end]).await?;
    Ok((unsigned(row.get(0)), unsigned(row.get(1))))
}

/// Names the first events of a range whose identities are stored more than once.
async fn twice(
    client: &Client,
    (first, end): (&[u8], &[u8]),
    extra: u64,
    check: &mut Check,
) -> Result<(), StoreError> {
    let rows = client.query(TWICE, &[&first, &end]).await?;
    for row in &rows {
        let (one, other): (i64, i64) = (row.get(0), row.get(1));
        check.differs(|| format!("events {one} and {other} have the same identity"));
    }
    check.differences += extra.saturating_sub(rows.len() as u64);
    Ok(())
}

/// A power of two, so that the ranges have the same size.
fn ranges(rows: u64) -> u64 {
    (rows / RANGE).next_power_of_two().min(MOST_RANGES)
}

/// The first fingerprint of a range, or the end of the one before it. The first range begins below every fingerprint.
fn bound(number: u64, ranges: u64) -> Vec<u8> {
    match u16::try_from(number * (MOST_RANGES / ranges)) {
        Ok(0) => Vec::new(),
        Ok(prefix) => prefix.to_be_bytes().to_vec(),
        Err(_) => END.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_one_another_and_have_every_fingerprint() {
        for rows in [0, 1, 5, 1_000, u64::MAX / 4] {
            let ranges = ranges(rows);
            let bounds: Vec<_> = (0..=ranges).map(|number| bound(number, ranges)).collect();
            assert!(bounds.is_sorted_by(|a, b| a < b), "{rows}");
            assert_eq!(
                (&bounds[0][..], bounds.last().unwrap().len()),
                (&[][..], 17)
            );
        }
    }
}
