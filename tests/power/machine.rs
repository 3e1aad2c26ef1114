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

/// The stream's size is below the free space that the broker finds on the disk.
const FLAGS: [&str; 4] = [
    "--stream-max-bytes",
    "256MiB",
    "--stream-keep-bytes",
    "128MiB",
];

/// Both services, running.
#[derive(Debug)]
pub struct Machine {
    /// Dropped before the services it depends on.
    pub aggregator: Aggregator,
    pub broker: Broker,
    pub disk: Disk,
}

impl Machine {
    /// Starts both on their data on the disk, and waits until the aggregator is healthy. `batch_wait` is how long
    /// events wait for others to be committed with: the longer, the more events are only in the stream when the power
    /// is cut.
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

    /// Stops both in the middle of their work.
    pub async fn stop(&mut self, aggregator_first: bool) {
        let mut services = [self.aggregator.service(), self.broker.service()];
        if !aggregator_first {
            services.reverse();
        }
        standstill::stop(&mut services).await;
    }

    /// Kills both while they are stopped, and returns the disk.
    pub fn kill(mut self) -> Disk {
        self.aggregator.kill();
        self.broker.kill();
        self.disk
    }
}

/// The store on this disk, as it is without a broker. It is a copy, in `scratch`, so that the aggregator finds its
/// own as the cut left it.
pub fn store_alone(disk: &Disk, scratch: &Path) -> Store {
    let copy = scratch.join("alone");
    fs::create_dir(&copy).expect("a directory can be created");
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
