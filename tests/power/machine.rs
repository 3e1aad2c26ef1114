//! The machine whose power is cut: a broker and an aggregator, with their data on one disk.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use e2e::{aggregator::Aggregator, store::Store};

use crate::{
    broker::{self, Broker},
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
    /// Starts both on what the disk has of them, and waits until the aggregator is healthy. Events wait so long for
    /// others to be committed with: the longer, the more are in the stream alone when the power goes.
    pub async fn start(disk: Disk, batch_wait: Duration) -> Self {
        let store = disk.path().join("nats");
        let broker = Broker::start(&broker::configuration(), &store).await;
        let wait = batch_wait.as_millis().to_string();
        let flags = [&FLAGS[..], &["--batch-wait-ms", &wait]].concat();
        let aggregator = Aggregator::start(&broker.url(), &data(&disk), &flags).await;
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

/// The store that is on this disk, as it is without a broker. It is a copy, into `scratch`, so that the aggregator
/// finds its own as the cut left it.
pub fn store_alone(disk: &Disk, scratch: &Path) -> Store {
    let copy = scratch.join("alone");
    fs::create_dir(&copy).expect("a directory can be made");
    for file in fs::read_dir(data(disk)).expect("the aggregator has made it") {
        let file = file.expect("a directory can be read");
        let name = file.file_name();
        if name.to_string_lossy().starts_with("aggregator.db") {
            fs::copy(file.path(), copy.join(name)).expect("a file can be copied");
        }
    }
    Store::of(&copy)
}

fn data(disk: &Disk) -> PathBuf {
    disk.path().join("aggregator")
}
