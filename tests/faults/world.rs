//! The system under test: a broker, an aggregator, a proxy for each client of the broker, and the disks.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use e2e::{
    aggregator::Aggregator,
    api::Api,
    broker::{
        self,
        process::Server,
        users::{self, Users},
    },
    disk::Disk,
    port,
    proxy::{Conditions, Proxy},
    publisher::Publisher,
};
use tempfile::TempDir;

use crate::truth::Truth;

/// Size of each of the two disks; more than a round needs.
const DISK_MEBIBYTES: u32 = 400;

/// The system of a round. All of it is removed when this is dropped.
pub struct World {
    pub aggregator: Aggregator,
    pub nats: Server,
    /// The broker's users: each program logs in as its own.
    pub users: Users,
    pub port: u16,
    /// Between the aggregator and the broker.
    pub inside: Proxy,
    /// Between other publishers and the broker.
    pub outside: Proxy,
    pub truth: Arc<Truth>,
    /// Runs of the real publisher.
    pub runs: Vec<Run>,
    pub store: Volume,
    pub stream: Volume,
    /// For copies and for other stores.
    pub scratch: TempDir,
}

/// Where the data is: on a separate disk if the system allows mounting one.
pub enum Volume {
    Disk(Disk),
    Directory(TempDir, String),
}

/// A run of the real publisher, which can be repeated exactly.
pub struct Run {
    pub id: String,
    pub seed: u64,
}

impl World {
    /// A stream that fits on its disk.
    pub const FLAGS: [&str; 4] = [
        "--stream-max-bytes",
        "200MiB",
        "--stream-keep-bytes",
        "64MiB",
    ];
    /// Events of a run of the publisher.
    pub const RUN_EVENTS: u64 = 20_000;
    /// Unique identities among them: 30 % are duplicates.
    pub const RUN_UNIQUE: u64 = 14_000;

    pub async fn start() -> Self {
        let (store, stream) = (Volume::new(), Volume::new());
        let port = port::free();
        let users = Users::new();
        let nats = Server::start_in(port, &stream.path(), Some(&users));
        broker::ready_with_users(&broker::url(port)).await;
        let inside = Proxy::start(port).await;
        let outside = Proxy::start(port).await;
        let url = users.login("aggregator", &inside.url());
        let aggregator = Aggregator::start(&url, &store.path(), &Self::FLAGS).await;
        aggregator.healthy().await;
        Self {
            aggregator,
            nats,
            users,
            port,
            inside,
            outside,
            truth: Arc::default(),
            runs: Vec::new(),
            store,
            stream,
            scratch: tempfile::tempdir().expect("a temporary directory can be created"),
        }
    }

    pub fn api(&self) -> &Api {
        self.aggregator.api()
    }

    /// The broker's address, bypassing the proxies, without a user.
    pub fn url(&self) -> String {
        broker::url(self.port)
    }

    /// The same with a user.
    pub fn login(&self, user: &str) -> String {
        self.users.login(user, &self.url())
    }

    /// The same with the user that may do everything.
    pub fn login_of_tests(&self) -> String {
        users::login(users::TESTS, &self.url())
    }

    /// Ends all faults.
    pub async fn repair(&mut self) {
        self.inside.set(Conditions::default());
        self.outside.set(Conditions::default());
        broker::ready_with_users(&self.url()).await;
        self.aggregator.healthy().await;
    }

    /// Starts the real publisher for a run, through its proxy.
    pub fn publisher(&self, run: &Run) -> Publisher {
        let (seed, count) = (run.seed.to_string(), Self::RUN_EVENTS.to_string());
        let arguments = [
            "generate",
            "--count",
            &count,
            "--rate",
            "8000",
            "--batch",
            "20",
            "--topics",
            "3",
            "--duplicates",
            "0.3",
            "--run-id",
            &run.id,
            "--seed",
            &seed,
        ];
        let url = self.users.login("publisher", &self.outside.url());
        Publisher::start(&url, &arguments)
    }

    /// A path for a copy.
    pub fn copy(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Volume {
    fn new() -> Self {
        match Disk::new(DISK_MEBIBYTES) {
            Ok(disk) => Self::Disk(disk),
            Err(reason) => {
                let directory = tempfile::tempdir();
                Self::Directory(
                    directory.expect("a temporary directory can be created"),
                    reason,
                )
            }
        }
    }

    /// The disk, or why there is none.
    pub fn disk(&self) -> Result<&Disk, String> {
        match self {
            Self::Disk(disk) => Ok(disk),
            Self::Directory(_, reason) => Err(format!("no small disk can be mounted: {reason}")),
        }
    }

    /// The directory of the data.
    pub fn path(&self) -> PathBuf {
        let path: &Path = match self {
            Self::Disk(disk) => disk.path(),
            Self::Directory(directory, _) => directory.path(),
        };
        path.join("data")
    }
}
