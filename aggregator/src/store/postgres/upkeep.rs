//! What runs in addition to the batches: the floor rises, kept rows are evicted, counts of minutes are added to their hours,
//! and what this aggregator knows is read again.
//!
//! One aggregator does the first three, so that the others need not; leases decide which. Nothing rests on them: two that do it at
//! once lock the same rows and are both right.

mod hours;

#[cfg(test)]
pub(super) use self::hours::add_up;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::{
    Shared, checks,
    connect::{LONGEST, Pool, Transaction, limited},
    lives::{self, Lives, signed},
    outcomes,
};
use crate::{machine, store::StoreError};

/// How often the floor is raised, by the aggregator that has the lease, and read by all.
const PERIOD: Duration = Duration::from_millis(200);

/// One pass in this many also checks the database, asks for the lease, which writes to the database, and evicts.
const COMPLETE_EVERY: u32 = 5;

/// How long a slot stays taken without a sign of life.
pub(super) const ALIVE_SECONDS: f64 = 60.0;

/// How long another aggregator waits before it takes over.
const LEASE_SECONDS: f64 = 5.0;

/// Passes between signs of life.
const SIGN_EVERY: u32 = 50;

/// Failures that are expected to pass are reported only after this time without a success.
const PASSING: Duration = Duration::from_secs(2);

/// Numbers of writers for each slot: batches in flight, and the upkeep.
const WRITERS: i32 = 8;

/// The number with which the upkeep counts what it evicts.
const UPKEEP: i32 = WRITERS - 1;

/// Rows evicted in one transaction.
const EVICTED: i64 = 1_000;

/// The writer with a number in an aggregator's slot.
pub(super) fn writer_of(slot: i32, number: i32) -> i32 {
    slot * WRITERS + number
}

/// The writers of an aggregator's batches.
pub(super) fn writers_of(slot: i32) -> Vec<i32> {
    let numbers = 0..UPKEEP;
    numbers.map(|number| writer_of(slot, number)).collect()
}

/// Takes a slot that no living aggregator has, so that the number of counter rows grows with the aggregators, and not with their
/// restarts. Two that had the same slot would wait for each other, and count right.
pub(super) async fn claim_slot(pool: &Pool, holder: &str) -> Result<i32, StoreError> {
    // For people: a container has a host name of its own, and processes of one machine have other ids.
    let name = format!("{}/{}", machine::host(), std::process::id());
    loop {
        let client = pool.get().await?;
        let taken = client
            .query_opt(
                "UPDATE aggregators SET holder = $1, name = $3, since = clock_timestamp(), \
                 alive_until = clock_timestamp() + $2::float8 * interval '1 second' WHERE slot = (SELECT slot FROM aggregators WHERE alive_until < clock_timestamp() \
                 ORDER BY slot LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING slot",
                &[&holder, &ALIVE_SECONDS, &name],
            )
            .await?;
        if let Some(row) = taken {
            return Ok(row.get(0));
        }
        // Of two that add the same slot, one tries again.
        let added = client
            .query_opt(
                "INSERT INTO aggregators (slot, holder, name, alive_until) \
                 SELECT coalesce(max(slot) + 1, 0)::int4, $1, $3, clock_timestamp() + $2::float8 * interval '1 second' FROM aggregators \
                 ON CONFLICT DO NOTHING RETURNING slot",
                &[&holder, &ALIVE_SECONDS, &name],
            )
            .await?;
        if let Some(row) = added {
            return Ok(row.get(0));
        }
    }
}

