//! One power cut: load, the cut, what the disk has kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use e2e::{event::array, store::Store};
use rand::Rng;

use crate::{
    acks::Acks,
    broker::Program,
    disk::Disk,
    load::{Identity, Load, Record},
    machine::{Machine, unapplied},
    outcome::{Kept, Outcome},
};

/// When the power goes, after the first confirmation. The kernel's journal commits every 5 s.
const MOMENT: std::ops::Range<u64> = 50..6_000;

/// Cuts the power once.
pub async fn cut(program: &Program, seed: u64) -> Outcome {
    let mut random = crate::random(seed);
    let moment = Duration::from_millis(random.random_range(MOMENT));
    let scratch = tempfile::tempdir().expect("a temporary directory can be made");
    let disk = Disk::create(scratch.path(), "before").expect("a disk can be made");
    let mut machine = Machine::start(program, disk).await;

    let acks = Acks::listen(&machine.broker.url()).await;
    let jetstream = machine.broker.jetstream().await;
    let load = Load::start(machine.aggregator.api(), &jetstream, seed);
    load.flows().await;
    // The schedule of the cut, not a wait for anything.
    tokio::time::sleep(moment).await;

    machine.stop(random.random()).await;
    let record = load.end().await;
    let acked = acks.end();
    let copy = machine.disk.copy("after").await;
    let disk = machine.kill();
    disk.discard().expect("the disk can be thrown away");

    let disk = Disk::open(copy).expect("the file system recovers");
    let mut outcome = Outcome {
        seed,
        moment,
        acked: acked.len(),
        unapplied: unapplied(&disk, &acked, scratch.path()),
        kept: None,
        panicked: false,
    };
    // A broker that confirms before it syncs promises nothing.
    if program.syncs() {
        outcome.kept = Some(kept(Machine::start(program, disk).await, &record).await);
    }
    outcome
}

/// What is there of what was confirmed, with everything running again.
async fn kept(machine: Machine, record: &Record) -> Kept {
    let api = machine.aggregator.api();
    let books = api.settled().await;
    let stored = stored(&machine.store());
    let confirmed = record.confirmed.len();
    let absent = |identity: &&Identity| !stored.contains_key(*identity);
    let missing = record.confirmed.iter().filter(absent).count();
    let rows: u64 = stored.values().sum();
    assert_eq!(rows, books.stats.unique_processed, "rows and counter");
    let url = machine.broker.url();
    let verify = ["verify", "--nats-url", &url];
    let verified = machine.aggregator.command(&verify).await;
    if verified.code != Some(0) {
        eprintln!("aggregator verify:\n{}{}", verified.stdout, verified.stderr);
    }

    // Clients that got no answer send again; that must store what is not there, and nothing else.
    for batch in &record.sent {
        let answer = api.post(array(batch)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    api.settled().await;
    let again = self::stored(&machine.store());
    let sent: BTreeSet<Identity> = record
        .sent
        .iter()
        .flatten()
        .map(|event| (event.topic.clone(), event.event_id.clone()))
        .collect();
    assert!(again.keys().eq(&sent), "all that was sent is stored now");
    Kept {
        confirmed,
        stored: rows,
        missing,
        twice: again.values().filter(|&&rows| rows > 1).count(),
        verified: verified.code == Some(0),
    }
}

/// How many rows each identity has.
fn stored(store: &Store) -> BTreeMap<Identity, u64> {
    let sql = "SELECT name, event_id, count(*) FROM events JOIN topics ON topics.id = topic_id \
               GROUP BY name, event_id";
    let rows = store.query(sql, |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)));
    rows.into_iter().collect()
}
