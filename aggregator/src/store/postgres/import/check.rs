//! Compares what is not a row of a part: the counters, the counts over time, the lives and the missing sequences.

use deadpool_postgres::Client;

use super::{PATIENT, Target};
use crate::store::{
    copy::{CopyError, Record},
    postgres::{
        connect::Transaction,
        lives::{signed, stored_form},
    },
};

/// The sums of the counters and of the topics, and the events by minute.
const COUNTS: &str = "SELECT c.received, c.unique_processed, c.duplicate_dropped, c.rejected, c.conflicts, c.redelivered, \
     t.unique_processed, t.duplicate_dropped, m.unique_processed FROM \
     (SELECT coalesce(sum(received), 0)::bigint AS received, coalesce(sum(unique_processed), 0)::bigint AS unique_processed, \
     coalesce(sum(duplicate_dropped), 0)::bigint AS duplicate_dropped, coalesce(sum(rejected), 0)::bigint AS rejected, \
     coalesce(sum(conflicts), 0)::bigint AS conflicts, coalesce(sum(redelivered), 0)::bigint AS redelivered FROM counters) c, \
     (SELECT coalesce(sum(unique_processed), 0)::bigint AS unique_processed, \
     coalesce(sum(duplicate_dropped), 0)::bigint AS duplicate_dropped FROM topics) t, \
     (SELECT coalesce(sum(unique_processed), 0)::bigint AS unique_processed FROM minutes) m";

const LIVES: &str = "SELECT id, created, epoch, base, begun_at, floor, latest_time, witness, witness_time, evicted_to, copied, stream \
     FROM incarnations ORDER BY id";

impl Target {
    /// Compares the counts, the lives and the missing sequences with the record.
    pub async fn check_counts(&self, record: &Record) -> Result<(), CopyError> {
        let transaction = Transaction::begin(&self.pool).await?;
        let client = transaction.client();
        client.batch_execute(PATIENT).await?;
        check(client, record).await?;
        Ok(transaction.commit().await?)
    }
}

async fn check(client: &Client, record: &Record) -> Result<(), CopyError> {
    let totals = &record.totals;
    let row = client.query_one(COUNTS, &[]).await?;
    let found: Vec<i64> = (0..9).map(|column| row.get(column)).collect();
    let expected = [
        totals.received,
        totals.unique,
        totals.duplicates,
        totals.rejected,
        totals.conflicts,
        totals.redelivered,
        totals.unique,
        totals.duplicates,
        totals.unique,
    ]
    .map(signed);
    if found != expected {
        return Err(CopyError::Differs(format!(
            "counts: {expected:?} were copied, {found:?} read back"
        )));
    }
    let rows = client.query(LIVES, &[]).await?;
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let numbers: Vec<i64> = (0..10).map(|column| row.get(column)).collect();
            let (copied, stream): (Option<Vec<i64>>, String) = (row.get(10), row.get(11));
            (numbers, copied, stream)
        })
        .collect();
    let lives = record.lives.all.iter().map(|numbered| {
        let life = &numbered.life;
        let floor = signed(life.applied.floor());
        let numbers = vec![
            numbered.id,
            life.created,
            life.epoch,
            numbered.base,
            life.begun_at,
            floor,
            life.latest_time,
            signed(life.witness.sequence),
            life.witness.time,
            signed(life.evicted_to),
        ];
        let copied = stored_form(&life.applied, floor);
        (numbers, copied, life.stream.clone())
    });
    if found != lives.collect::<Vec<_>>() {
        return Err(CopyError::Differs("the applied sequences".to_owned()));
    }
    let sql = "SELECT count(*), coalesce(sum(last - first + 1), 0)::bigint, count(acknowledged_at) FROM missing";
    let row = client.query_one(sql, &[]).await?;
    let found: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
    let missing = record.missing.as_slice();
    let sequences = missing
        .iter()
        .map(|range| range.last - range.first + 1)
        .sum();
    let acknowledged = missing
        .iter()
        .filter(|range| range.acknowledged_at.is_some())
        .count();
    let expected = [missing.len() as u64, sequences, acknowledged as u64].map(signed);
    if found != expected {
        return Err(CopyError::Differs("the missing sequences".to_owned()));
    }
    Ok(())
}
