//! Which deliveries of a batch were applied before.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::Client;

use super::{Part, not_compared};
use crate::store::{
    StoreError,
    postgres::{
        lives::{Life, Lives, signed, unsigned},
        writer::rows,
    },
};

/// Which deliveries of a batch were not applied before.
pub(super) enum Fresh {
    /// For each whether it is applied by this batch, and how many are redeliveries.
    Known(Vec<bool>, u64),
    /// A sequence of the current life belongs to another message.
    Reused,
    /// A row was there at the insert, and is folded now: the next attempt sees the floor that includes it.
    Folded,
}

impl Part<'_> {
    /// Which deliveries are applied by this batch.
    pub(super) async fn fresh(
        &self,
        client: &Client,
        inserted: &HashSet<u64>,
        lives: &Lives,
    ) -> Result<Fresh, StoreError> {
        let (current, earlier) = lives.all.split_last().ok_or_else(not_compared)?;
        let is_simple = earlier.is_empty()
            && inserted.len() == self.batch.len()
            && self
                .batch
                .iter()
                .all(|delivery| !current.has_settled(delivery.sequence));
        if is_simple {
            return Ok(Fresh::Known(vec![true; self.batch.len()], 0));
        }
        let times = self.times(client, lives).await?;
        let lost = lost(client, inserted, current).await?;
        let mut seen = HashSet::new();
        let mut fresh = Vec::with_capacity(self.batch.len());
        let mut redelivered = 0;
        for (delivery, fingerprints) in self.batch.iter().zip(self.fingerprints) {
            let sequence = delivery.sequence;
            let is_inserted = inserted.contains(&sequence) && seen.insert(sequence);
            let is_at = |life: &Life| times.get(&(life.id, sequence)) == Some(&delivery.time);
            let was_applied = if !is_inserted {
                // Its row is of the transaction that stored its events; or it comes twice in this batch.
                match times.get(&(current.id, sequence)) {
                    Some(time) if *time == delivery.time => true,
                    Some(_) => return Ok(Fresh::Reused),
                    None => return Ok(Fresh::Folded),
                }
            } else if earlier.iter().any(is_at) {
                true
            } else if lost.contains(&sequence) {
                // It is settled because the stream lost it while it was in hand.
                false
            } else {
                let is_known = lives.all.iter().any(|life| life.may_have_folded(delivery));
                let is_stored =
                    is_known && rows::is_stored(client, delivery, fingerprints, lives).await?;
                if !is_stored && current.has_settled(sequence) {
                    return Ok(Fresh::Reused);
                }
                is_stored
            };
            redelivered += u64::from(was_applied);
            fresh.push(!was_applied);
        }
        Ok(Fresh::Known(fresh, redelivered))
    }

    /// The times of this batch's sequences in the rows of all lives.
    async fn times(
        &self,
        client: &Client,
        lives: &Lives,
    ) -> Result<HashMap<(i64, u64), i64>, StoreError> {
        let ids: Vec<i64> = lives.all.iter().map(|life| life.id).collect();
        let sequences: Vec<i64> = self
            .batch
            .iter()
            .map(|delivery| signed(delivery.sequence))
            .collect();
        let statement = client
            .prepare_cached(
                "SELECT incarnation, sequence, time FROM applied WHERE incarnation = ANY ($1) AND sequence = ANY ($2)",
            )
            .await?;
        let rows = client.query(&statement, &[&ids, &sequences]).await?;
        Ok(rows
            .iter()
            .map(|row| ((row.get(0), unsigned(row.get(1))), row.get(2)))
            .collect())
    }
}

/// Those of these sequences that are settled, but were never applied.
async fn lost(
    client: &Client,
    inserted: &HashSet<u64>,
    current: &Life,
) -> Result<HashSet<u64>, StoreError> {
    let settled = inserted
        .iter()
        .filter(|sequence| current.has_settled(**sequence));
    let settled: Vec<i64> = settled.map(|sequence| signed(*sequence)).collect();
    if settled.is_empty() {
        return Ok(HashSet::new());
    }
    let statement = client
        .prepare_cached(
            "SELECT s FROM unnest($2::bigint[]) AS b (s) WHERE EXISTS \
             (SELECT 1 FROM missing WHERE incarnation = $1 AND first <= s AND last >= s)",
        )
        .await?;
    let rows = client.query(&statement, &[&current.id, &settled]).await?;
    Ok(rows.iter().map(|row| unsigned(row.get(0))).collect())
}