/// Takes or keeps a lease by the database's clock, and returns its epoch; `None` if another holder has it.
pub(super) async fn lease(
    pool: &Pool,
    holder: &str,
    name: &str,
    seconds: f64,
) -> Result<Option<i64>, StoreError> {
    let client = pool.get().await?;
    let statement = client
        .prepare_cached(
            "INSERT INTO leases AS l (name, holder, epoch, until) VALUES ($1, $2, 1, clock_timestamp() + $3::float8 * interval '1 second') \
             ON CONFLICT (name) DO UPDATE SET \
             epoch = CASE WHEN l.holder = excluded.holder THEN l.epoch ELSE l.epoch + 1 END, \
             holder = excluded.holder, until = excluded.until \
             WHERE l.holder = excluded.holder OR l.until < clock_timestamp() RETURNING epoch",
        )
        .await?;
    let row = client
        .query_opt(&statement, &[&name, &holder, &seconds])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// The upkeep of one aggregator.
#[derive(Debug)]
pub struct Upkeep {
    shared: Weak<Shared>,
    pool: Pool,
    slot: i32,
    holder: String,
}

impl Upkeep {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            pool: shared.pool.clone(),
            slot: shared.slot,
            holder: shared.holder.clone(),
        }
    }

    /// Runs until no writer and no reader is left. Then the slot is free.
    pub async fn run(self) {
        tokio::select! {
            () = self.keep() => {}
            () = outcomes::run(&self.shared) => {}
            () = hours::run(&self.shared) => {}
        }
        if let Err(err) = limited(LONGEST, self.leave()).await {
            debug!(error = %err, "the aggregator's slot stays taken for a while");
        }
    }

    async fn keep(&self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut count, mut worked) = (0_u32, Instant::now());
        let (mut is_holder, mut failed) = (false, false);
        loop {
            ticks.tick().await;
            let Some(shared) = self.shared.upgrade() else {
                break;
            };
            let pass = async {
                if count.is_multiple_of(SIGN_EVERY) {
                    give_sign(&shared).await?;
                }
                // After a failure, a partial pass does not show that all is well again.
                if failed || count.is_multiple_of(COMPLETE_EVERY) {
                    is_holder = pass(&shared).await?;
                    return Ok(());
                }
                follow(&shared, is_holder).await
            };
            let done = limited(LONGEST, pass).await;
            failed = done.is_err();
            match done {
                Ok(()) => {
                    worked = Instant::now();
                    *shared.trouble() = None;
                }
                Err(err) => {
                    shared.failures.count_error(&err);
                    debug!(error = %err, "the upkeep of the store failed; retrying");
                    if worked.elapsed() > PASSING || !err.is_passing() {
                        *shared.trouble() = Some(err.to_string());
                    }
                }
            }
            count = count.wrapping_add(1);
        }
    }

    async fn leave(&self) -> Result<(), StoreError> {
        let client = self.pool.get().await?;
        client
            .execute(
                "UPDATE aggregators SET alive_until = clock_timestamp() WHERE slot = $1::int4 AND holder = $2",
                &[&self.slot, &self.holder],
            )
            .await?;
        client
            .execute(
                "UPDATE leases SET until = clock_timestamp() WHERE holder = $1",
                &[&self.holder],
            )
            .await?;
        Ok(())
    }
}

/// A complete pass; returns whether this aggregator has the lease.
pub(super) async fn pass(shared: &Shared) -> Result<bool, StoreError> {
    // Settings of the server may change without a new connection.
    checks::run_with_clock(&shared.pool, &shared.clock).await?;
    // The holder of the lease must know which floor to raise.
    if shared.lives.borrow().stream.is_none() {
        return Ok(false);
    }
    let lease = lease(&shared.pool, &shared.holder, "upkeep", LEASE_SECONDS).await?;
    let is_holder = lease.is_some();
    follow(shared, is_holder).await?;
    if is_holder {
        evict(shared, &REJECTED, shared.bounds.rejected).await?;
        evict(shared, &CONFLICTS, shared.bounds.conflicts).await?;
    }
    Ok(is_holder)
}

/// Reads how far the stream is applied. The aggregator that has the lease, or had it a moment ago, raises the floor before.
async fn follow(shared: &Shared, is_holder: bool) -> Result<(), StoreError> {
    let known = Arc::clone(&shared.lives.borrow());
    let Some(stream) = known.stream.clone() else {
        return Ok(());
    };
    if is_holder && let Some(current) = known.current() {
        raise_floor(&shared.pool, current.id).await?;
    }
    let client = shared.pool.get().await?;
    let lives = Lives::load(&client, stream).await?;
    shared.publish(lives);
    Ok(())
}

/// Raises the floor with or without the lease, and reads how far the stream is applied.
pub(super) async fn refresh(shared: &Shared) -> Result<(), StoreError> {
    let known = Arc::clone(&shared.lives.borrow());
    let (Some(stream), Some(current)) = (known.stream.clone(), known.current()) else {
        return Ok(());
    };
    while raise_floor(&shared.pool, current.id).await? {}
    let client = shared.pool.get().await?;
    let lives = Lives::load(&client, stream).await?;
    shared.publish(lives);
    Ok(())
}

pub(super) async fn give_sign(shared: &Shared) -> Result<(), StoreError> {
    let client = shared.pool.get().await?;
    let signed = client
        .execute(
            "UPDATE aggregators SET alive_until = clock_timestamp() + $3::float8 * interval '1 second' WHERE slot = $1::int4 AND holder = $2",
            &[&shared.slot, &shared.holder, &ALIVE_SECONDS],
        )
        .await?;
    if signed == 0 {
        warn!(
            slot = shared.slot,
            "another aggregator has taken this one's slot, because it was away for a minute; both work, and wait for each other"
        );
    }
    Ok(())
}

