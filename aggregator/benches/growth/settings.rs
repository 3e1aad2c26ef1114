//! The command line.

use std::path::PathBuf;

use aggregator::{
    memory::{LEAST, Shares},
    store::Limits,
};
use bytesize::ByteSize;
use clap::{Parser, ValueEnum};

use crate::traffic::Recipe;

/// How the rate of appending changes while the store grows, compared with simpler designs.
#[derive(Debug, Clone, Parser)]
pub struct Settings {
    /// Events for each contender, duplicates included.
    #[arg(long, default_value_t = 2_000_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(200_000..))]
    pub events: u64,

    /// Share of events that repeat an earlier one, chosen uniformly among those of its topic.
    #[arg(long, default_value = "0.2", value_name = "SHARE", value_parser = parse_share)]
    pub duplicates: f64,

    /// Number of topics; each event belongs to one of them, chosen uniformly at random.
    #[arg(long, default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub topics: u32,

    /// The contenders, which run one after the other.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "NAMES",
        default_value = "append-only,unique-index,store"
    )]
    pub contenders: Vec<Contender>,

    /// Events for unique-index, to end it earlier.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(200_000..))]
    pub unique_index_events: Option<u64>,

    /// Least number of events per transaction; the default is the aggregator's.
    #[arg(long, default_value_t = 4_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub batch_events: u64,

    /// Conflicts to append to the store at the end: events with identities chosen uniformly among those stored, each from
    /// another source.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub conflicts: u32,

    /// Drop the system's page cache before the conflicts, which requires root.
    #[arg(long)]
    pub cold: bool,

    /// How often all contenders run; ratios are of the median rates.
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u8).range(1..))]
    pub runs: u8,

    /// Address of an empty database for the contender `database`, as for `serve --store`; without TLS.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,

    /// Memory limit of the store, such as 384MiB; the default is the aggregator's on a large machine.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub memory: Option<ByteSize>,

    /// Hard limit on the memory of each contender, page cache included, which requires root.
    #[arg(long, value_name = "SIZE")]
    pub limit: Option<ByteSize>,

    /// Directory for the data, which is removed at the end.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"), hide_default_value = true)]
    pub dir: PathBuf,

    /// Write all measurements to this file; cargo starts benchmarks in the folder of their package.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Draw the rates into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Passed by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    pub bench: bool,

    /// Run this contender in this process and print its figures as JSON.
    #[arg(long, hide = true)]
    pub contender: Option<Contender>,
}

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// The same rows without dedup: the traffic marks the duplicates, so this is the upper limit for any dedup.
    AppendOnly,
    /// The same rows and a unique index: the obvious design.
    UniqueIndex,
    /// The aggregator's writer.
    Store,
    /// The aggregator's writer for a database in place of the data directory; needs --store.
    Database,
    /// Nothing is appended: the traffic alone, generated and decoded.
    Generator,
}

impl Contender {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::AppendOnly => "append-only",
            Self::UniqueIndex => "unique-index",
            Self::Store => "store",
            Self::Database => "database",
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

    /// The memory limit of the store.
    pub fn limits(&self) -> Limits {
        let limits = Limits::default();
        let given = self.memory.map(|bytes| Shares::of(bytes.as_u64()).store);
        Limits {
            memory: given.unwrap_or(limits.memory),
            ..limits
        }
    }

    /// The traffic, the same for all.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            seed: 1,
            topics: self.topics,
            is_mixed: true,
            duplicates: self.duplicates,
            rare_in: None,
            first_sequence: 1,
            conflicts_after: None,
        }
    }
}

fn parse_memory(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if size.as_u64() < LEAST {
        return Err(format!("it must be at least {}", ByteSize::b(LEAST)));
    }
    Ok(size)
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1, such as 0.2".to_owned())
}
