//! The system under test: a broker or a cluster of three, an aggregator, proxies for the clients of the broker, and the disks.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use e2e::{
    aggregator::Aggregator,
    api::Api,
    broker::{
        self,
        cluster::{self, Cluster},
        process::Server,
        users::{self, Users},
    },
    disk::Disk,
    port,
    proxy::{Conditions, Proxy},
    publisher::Publisher,
    service::Signal,
};
use tempfile::TempDir;

use crate::truth::Truth;

/// Size of each of the two disks; more than a round needs.
const DISK_MEBIBYTES: u32 = 400;

/// Size of the disk of a cluster: three copies of the stream, each with the log of its replication.
const CLUSTER_DISK_MEBIBYTES: u32 = 2_400;

/// What the broker consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    One,
    Cluster,
}

/// The system of a round. All of it is removed when this is dropped.
pub struct World {
    pub aggregator: Aggregator,
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
    /// For copies and for other stores.
    pub scratch: TempDir,
}

/// The broker. Its users are those of the project: each program logs in as its own.
pub enum Nats {
    One {
        server: Server,
        users: Users,
        port: u16,
    },
    Cluster(Cluster),
}

/// Proxies in front of all servers of the broker.
pub struct Proxies(Vec<Proxy>);

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
            Setup::Cluster => (DISK_MEBIBYTES, CLUSTER_DISK_MEBIBYTES),
        };
        let (store, stream) = (Volume::new(store), Volume::new(stream));
        let nats = Nats::start(setup, &stream.path()).await;
        let inside = Proxies::start(&nats.ports()).await;
        let outside = Proxies::start(&nats.ports()).await;
        let url = nats.users().login("aggregator", &inside.url());
        let mut flags = Self::FLAGS.to_vec();
        if setup == Setup::Cluster {
            flags.extend(["--stream-replicas", "3"]);
        }
        let aggregator = Aggregator::start(&url, &store.path(), &flags).await;
        aggregator.healthy().await;
        Self {
            aggregator,
            nats,
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
        self.nats.ready().await;
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
        let url = self.users().login("publisher", &self.outside.url());
        Publisher::start(&url, &arguments)
    }

    /// A path for a copy.
    pub fn copy(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Nats {
    async fn start(setup: Setup, directory: &Path) -> Self {
        let nats = match setup {
            Setup::One => {
                let (port, users) = (port::free(), Users::new());
                Self::One {
                    server: Server::start_in(port, directory, Some(&users)),
                    users,
                    port,
                }
            }
            Setup::Cluster => Self::Cluster(Cluster::start_in(directory).await),
        };
        nats.ready().await;
        nats
    }

    pub fn users(&self) -> &Users {
        match self {
            Self::One { users, .. } => users,
            Self::Cluster(cluster) => cluster.users(),
        }
    }

    fn ports(&self) -> Vec<u16> {
        match self {
            Self::One { port, .. } => vec![*port],
            Self::Cluster(cluster) => cluster.ports(),
        }
    }

    /// Whether it is a cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The cluster.
    ///
    /// Panics if it is a single server; faults of a cluster are only dealt to one.
    pub fn cluster(&mut self) -> &mut Cluster {
        match self {
            Self::Cluster(cluster) => cluster,
            Self::One { .. } => panic!("the broker is a single server"),
        }
    }

    /// Waits until every server responds.
    pub async fn ready(&self) {
        match self {
            Self::One { port, .. } => broker::ready_with_users(&broker::url(*port)).await,
            Self::Cluster(cluster) => cluster.ready().await,
        }
    }

    /// Kills every server.
    pub fn kill(&mut self) {
        match self {
            Self::One { server, .. } => server.kill(),
            Self::Cluster(cluster) => (0..cluster::SERVERS).for_each(|index| cluster.kill(index)),
        }
    }

    /// Stops every server gracefully.
    pub async fn stop(&mut self) {
        match self {
            Self::One { server, .. } => server.stop().await,
            Self::Cluster(cluster) => {
                for index in 0..cluster::SERVERS {
                    cluster.stop(index).await;
                }
            }
        }
    }

    /// Starts every server that was killed or stopped.
    pub fn start_again(&mut self) {
        match self {
            Self::One { server, .. } => server.start_again(),
            Self::Cluster(cluster) => cluster.restore(),
        }
    }

    /// Suspends every server.
    pub fn suspend(&mut self) {
        match self {
            Self::One { server, .. } => server.signal(Signal::STOP),
            Self::Cluster(cluster) => {
                (0..cluster::SERVERS).for_each(|index| cluster.suspend(index));
            }
        }
    }

    /// Lets every suspended server continue.
    pub fn resume(&mut self) {
        match self {
            Self::One { server, .. } => server.signal(Signal::CONT),
            Self::Cluster(cluster) => cluster.restore(),
        }
    }
}

impl Proxies {
    async fn start(targets: &[u16]) -> Self {
        let mut proxies = Vec::new();
        for target in targets {
            proxies.push(Proxy::start(*target).await);
        }
        Self(proxies)
    }

    /// Their addresses.
    pub fn url(&self) -> String {
        let urls = self.0.iter().map(Proxy::url);
        urls.collect::<Vec<_>>().join(",")
    }

    /// Changes what all of them do.
    pub fn set(&self, conditions: Conditions) {
        for proxy in &self.0 {
            proxy.set(conditions);
        }
    }
}

impl Volume {
    fn new(mebibytes: u32) -> Self {
        match Disk::new(mebibytes) {
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
