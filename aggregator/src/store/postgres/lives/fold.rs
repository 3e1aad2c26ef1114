//! The floor: rows of applied messages are folded into one number once all messages before them are applied.
//!
//! Any number of aggregators may fold at once: the row of the life is locked, and the floor is computed from committed rows, so that
//! each of them is right. An append that waits for the deletion of a row inserts it again, and then reads a floor that
//! includes it: its insert comes before its read of the lives.

use super::{Life, signed, stored_form, unsigned};
use crate::store::{StoreError, Witness, postgres::connect::Transaction, ranges::Ranges};

/// Rows folded in one transaction.
const ROWS: i64 = 50_000;

/// Raises the floor of a life, whose row the transaction has locked, as far as it goes; returns whether it rose.
pub(in crate::store::postgres) async fn fold(
    transaction: &Transaction,
    life: &mut Life,
) -> Result<bool, StoreError> {
    let client = transaction.client();
    let statement = client
        .prepare_cached(
            "SELECT sequence, time FROM applied WHERE incarnation = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        )
        .await?;
    let applied = client
        .query(&statement, &[&life.id, &life.floor, &ROWS])
        .await?;
    let applied = applied
        .iter()
        .map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)));
    let applied: Vec<_> = applied.collect();
    let mut known = Ranges::default();
    known.insert(1, unsigned(life.floor));
    for (sequence, _) in &applied {
        known.insert(unsigned(*sequence), unsigned(*sequence));
    }
    let statement = client
        .prepare_cached("SELECT first, last FROM passed WHERE incarnation = $1 AND last > $2")
        .await?;
    for row in client.query(&statement, &[&life.id, &life.floor]).await? {
        known.insert(unsigned(row.get(0)), unsigned(row.get(1)));
    }
    for (first, last) in life.copied.iter() {
        known.insert(first, last);
    }
    let floor = signed(known.floor());
    if floor <= life.floor {
        return Ok(false);
    }
    life.floor = floor;
    let statement = client
        .prepare_cached(
            "DELETE FROM applied WHERE incarnation = $1 AND sequence <= $2 RETURNING sequence, time",
        )
        .await?;
    // Also those that were committed since they were read above, and those below an earlier floor.
    let mut folded = Ranges::default();
    for row in client.query(&statement, &[&life.id, &floor]).await? {
        let (sequence, time) = (unsigned(row.get(0)), row.get(1));
        life.latest_time = life.latest_time.max(time);
        if sequence > life.witness.sequence {
            life.witness = Witness { sequence, time };
        }
        folded.insert(sequence, sequence);
    }
    not_missing(transaction, life, &folded).await?;
    let statement = client
        .prepare_cached("DELETE FROM passed WHERE incarnation = $1 AND last <= $2")
        .await?;
    client.execute(&statement, &[&life.id, &floor]).await?;
    let copied = stored_form(&life.copied, floor);
    let statement = client
        .prepare_cached(
            "UPDATE incarnations SET floor = $2, latest_time = $3, witness = $4, witness_time = $5, copied = $6 WHERE id = $1",
        )
        .await?;
    let witness = signed(life.witness.sequence);
    client
        .execute(
            &statement,
            &[
                &life.id,
                &floor,
                &life.latest_time,
                &witness,
                &life.witness.time,
                &copied,
            ],
        )
        .await?;
    Ok(true)
}

/// Removes applied sequences from those that are missing: the stream lost their messages while an aggregator had them in hand.
///
/// A sequence that is missing was therefore never applied, or its row is still there.
async fn not_missing(
    transaction: &Transaction,
    life: &Life,
    applied: &Ranges,
) -> Result<(), StoreError> {
    let Some((lowest, _)) = applied.iter().next() else {
        return Ok(());
    };
    let client = transaction.client();
    let statement = client
        .prepare_cached(
            "SELECT first, last, noticed_at, acknowledged_at FROM missing \
             WHERE incarnation = $1 AND first <= $2 AND last >= $3 ORDER BY first FOR UPDATE",
        )
        .await?;
    let (lowest, highest) = (signed(lowest), signed(applied.highest()));
    let ranges = client
        .query(&statement, &[&life.id, &highest, &lowest])
        .await?;
    for row in ranges {
        let (first, last): (i64, i64) = (row.get(0), row.get(1));
        let left: Vec<_> = applied.gaps(unsigned(first), unsigned(last)).collect();
        if left == [(unsigned(first), unsigned(last))] {
            continue;
        }
        client
            .execute(
                "DELETE FROM missing WHERE incarnation = $1 AND first = $2",
                &[&life.id, &first],
            )
            .await?;
        let (noticed, acknowledged): (i64, Option<i64>) = (row.get(2), row.get(3));
        for (first, last) in left {
            client
                .execute(
                    "INSERT INTO missing (incarnation, first, last, noticed_at, acknowledged_at) VALUES ($1, $2, $3, $4, $5)",
                    &[&life.id, &signed(first), &signed(last), &noticed, &acknowledged],
                )
                .await?;
        }
    }
    Ok(())
}
