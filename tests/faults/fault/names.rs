//! The names of the faults, in schedules and tables.

use super::{Aggregators, Database, End, Fault, Link, Nodes, Side, Trouble};

impl Fault {
    /// Its name in schedules and tables.
    pub fn name(self) -> String {
        let name = match self {
            Self::AggregatorKilled => "aggregator-killed",
            Self::AggregatorStopped => "aggregator-stopped",
            Self::BrokerKilled => "broker-killed",
            Self::BrokerStopped => "broker-stopped",
            Self::PublisherKilled => "publisher-killed",
            Self::Network(side, trouble) => {
                let side = match side {
                    Side::Aggregator => "aggregator",
                    Side::Publisher => "publisher",
                };
                return format!("{side}-network-{}", trouble.name());
            }
            Self::StoreDiskFull => "store-disk-full",
            Self::StreamDiskFull => "stream-disk-full",
            Self::FsyncFails => "fsync-fails",
            Self::DatabaseReadOnly => "database-read-only",
            Self::OlderStore => "older-store",
            Self::StoreFileDeleted => "store-file-deleted",
            Self::OlderStream {
                while_aggregator_runs: false,
            } => "older-stream-aggregator-stopped",
            Self::OlderStream {
                while_aggregator_runs: true,
            } => "older-stream-aggregator-running",
            Self::DurableDeleted => "durable-deleted",
            Self::StreamDeleted => "stream-deleted",
            Self::StreamFull => "stream-full-aggregator-away",
            Self::SecondStore => "second-store-first-stopped",
            Self::RollUp => "rollup-header",
            Self::TwoOnOneDirectory => "two-on-one-directory",
            Self::TwoOnOneDurable => "two-on-one-durable",
            Self::Poison => "poison",
            Self::BodySizes => "body-sizes",
            Self::IdleConnections => "idle-connections",
            Self::Nodes(nodes, end) => return format!("{}-{}", nodes.name(), end.name()),
            Self::Aggregators(which, end) => return format!("{}-{}", which.name(), end.name()),
            Self::Database(trouble) => trouble.name(),
            Self::Link(which, link) => {
                return format!("{}-database-network-{}", which.name(), link.name());
            }
            Self::ClocksApart => "clocks-apart",
        };
        name.to_owned()
    }
}

impl Nodes {
    fn name(self) -> &'static str {
        match self {
            Self::One => "node",
            Self::Leader => "leader",
            Self::LeaderOfDurable => "leader-of-durable",
            Self::Two => "two-nodes",
            Self::Rolling => "node-by-node",
        }
    }
}

impl Aggregators {
    fn name(self) -> &'static str {
        match self {
            Self::One => "one-aggregator",
            Self::Two => "two-aggregators",
            Self::All => "all-aggregators",
        }
    }
}

impl Database {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "database-killed",
            Self::Restarted => "database-restarted",
            Self::SessionsEnded => "database-sessions-ended",
            Self::Exhausted => "database-connections-exhausted",
            Self::FailedOver => "database-failed-over",
            Self::Suspended => "database-suspended",
            Self::DiskFull => "database-disk-full",
        }
    }
}

impl Link {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::CutAtCommits => "cut-at-commits",
            Self::Delay => "delayed",
            Self::Throttle => "throttled",
            Self::Silent => "silent",
        }
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Suspended => "suspended",
            Self::Erased => "erased",
        }
    }
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::CutInFrame => "cut-in-frame",
            Self::Delay => "delayed",
            Self::Throttle => "throttled",
            Self::DropPubAcks => "drops-pub-acks",
            Self::DropAcks => "drops-acks",
        }
    }
}
