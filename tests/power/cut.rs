//! One power cut: load, the cut, and what the disk has kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use e2e::{event::array, store::Store};
use rand::Rng;

use crate::{
    acks::Acks,
    disk::Disk,
    load::{Identity, Load, Record},
    machine::{Machine, store_alone},
    outcome::{Kept, Outcome},
};

/// When the power is cut, after the first confirmation and the first ack. The kernel's journal commits every 5 s.
const MOMENT: std::ops::Range<u64> = 50..6_000;

/// How long events wait for others to be committed with, in milliseconds: one of these. The first is the default.
const BATCH_WAITS: [u64; 3] = [5, 100, 1_000];

/// Cuts the power once.
pub async fn cut(seed: u64) -> Outcome {
    let mut random = crate::random(seed);
    let moment = Duration::from_millis(random.random_range(MOMENT));
    let scratch = tempfile::tempdir().expect("a temporary directory can be created");
    let disk = Disk::create(scratch.path(), "before").expect("a disk can be created");
    let batch_wait = BATCH_WAITS[random.random_range(0..BATCH_WAITS.len())];
    let batch_wait = Duration::from_millis(batch_wait);
    let mut machine = Machine::start(disk, batch_wait).await;

    let acks = Acks::listen(&machine.broker.url()).await;
    let jetstream = machine.broker.jetstream().await;
    let load = Load::start(machine.aggregator.api(), &jetstream, seed);
    load.flows().await;
    acks.flow().await;
    // The schedule of the cut, not a wait for a condition.
    tokio::time::sleep(moment).await;

    machine.stop(random.random()).await;
    let record = load.end().await;
    let acked = acks.end();
    let copy = machine.disk.copy("after").await;
    let disk = machine.kill();
    disk.discard().expect("the disk can be discarded");

    let disk = Disk::open(copy).expect("the file system recovers");
    let alone = store_alone(&disk, scratch.path());
    let applied = rows_of(&alone);
    let mut outcome = Outcome {
        seed,
        moment,
        batch_wait,
        acked: acked.len(),
        unapplied: unapplied(&alone, &acked),
        confirmed: record.confirmed.len(),
        in_stream: absent(&record.confirmed, &applied),
        kept: None,
        panicked: false,
    };
    let default = Duration::from_millis(BATCH_WAITS[0]);
    let machine = Machine::start(disk, default).await;
    outcome.kept = Some(kept(machine, &record).await);
    outcome
}

/// What was kept of the confirmed events, with both services running again.
async fn kept(machine: Machine, record: &Record) -> Kept {
    let api = machine.aggregator.api();
    let books = api.settled().await;
    let stored = rows_of(&machine.store());
    let missing = absent(&record.confirmed, &stored);
    let rows: u64 = stored.values().sum();
    assert_eq!(rows, books.stats.unique_processed, "rows and counter");
    let url = machine.broker.url();
    let verify = ["verify", "--nats-url", &url];
    let verified = machine.aggregator.command(&verify).await;
    if verified.code != Some(0) {
        eprintln!("aggregator verify:\n{}{}", verified.stdout, verified.stderr);
    }

    // Clients without a response send again; that must store what is missing, and nothing else.
    for batch in &record.sent {
        let answer = api.post(array(batch)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    api.settled().await;
    let again = rows_of(&machine.store());
    let sent: BTreeSet<Identity> = record
        .sent
        .iter()
        .flatten()
        .map(|event| (event.topic.clone(), event.event_id.clone()))
        .collect();
    assert!(again.keys().eq(&sent), "all that was sent is stored now");
    Kept {
        stored: rows,
        missing,
        twice: again.values().filter(|&&rows| rows > 1).count(),
        verified: verified.code == Some(0),
    }
}

/// How many of these identities have no row.
fn absent(identities: &BTreeSet<Identity>, stored: &BTreeMap<Identity, u64>) -> usize {
    let absent = |identity: &&Identity| !stored.contains_key(*identity);
    identities.iter().filter(absent).count()
}

/// How many of these stream sequences a store has not applied.
fn unapplied(store: &Store, sequences: &BTreeSet<u64>) -> usize {
    let ranges = store.query("SELECT first, last FROM applied", |row| {
        Ok(row.get::<_, u64>(0)?..=row.get::<_, u64>(1)?)
    });
    let applied = |sequence: &u64| ranges.iter().any(|range| range.contains(sequence));
    let all = sequences.iter();
    all.filter(|sequence| !applied(sequence)).count()
}

/// How many rows each identity has.
fn rows_of(store: &Store) -> BTreeMap<Identity, u64> {
    let sql = "SELECT name, event_id, count(*) FROM events JOIN topics ON topics.id = topic_id \
               GROUP BY name, event_id";
    let rows = store.query(sql, |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)));
    rows.into_iter().collect()
}
