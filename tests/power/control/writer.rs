//! The store alone, with and without a sync at each commit: acked sequences that it does not have after the cut.
//!
//! The aggregator has no setting that syncs less, so a small writer does what it does: WAL, one transaction per
//! batch, an ack after COMMIT.

use std::{
    collections::BTreeSet, convert::Infallible, env, path::Path, process::Command, time::Duration,
};

use e2e::{
    service::{Service, Signal},
    wait::{eventually, holds},
};
use rand::Rng;
use rusqlite::{Connection, TransactionBehavior};

use super::Loss;
use crate::{disk::Disk, options::Synchronous, standstill};

const BATCH: u64 = 100;
/// Time per batch, so that the cut does not find the writer syncing a checkpoint most of the time.
const PACE: Duration = Duration::from_millis(2);
const FILE: &str = "store.db";
const MOMENT: std::ops::Range<u64> = 500..3_000;
/// About as many bytes as the aggregator checkpoints, in pages of 4 KiB.
const CHECKPOINT_PAGES: u32 = 4000;

/// Writes batch after batch, and prints the last sequence of each after its COMMIT.
pub async fn write(file: &Path, synchronous: Synchronous) -> Infallible {
    let written = try_write(file, synchronous).await;
    written.expect("the store can be written to")
}

async fn try_write(file: &Path, synchronous: Synchronous) -> rusqlite::Result<Infallible> {
    let mut connection = Connection::open(file)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", synchronous.name())?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.execute_batch("CREATE TABLE applied (sequence INTEGER PRIMARY KEY, body TEXT)")?;
    let body = "x".repeat(200);
    let mut sequence = 0;
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for _ in 0..BATCH {
            sequence += 1;
            transaction
                .prepare_cached("INSERT INTO applied VALUES (?1, ?2)")?
                .execute((sequence, &body))?;
        }
        transaction.commit()?;
        println!("{sequence}");
    }
}

/// Cuts the power of a writer.
pub async fn cut(synchronous: Synchronous, seed: u64) -> Loss {
    let moment = Duration::from_millis(crate::random(seed).random_range(MOMENT));
    let scratch = tempfile::tempdir().expect("a temporary directory can be created");
    let disk = Disk::create(scratch.path(), "before").expect("a disk can be created");
    let mut command = Command::new(env::current_exe().expect("a process knows its program"));
    command
        .args(["writer", "--synchronous", synchronous.name()])
        .arg(disk.path().join(FILE));
    let mut writer = Service::start("writer", &mut command);
    eventually("batches are acked", async || {
        let acked = writer.output();
        holds(!acked.is_empty(), writer.log())
    })
    .await;
    // The schedule of the cut, not a wait for a condition.
    tokio::time::sleep(moment).await;

    standstill::stop(&mut [&mut writer]).await;
    let copy = disk.copy("after").await;
    writer.signal(Signal::KILL);
    let written = writer.ended(e2e::wait::DEADLINE).await.stdout;
    drop(writer);
    disk.discard().expect("the disk can be discarded");

    let last = written.lines().last().and_then(|last| last.parse().ok());
    let acked: BTreeSet<u64> = (1..=last.expect("something was acked")).collect();
    let disk = Disk::open(copy).expect("the file system recovers");
    let applied = applied(&disk.path().join(FILE));
    Loss {
        promised: acked.len(),
        lost: acked.difference(&applied).count(),
    }
}

/// The sequences in a store; none if it was lost entirely.
fn applied(file: &Path) -> BTreeSet<u64> {
    let connection = Connection::open(file).expect("the store can be opened");
    let is_there = connection.table_exists(None, "applied");
    if !is_there.expect("the store can be read") {
        return BTreeSet::new();
    }
    let mut statement = connection
        .prepare("SELECT sequence FROM applied")
        .expect("a query");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("the store is intact")
}
