//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::traffic::Recipe;

/// Topics in addition to the rare one.
pub const TOPICS: u32 = 100;

/// Events of the rare topic, approximately.
const RARE_EVENTS: u64 = 50;

/// Events per message, approximately.
const MESSAGE_EVENTS: u64 = 175;

/// How long queries take in a store of a given size, idle and while events are appended.
#[derive(Debug, Clone, Parser)]
pub struct Settings {
    /// Events to fill the store with, duplicates included.
    #[arg(long, default_value_t = 1_000_000, value_name = "N",
          value_parser = clap::value_parser!(u64).range(100_000..))]
    pub events: u64,

    /// Events appended per second while queries are measured the second time.
    #[arg(long, default_value_t = 20_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,

    /// Least number of seconds for each kind of request, which is sent at least 1,000 times.
    #[arg(long, default_value_t = 2, value_name = "S")]
    pub seconds: u64,

    /// Directory for the data, which is removed at the end.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"), hide_default_value = true)]
    pub dir: PathBuf,

    /// Write all measurements to this file; cargo starts benchmarks in the folder of their package.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Passed by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Settings {
    /// The traffic that fills the store.
    pub fn filling(&self) -> Recipe {
        Recipe {
            seed: 1,
            topics: TOPICS,
            is_mixed: false,
            duplicates: 0.2,
            rare_in: Some((self.events / MESSAGE_EVENTS / RARE_EVENTS).max(1)),
            first_sequence: 1,
            conflicts_after: None,
        }
    }
}
