//! The system under test: a broker or a cluster of three, an aggregator or three with a database, proxies for the clients of the
//! broker, and the disks.

mod nats;
mod proxies;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use e2e::{
    aggregator::Aggregator,
    api::Api,
    broker::{
        cluster,
        users::{self, Users},
    },
    clock::Clock,
    disk::Disk,
    postgres::Postgres,
    proxy::Conditions,
    publisher::Publisher,
};
use tempfile::TempDir;

pub use self::nats::Nats;
use self::proxies::Proxies;
use crate::truth::Truth;

/// Size of each of the two disks; more than a round needs.
const DISK_MEBIBYTES: u32 = 400;

/// Size of the disk of a cluster: three copies of the stream, each with the log of its replication.
const CLUSTER_DISK_MEBIBYTES: u32 = 2_400;

/// Size of the disk of the database: more than two million events need, and a round with a copy for a standby.
const DATABASE_DISK_MEBIBYTES: u32 = 1_600;

/// Aggregators that share a database.
const AGGREGATORS: usize = 3;

/// What the system consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// One of each, with a store in a directory.
    One,
    /// The same, but the broker is a cluster.
    Cluster,
    /// The broker is a cluster, and several aggregators share a store in a database.
    Shared,
}

/// The system of a round. All of it is removed when this is dropped.
pub struct World {
    pub aggregator: Aggregator,
    /// Those that share the store with it.
    pub others: Vec<Aggregator>,
    /// The database with the store, if it is in none of the directories.
    pub database: Option<Postgres>,
    /// Between each aggregator, in the order of [`World::aggregators`], and the database.
    pub links: Vec<Proxies>,
    /// The clocks of the aggregators that share the store, in the same order; or why they have that of the machine.
    pub clocks: Result<Vec<Clock>, String>,
    pub nats: Nats,
    /// Between the aggregator and the broker.
    pub inside: Proxies,
    /// Between other publishers and the broker.
    pub outside: Proxies,
    pub truth: Arc<Truth>,
    /// Runs of the real publisher.
    pub runs: Vec<Run>,
    pub store: Volume,
    pub stream: Volume,
    /// The disk of the database.
    pub data: Option<Volume>,
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

    pub async fn start(setup: Setup) -> Self {
        let (store, stream) = match setup {
            Setup::One => (DISK_MEBIBYTES, DISK_MEBIBYTES),
            Setup::Cluster | Setup::Shared => (DISK_MEBIBYTES, CLUSTER_DISK_MEBIBYTES),
        };
        let (store, stream) = (Volume::new(store), Volume::new(stream));
        let nats = Nats::start(setup, &stream.path()).await;
        let inside = Proxies::of_broker(&nats.ports()).await;
        let outside = Proxies::of_broker(&nats.ports()).await;
        let url = nats.users().login("aggregator", &inside.url());
        let mut flags = Self::FLAGS.to_vec();
        if setup != Setup::One {
            flags.extend(["--stream-replicas", "3"]);
        }
        let scratch = tempfile::tempdir().expect("a temporary directory can be created");
        let (mut data, mut database, mut links) = (None, None, Vec::new());
        let mut clocks = Ok(Vec::new());
        let mut others = Vec::new();
        let aggregator = if setup == Setup::Shared {
            let disk = Volume::new(DATABASE_DISK_MEBIBYTES);
            let started = Postgres::start_in(disk.path()).await;
            let started = started.expect("PostgreSQL is installed");
            clocks = (0..AGGREGATORS)
                .map(|index| Clock::new(scratch.path(), &format!("clock-{index}")))
                .collect();
            for index in 0..AGGREGATORS {
                let link = Proxies::of_database(&started.ports()).await;
                let address = started.url_through(&link.ports());
                let flags = [&flags[..], &["--store", &address]].concat();
                let clock = clocks
                    .as_ref()
                    .ok()
                    .map(|clocks| clocks[index].environment());
                let clock = clock.as_ref().map_or(&[][..], |clock| &clock[..]);
                let environment: Vec<_> = clock
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                let store = store.path();
                others.push(Aggregator::start_with(&url, &store, &flags, &environment).await);
                links.push(link);
            }
            (data, database) = (Some(disk), Some(started));
            others.pop().expect("several were started")
        } else {
            Aggregator::start(&url, &store.path(), &flags).await
        };
        for aggregator in others.iter().chain([&aggregator]) {
            aggregator.healthy().await;
        }
        Self {
            aggregator,
            others,
            database,
            links,
            clocks,
            nats,
            inside,
            outside,
            truth: Arc::default(),
            runs: Vec::new(),
            store,
            stream,
            data,
            scratch,
        }
    }

    pub fn api(&self) -> &Api {
        self.aggregator.api()
    }

    /// The APIs of all aggregators.
    pub fn apis(&self) -> Vec<&Api> {
        let all = self.others.iter().chain([&self.aggregator]);
        all.map(Aggregator::api).collect()
    }

    /// All aggregators.
    pub fn aggregators(&mut self) -> Vec<&mut Aggregator> {
        self.others
            .iter_mut()
            .chain([&mut self.aggregator])
            .collect()
    }

    /// The database.
    ///
    /// Panics if there is none; its faults are only dealt to a system with one.
    pub fn database(&mut self) -> &mut Postgres {
        self.database.as_mut().expect("the store is in a database")
    }

    pub fn users(&self) -> &Users {
        self.nats.users()
    }

    /// The broker's address, bypassing the proxies, without a user.
    pub fn url(&self) -> String {
        cluster::urls(self.nats.ports())
    }

    /// The same with a user.
    pub fn login(&self, user: &str) -> String {
        self.users().login(user, &self.url())
    }

    /// The same with the user that may do everything.
    pub fn login_of_tests(&self) -> String {
        users::login(users::TESTS, &self.url())
    }

    /// Ends all faults.
    pub async fn repair(&mut self) {
        self.inside.set(Conditions::default());
        self.outside.set(Conditions::default());
        for link in &self.links {
            link.set(Conditions::default());
        }
        for clock in self.clocks.iter().flatten() {
            clock.shift(0);
        }
        self.nats.ready().await;
        for aggregator in self.aggregators() {
            aggregator.healthy().await;
        }
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
        let url = self.users().login("publisher", &self.outside.url());
        Publisher::start(&url, &arguments)
    }

    /// A path for a copy.
    pub fn copy(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Volume {
    fn new(mebibytes: u32) -> Self {
        match Disk::new(mebibytes) {
            Ok(disk) => Self::Disk(disk),
            Err(reason) => {
                let directory = tempfile::tempdir();
                let directory = directory.expect("a temporary directory can be created");
                // The server of a database has a user of its own.
                let of_all = fs::Permissions::from_mode(0o755);
                fs::set_permissions(directory.path(), of_all).expect("an own directory");
                Self::Directory(directory, reason)
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
