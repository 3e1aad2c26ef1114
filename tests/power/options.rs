//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Cuts where their number is left out.
const CUTS: u64 = 3;

/// Cuts the power under load, and looks for what was confirmed.
///
/// As root on Linux with loop devices; elsewhere it says that it was not tried.
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
    /// Write to a store until the power is cut, and tell each commit; a control starts it
    #[command(hide = true)]
    Writer {
        #[arg(long)]
        synchronous: Synchronous,
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Options {
    /// Cuts; 3 if left out, and none beside --controls
    #[arg(long, value_name = "N")]
    cuts: Option<u64>,
    /// Show that the test bites: with less syncing than the system has, something is lost
    #[arg(long)]
    pub controls: bool,
    /// Seed of the first cut; each one after it has the next. Chosen at random if left out
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Fail where a part cannot be tried
    #[arg(long)]
    pub require: bool,
}

impl Options {
    pub fn cuts(&self) -> u64 {
        self.cuts.unwrap_or(if self.controls { 0 } else { CUTS })
    }
}

/// `SQLite`'s setting of that name.
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
