//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The default number of cuts.
const CUTS: u64 = 3;

/// Simulates power cuts under load, and checks that everything confirmed was kept.
///
/// Needs root on Linux, with loop devices; elsewhere it prints that nothing was tried.
#[derive(Debug, Parser)]
#[command(name = "power", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub role: Option<Role>,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Debug, Subcommand)]
pub enum Role {
    /// Write to a store until the simulated power cut, and print each commit; started by a control
    #[command(hide = true)]
    Writer {
        #[arg(long)]
        synchronous: Synchronous,
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Options {
    /// Number of cuts [default: 3, or none with --controls]
    #[arg(long, value_name = "N")]
    cuts: Option<u64>,
    /// Show that the test detects loss: with less syncing than the system does, something is lost
    #[arg(long)]
    pub controls: bool,
    /// Seed of the first cut; each further cut uses the next one [default: random]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Fail if this system does not support a part
    #[arg(long)]
    pub require: bool,
}

impl Options {
    pub fn cuts(&self) -> u64 {
        self.cuts.unwrap_or(if self.controls { 0 } else { CUTS })
    }
}

/// The `SQLite` setting of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Synchronous {
    Normal,
    Full,
}

impl Synchronous {
    /// As in the pragma and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Full => "full",
        }
    }
}
