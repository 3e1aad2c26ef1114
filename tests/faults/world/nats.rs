//! The broker of the system under test.

use std::path::Path;

use e2e::{
    broker::{
        self,
        cluster::{self, Cluster},
        process::Server,
        users::Users,
    },
    port,
    service::Signal,
};

use super::Setup;

/// The broker. Its users are those of the project: each program logs in as its own.
pub enum Nats {
    One {
        server: Server,
        users: Users,
        port: u16,
    },
    Cluster(Cluster),
}

impl Nats {
    pub(super) async fn start(setup: Setup, directory: &Path) -> Self {
        let nats = match setup {
            Setup::One => {
                let (port, users) = (port::free(), Users::new());
                Self::One {
                    server: Server::start_in(port, directory, Some(&users)),
                    users,
                    port,
                }
            }
            Setup::Cluster | Setup::Shared => Self::Cluster(Cluster::start_in(directory).await),
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

    pub(super) fn ports(&self) -> Vec<u16> {
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
