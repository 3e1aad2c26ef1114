//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::traffic::Recipe;

/// How the rate of appending changes while the store grows: the store beside what it is to be compared with.
#[derive(Debug, Clone, Parser)]
pub struct Settings {
    /// Events for each contender, duplicates included.
    #[arg(long, default_value_t = 2_000_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(200_000..))]
    pub events: u64,

    /// Part of the events that repeats an earlier one, chosen evenly among all of its topic.
    #[arg(long, default_value = "0.2", value_name = "SHARE", value_parser = parse_share)]
    pub duplicates: f64,

    /// Topics; each message is of one of them, evenly at random.
    #[arg(long, default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub topics: u16,

    /// Who appends, one after the other.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "NAMES",
        default_value = "append-only,unique-index,store"
    )]
    pub contenders: Vec<Contender>,

    /// Events for unique-index, where it is to end earlier.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(200_000..))]
    pub unique_index_events: Option<u64>,

    /// Events of a transaction, at least; the aggregator's default.
    #[arg(long, default_value_t = 4_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub batch_events: u64,

    /// Conflicts that the store is given at the end: events with identities evenly at random among those stored, each from
    /// another source.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub conflicts: u32,

    /// Drops the system's page cache before the conflicts, which only root can.
    #[arg(long)]
    pub cold: bool,

    /// How often all contenders run; ratios are of the rates in the middle.
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u8).range(1..))]
    pub runs: u8,

    /// Directory for the data, which are removed at the end.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"), hide_default_value = true)]
    pub dir: PathBuf,

    /// Writes all that was measured to this file; cargo starts benchmarks in the folder of their package.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Draws the rates into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Given by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    pub bench: bool,

    /// Runs this contender in this process and tells its figures as JSON.
    #[arg(long, hide = true)]
    pub contender: Option<Contender>,
}

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// The same rows without any dedup: told by the traffic what repeats, and so the limit of what dedup can reach.
    AppendOnly,
    /// The same rows and a unique index: what one would write first.
    UniqueIndex,
    /// The aggregator's writer.
    Store,
    /// Nobody: the traffic alone, made and decoded.
    Generator,
}

impl Contender {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::AppendOnly => "append-only",
            Self::UniqueIndex => "unique-index",
            Self::Store => "store",
            Self::Generator => "generator",
        }
    }
}

impl Settings {
    /// How many events this contender appends.
    pub fn events_for(&self, contender: Contender) -> u64 {
        match (contender, self.unique_index_events) {
            (Contender::UniqueIndex, Some(events)) => events.min(self.events),
            _ => self.events,
        }
    }

    /// The traffic, the same for all.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            seed: 1,
            topics: self.topics,
            duplicates: self.duplicates,
            rare_in: None,
            first_sequence: 1,
            conflicts_after: None,
        }
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "it is a share from 0 to 1, such as 0.2".to_owned())
}
