//! The faults: each begins, lasts for a while, and is over when its function returns.

mod aggregators;
mod clients;
mod clocks;
mod copies;
mod databases;
mod disks;
mod files;
mod links;
mod names;
mod network;
mod nodes;
mod processes;
mod streams;

use std::time::Duration;

use e2e::proxy::Conditions;
use rand_chacha::ChaCha8Rng;

use crate::world::World;

/// A fault, by the name that it is reported under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    AggregatorKilled,
    AggregatorStopped,
    BrokerKilled,
    BrokerStopped,
    PublisherKilled,
    Network(Side, Trouble),
    StoreDiskFull,
    StreamDiskFull,
    FsyncFails,
    DatabaseReadOnly,
    OlderStore,
    StoreFileDeleted,
    OlderStream { while_aggregator_runs: bool },
    DurableDeleted,
    StreamDeleted,
    StreamFull,
    SecondStore,
    RollUp,
    TwoOnOneDirectory,
    TwoOnOneDurable,
    Poison,
    BodySizes,
    IdleConnections,
    Nodes(Nodes, End),
    Aggregators(Aggregators, End),
    Database(Database),
    Link(Aggregators, Link),
    ClocksApart,
}

/// Which of the aggregators that share a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregators {
    One,
    Two,
    All,
}

/// What happens to the database that holds the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Database {
    /// SIGKILL, and started again.
    Killed,
    /// Stopped in an orderly way, and started again.
    Restarted,
    /// All connections are ended, over and over.
    SessionsEnded,
    /// It has no connection left for the aggregators.
    Exhausted,
    /// A standby that each COMMIT waits for is promoted after SIGKILL to the primary, which never comes back.
    FailedOver,
    /// SIGSTOP to all of its processes for longer than a statement may take, and SIGCONT.
    Suspended,
    /// Its disk is full. If it ends because of that, it is started again once there is space.
    DiskFull,
}

/// What happens to the connections between aggregators and the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// One is cut in the middle of a message, at random moments.
    Cut,
    /// They are cut around COMMITs, and answers to COMMITs are lost.
    CutAtCommits,
    Delay,
    Throttle,
    /// Nothing arrives on either side, and no connection ends; later everything arrives.
    Silent,
}

/// Which servers of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nodes {
    /// Any of them.
    One,
    /// The one that leads the stream.
    Leader,
    /// The one that leads the durable.
    LeaderOfDurable,
    /// The one that leads the stream, and another one: the last has no quorum.
    Two,
    /// All, one after the other, each once the others are up to date.
    Rolling,
}

/// What happens to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// SIGKILL, and started again.
    Killed,
    /// SIGSTOP, and later SIGCONT.
    Suspended,
    /// SIGKILL, and started again without its data, as if its disk was replaced.
    Erased,
}

/// Whose connection to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Aggregator,
    Publisher,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    Cut,
    CutInFrame,
    Delay,
    Throttle,
    DropPubAcks,
    DropAcks,
}

/// Why a fault was not tried.
pub type NotTried = String;

impl Fault {
    /// All faults.
    pub fn all() -> Vec<Self> {
        use Trouble::{Cut, CutInFrame, Delay, DropAcks, DropPubAcks, Throttle};
        let mut all = vec![
            Self::AggregatorKilled,
            Self::AggregatorStopped,
            Self::BrokerKilled,
            Self::BrokerStopped,
            Self::PublisherKilled,
            Self::Network(Side::Aggregator, DropAcks),
            Self::StoreDiskFull,
            Self::StreamDiskFull,
            Self::FsyncFails,
            Self::DatabaseReadOnly,
            Self::OlderStore,
            Self::StoreFileDeleted,
            Self::OlderStream {
                while_aggregator_runs: false,
            },
            Self::OlderStream {
                while_aggregator_runs: true,
            },
            Self::DurableDeleted,
            Self::StreamDeleted,
            Self::StreamFull,
            Self::SecondStore,
            Self::RollUp,
            Self::TwoOnOneDirectory,
            Self::TwoOnOneDurable,
            Self::Poison,
            Self::BodySizes,
            Self::IdleConnections,
        ];
        for side in [Side::Aggregator, Side::Publisher] {
            let troubles = [Cut, CutInFrame, Delay, Throttle, DropPubAcks];
            all.extend(troubles.map(|trouble| Self::Network(side, trouble)));
        }
        all
    }