/// Raises the floor of a life in one transaction; returns whether it rose.
async fn raise_floor(pool: &Pool, id: i64) -> Result<bool, StoreError> {
    let transaction = Transaction::begin(pool).await?;
    let statement = transaction
        .client()
        .prepare_cached("SELECT stream, created FROM incarnations WHERE id = $1 FOR UPDATE")
        .await?;
    let row = transaction.client().query_one(&statement, &[&id]).await?;
    let stream: String = row.get(0);
    let lives = Lives::load(transaction.client(), (stream.into(), row.get(1))).await?;
    let life = lives.all.into_iter().find(|life| life.id == id);
    let rose = match life {
        Some(mut life) => lives::fold(&transaction, &mut life).await?,
        None => false,
    };
    transaction.commit().await?;
    Ok(rose)
}

/// A table of rows kept for review.
struct Kept {
    total: &'static str,
    oldest: &'static str,
    delete: &'static str,
    count: &'static str,
}

const REJECTED: Kept = Kept {
    total: "SELECT coalesce(sum(rejected_bytes), 0)::bigint FROM counters",
    oldest: "SELECT place, incarnation, stream_sequence, (200 + octet_length(detail) + octet_length(subject) + octet_length(body))::bigint \
         FROM rejected WHERE place <= $2 ORDER BY place LIMIT $1",
    delete: "DELETE FROM rejected WHERE place = ANY ($1) RETURNING place, incarnation, stream_sequence",
    count: "INSERT INTO counters AS c (writer, rejected_evicted, rejected_bytes) VALUES ($1, $2, -$3::bigint) ON CONFLICT (writer) DO UPDATE SET \
         rejected_evicted = c.rejected_evicted + excluded.rejected_evicted, rejected_bytes = c.rejected_bytes + excluded.rejected_bytes",
};

const CONFLICTS: Kept = Kept {
    total: "SELECT coalesce(sum(conflicts_bytes), 0)::bigint FROM counters",
    oldest: "SELECT place, incarnation, stream_sequence, (200 + octet_length(\"timestamp\") + octet_length(source) + octet_length(payload) \
         + octet_length(subject))::bigint FROM conflicts WHERE place <= $2 ORDER BY place LIMIT $1",
    delete: "DELETE FROM conflicts WHERE place = ANY ($1) RETURNING place, incarnation, stream_sequence",
    count: "INSERT INTO counters AS c (writer, conflicts_evicted, conflicts_bytes) VALUES ($1, $2, -$3::bigint) ON CONFLICT (writer) DO UPDATE SET \
         conflicts_evicted = c.conflicts_evicted + excluded.conflicts_evicted, conflicts_bytes = c.conflicts_bytes + excluded.conflicts_bytes",
};

/// Deletes the oldest rows of a table beyond its bound, and counts them in the same transaction. The latest row stays, and so does what is
/// above the floor, where rows can still come in between: as long as the floor does not rise, nothing is trimmed, and the size of the stream bounds
/// them.
async fn evict(shared: &Shared, kept: &Kept, bound: u64) -> Result<(), StoreError> {
    loop {
        let client = shared.pool.get().await?;
        let statement = client.prepare_cached(kept.total).await?;
        let total: i64 = client.query_one(&statement, &[]).await?.get(0);
        drop(client);
        if total <= signed(bound) {
            return Ok(());
        }
        let transaction = Transaction::begin(&shared.pool).await?;
        let client = transaction.client();
        let floor = *shared.last_event.borrow();
        let rows = client.query(kept.oldest, &[&EVICTED, &floor]).await?;
        let is_all = signed(rows.len() as u64) < EVICTED;
        let (mut sizes, mut planned) = (BTreeMap::new(), 0);
        let oldest = rows
            .iter()
            .take(rows.len() - usize::from(is_all && !rows.is_empty()));
        for row in oldest {
            if total - planned <= signed(bound) {
                break;
            }
            let size: i64 = row.get(3);
            sizes.insert(row.get::<_, i64>(0), size);
            planned += size;
        }
        let places: Vec<i64> = sizes.keys().copied().collect();
        // Another aggregator may have deleted some of them since: what this one deletes, it counts.
        let deleted = client.query(kept.delete, &[&places]).await?;
        if deleted.is_empty() {
            return Ok(transaction.roll_back().await?);
        }
        let mut bytes = 0;
        let mut latest: BTreeMap<i64, i64> = BTreeMap::new();
        for row in &deleted {
            bytes += sizes.get(&row.get(0)).copied().unwrap_or(0);
            let latest = latest.entry(row.get(1)).or_default();
            *latest = row.get::<_, i64>(2).max(*latest);
        }
        for (incarnation, sequence) in latest {
            client
                .execute(
                    "UPDATE incarnations SET evicted_to = greatest(evicted_to, $2) WHERE id = $1",
                    &[&incarnation, &sequence],
                )
                .await?;
        }
        let evicted = signed(deleted.len() as u64);
        let writer = writer_of(shared.slot, UPKEEP);
        client
            .execute(kept.count, &[&writer, &evicted, &bytes])
            .await?;
        transaction.commit().await?;
    }
}
