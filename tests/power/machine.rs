//! The machine whose power is cut: a broker and an aggregator, with their data on one disk.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use e2e::{aggregator::Aggregator, store::Store};

use crate::{
    broker::{Broker, Program},
    disk::Disk,
    standstill,
};

/// The stream's size is below what the broker finds free on the disk.
const FLAGS: [&str; 4] = [
    "--stream-max-bytes",
    "256MiB",
    "--stream-keep-bytes",
    "128MiB",
];

/// Both services at work.
#[derive(Debug)]
pub struct Machine {
    /// Dropped before what it works with.
    pub aggregator: Aggregator,
    pub broker: Broker,
    pub disk: Disk,
}

impl Machine {
    /// Starts both on what the disk has of them, and waits until the aggregator is healthy.
    pub async fn start(program: &Program, disk: Disk) -> Self {
        let store = disk.path().join("nats");
        let broker = Broker::start(&program.configuration(), &store).await;
        let aggregator = Aggregator::start(&broker.url(), &data(&disk), &FLAGS).await;
        aggregator.healthy().await;
        Self {
            aggregator,
            broker,
            disk,
        }
    }

    /// The aggregator's database.
    pub fn store(&self) -> Store {
        Store::of(&data(&self.disk))
    }

    /// Stops both in the middle of what they do.
    pub async fn stop(&mut self, aggregator_first: bool) {
        let mut services = [self.aggregator.service(), self.broker.service()];
        if !aggregator_first {
            services.reverse();
        }
        standstill::stop(&mut services).await;
    }

    /// Kills both, stopped as they are, and returns the disk.
    pub fn kill(mut self) -> Disk {
        self.aggregator.kill();
        self.broker.kill();
        self.disk
    }
}

/// The stream sequences of `acked` that the store on this disk has not applied, as it is without a broker. A copy is
/// asked, into `scratch`, so that the aggregator finds the store as the cut left it.
pub fn unapplied(disk: &Disk, acked: &BTreeSet<u64>, scratch: &Path) -> usize {
    let copy = scratch.join("alone");
    fs::create_dir(&copy).expect("a directory can be made");
    for file in fs::read_dir(data(disk)).expect("the aggregator has made it") {
        let file = file.expect("a directory can be read");
        if file
            .file_name()
            .to_string_lossy()
            .starts_with("aggregator.db")
        {
            fs::copy(file.path(), copy.join(file.file_name())).expect("a file can be copied");
        }
    }
    let ranges = Store::of(&copy).query("SELECT first, last FROM applied", |row| {
        Ok(row.get::<_, u64>(0)?..=row.get::<_, u64>(1)?)
    });
    let applied = |sequence: &u64| ranges.iter().any(|range| range.contains(sequence));
    acked.iter().filter(|sequence| !applied(sequence)).count()
}

fn data(disk: &Disk) -> PathBuf {
    disk.path().join("aggregator")
}