    /// The faults of a cluster: those of its servers, and those of its clients that do not depend on what the broker consists of.
    pub fn of_cluster() -> Vec<Self> {
        use Nodes::{Leader, LeaderOfDurable, One, Rolling, Two};
        let mut all = vec![
            Self::AggregatorKilled,
            Self::AggregatorStopped,
            Self::BrokerKilled,
            Self::BrokerStopped,
            Self::PublisherKilled,
            Self::Nodes(Rolling, End::Killed),
            Self::Nodes(One, End::Erased),
            Self::Nodes(Leader, End::Erased),
        ];
        for end in [End::Killed, End::Suspended] {
            let nodes = [One, Leader, LeaderOfDurable, Two];
            all.extend(nodes.map(|nodes| Self::Nodes(nodes, end)));
        }
        for side in [Side::Aggregator, Side::Publisher] {
            let troubles = [Trouble::Cut, Trouble::DropPubAcks];
            all.extend(troubles.map(|trouble| Self::Network(side, trouble)));
        }
        all
    }

    /// The faults of a cluster whose aggregators share a store in a database.
    pub fn of_shared() -> Vec<Self> {
        let is_of_one =
            |fault: &Self| matches!(fault, Self::AggregatorKilled | Self::AggregatorStopped);
        let mut all = Self::of_cluster();
        all.retain(|fault| !is_of_one(fault));
        for end in [End::Killed, End::Suspended] {
            let which = [Aggregators::One, Aggregators::Two, Aggregators::All];
            all.extend(which.map(|which| Self::Aggregators(which, end)));
        }
        let database = [
            Database::Killed,
            Database::Restarted,
            Database::SessionsEnded,
            Database::Exhausted,
            Database::FailedOver,
            Database::Suspended,
            Database::DiskFull,
        ];
        all.extend(database.map(Self::Database));
        for which in [Aggregators::One, Aggregators::All] {
            let links = [
                Link::Cut,
                Link::CutAtCommits,
                Link::Delay,
                Link::Throttle,
                Link::Silent,
            ];
            all.extend(links.map(|link| Self::Link(which, link)));
        }
        all.push(Self::ClocksApart);
        all
    }

    /// Injects the fault.
    ///
    /// # Errors
    /// If this machine does not support it, the reason.
    pub async fn strike(
        self,
        world: &mut World,
        lasts: Duration,
        random: &mut ChaCha8Rng,
    ) -> Result<(), NotTried> {
        match self {
            Self::AggregatorKilled => processes::kill_aggregator(world, lasts).await,
            Self::AggregatorStopped => processes::stop_aggregator(world, lasts).await,
            Self::BrokerKilled => processes::kill_broker(world, lasts).await,
            Self::BrokerStopped => processes::stop_broker(world, lasts).await,
            Self::PublisherKilled => processes::kill_publisher(world, lasts, random).await,
            Self::Network(side, trouble) => {
                network::trouble(world, side, trouble.conditions(), lasts).await;
            }
            Self::StoreDiskFull => disks::fill_store(world, lasts).await?,
            Self::StreamDiskFull => disks::fill_stream(world, lasts).await?,
            Self::FsyncFails => disks::fail_fsync(world, lasts).await?,
            Self::DatabaseReadOnly => disks::make_read_only(world, lasts).await?,
            Self::OlderStore => copies::older_store(world, lasts).await,
            Self::StoreFileDeleted => files::delete_store(world, lasts, random).await,
            Self::OlderStream {
                while_aggregator_runs,
            } => copies::older_stream(world, lasts, while_aggregator_runs).await,
            Self::DurableDeleted => network::delete_durable(world).await,
            Self::StreamDeleted => network::delete_stream(world).await,
            Self::StreamFull => streams::fill_up(world, lasts, random).await,
            Self::SecondStore => streams::second_store(world, lasts).await,
            Self::RollUp => streams::roll_up(world).await,
            Self::TwoOnOneDirectory => processes::second_on_directory(world).await,
            Self::TwoOnOneDurable => processes::second_on_durable(world).await,
            Self::Poison => clients::poison(world, random).await,
            Self::BodySizes => clients::body_sizes(world).await,
            Self::IdleConnections => clients::idle(world, lasts).await,
            Self::Nodes(nodes, end) => nodes::strike(world, (nodes, end), lasts, random).await,
            Self::Aggregators(which, end) => {
                aggregators::strike(world, (which, end), lasts, random).await;
            }
            Self::Database(trouble) => databases::strike(world, trouble, lasts).await?,
            Self::Link(which, link) => links::strike(world, (which, link), lasts, random).await,
            Self::ClocksApart => clocks::set_apart(world, random).await?,
        }
        Ok(())
    }
}

impl Trouble {
    fn conditions(self) -> Conditions {
        match self {
            Self::Cut => Conditions::Cut,
            Self::CutInFrame => Conditions::CutInFrame,
            Self::Delay => Conditions::Delay(Duration::from_millis(100)),
            Self::Throttle => Conditions::Rate(30_000),
            Self::DropPubAcks => Conditions::DropPubAcks,
            Self::DropAcks => Conditions::DropAcks,
        }
    }
}
