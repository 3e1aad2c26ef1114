//! The comparison of the stream with the store, by any number of aggregators at once.

use std::sync::Arc;

use tracing::warn;

use super::{Life, Lives, begin, fold, signed, unsigned};
use crate::store::{
    ObservedStream, StoreError,
    postgres::connect::{Pool, Transaction},
    ranges::Ranges,
};

/// Compares the stream with the store, and begins a new life if it is another stream or lost its tail. Returns the lives as they are
/// then.
///
/// Other aggregators apply messages meanwhile. A tail is lost only if the stream ends before a message that was applied before
/// the stream was observed, which `observed.looked` says.
pub(in crate::store::postgres) async fn meet(
    pool: &Pool,
    observed: &ObservedStream,
    now: i64,
) -> Result<Lives, StoreError> {
    let stream = &observed.stream;
    let key = (Arc::<str>::from(stream.name.as_str()), stream.created);
    let looked = observed.looked;
    let mut is_other = observed.is_other;
    loop {
        let client = pool.get().await?;
        let lives = Lives::load(&client, key.clone()).await?;
        // For the transaction that may follow.
        drop(client);
        let current = lives.current().map_or(0, |life| life.id);
        let seen = looked.unwrap_or_else(|| lives.looked());
        let is_new = match lives.current() {
            None => true,
            // Another stream was compared since; its places are in between.
            Some(life) if life.id != lives.newest => true,
            Some(life) => seen.incarnation == life.id && (is_other || stream.last < seen.highest),
        };
        if !is_new {
            break;
        }
        begin(pool, (&stream.name, stream.created), current, now).await?;
        is_other = false;
        if looked.is_none() {
            // What is applied in the new life comes from this stream.
            break;
        }
    }
    let transaction = Transaction::begin(pool).await?;
    // Others that compare or fold wait here.
    transaction
        .client()
        .execute(
            "SELECT 1 FROM incarnations WHERE stream = $1 AND created = $2 FOR UPDATE",
            &[&stream.name, &stream.created],
        )
        .await?;
    let mut lives = Lives::load(transaction.client(), key.clone()).await?;
    note_missing(&transaction, &mut lives, observed, now).await?;
    if let Some(current) = lives.all.last_mut() {
        while fold(&transaction, current).await? {}
    }
    let lives = Lives::load(transaction.client(), key).await?;
    transaction.commit().await?;
    Ok(lives)
}

/// Records the sequences that the stream no longer has and that were never applied, and lets the floor pass them.
async fn note_missing(
    transaction: &Transaction,
    lives: &mut Lives,
    observed: &ObservedStream,
    now: i64,
) -> Result<(), StoreError> {
    let Some((current, earlier)) = lives.all.split_last() else {
        return Ok(());
    };
    let client = transaction.client();
    let mut known = Ranges::default();
    // Sequences that an earlier epoch applied are not missing.
    for life in earlier {
        let applied = applied(transaction, life).await?;
        for (first, last) in applied.iter() {
            known.insert(first, last);
        }
    }
    let mut applied = applied(transaction, current).await?;
    let never_assigned = (1, observed.begins.saturating_sub(1));
    let trimmed = (1, observed.stream.first.saturating_sub(1));
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    let (mut missing_firsts, mut missing_lasts) = (Vec::new(), Vec::new());
    let mut missing = 0;
    let ranges = [never_assigned, trimmed];
    for (index, (first, last)) in ranges
        .into_iter()
        .chain(observed.deleted.iter())
        .enumerate()
    {
        let gaps: Vec<_> = applied.gaps(first, last).collect();
        for (first, last) in gaps {
            firsts.push(signed(first));
            lasts.push(signed(last));
            if index == 0 {
                continue;
            }
            for (first, last) in known.gaps(first, last) {
                missing_firsts.push(signed(first));
                missing_lasts.push(signed(last));
                missing += last - first + 1;
            }
        }
        applied.insert(first, last);
    }
    if firsts.is_empty() {
        return Ok(());
    }
    client
        .execute(
            "INSERT INTO passed (incarnation, first, last) SELECT $1::bigint, f, l FROM unnest($2::bigint[], $3::bigint[]) AS r (f, l) \
             ON CONFLICT (incarnation, first) DO UPDATE SET last = greatest(passed.last, excluded.last)",
            &[&current.id, &firsts, &lasts],
        )
        .await?;
    if missing > 0 {
        client
            .execute(
                "INSERT INTO missing (incarnation, first, last, noticed_at) \
                 SELECT $1::bigint, f, l, $4::bigint FROM unnest($2::bigint[], $3::bigint[]) AS r (f, l) ON CONFLICT DO NOTHING",
                &[&current.id, &missing_firsts, &missing_lasts, &now],
            )
            .await?;
        warn!(
            stream.name = observed.stream.name,
            missing,
            ranges = missing_firsts.len(),
            "the stream lost messages that were never applied; GET /missing lists them"
        );
    }
    Ok(())
}

/// The sequences of a life that are applied or passed.
pub(in crate::store::postgres) async fn applied(
    transaction: &Transaction,
    life: &Life,
) -> Result<Ranges, StoreError> {
    let client = transaction.client();
    let mut applied = Ranges::default();
    applied.insert(1, unsigned(life.floor));
    for (first, last) in life.copied.iter() {
        applied.insert(first, last);
    }
    // Neighbours in one row: an unfinished life has tens of thousands of rows at most, but few ranges.
    let statement = client
        .prepare_cached(
            "SELECT min(sequence), max(sequence) FROM (SELECT sequence, sequence - row_number() OVER (ORDER BY sequence) AS island \
             FROM applied WHERE incarnation = $1) numbered GROUP BY island \
             UNION ALL SELECT first, last FROM passed WHERE incarnation = $1",
        )
        .await?;
    for row in client.query(&statement, &[&life.id]).await? {
        applied.insert(unsigned(row.get(0)), unsigned(row.get(1)));
    }
    Ok(applied)
}
