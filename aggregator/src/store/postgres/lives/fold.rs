//! The floor: rows of applied messages are folded into one number once all messages before them are applied.
//!
//! Any number of aggregators may fold at once: the row of the life is locked, and the floor is computed from committed rows, so that
//! each of them is right. An append that waits for the deletion of a row inserts it again, and then reads a floor that
//! includes it: its insert comes before its read of the lives.

use super::{Life, signed, unsigned};
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
    let floor = signed(known.floor());
    if floor <= life.floor {
        return Ok(false);
    }
    let folded = applied.iter().filter(|(sequence, _)| *sequence <= floor);
    for (sequence, time) in folded {
        life.latest_time = life.latest_time.max(*time);
        if unsigned(*sequence) > life.witness.sequence {
            life.witness = Witness {
                sequence: unsigned(*sequence),
                time: *time,
            };
        }
    }
    life.floor = floor;
    for sql in [
        "DELETE FROM applied WHERE incarnation = $1 AND sequence <= $2",
        "DELETE FROM passed WHERE incarnation = $1 AND last <= $2",
    ] {
        let statement = client.prepare_cached(sql).await?;
        client.execute(&statement, &[&life.id, &floor]).await?;
    }
    let statement = client
        .prepare_cached(
            "UPDATE incarnations SET floor = $2, latest_time = $3, witness = $4, witness_time = $5 WHERE id = $1",
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
            ],
        )
        .await?;
    Ok(true)
}
