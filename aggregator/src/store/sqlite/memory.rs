//! The writer's state that readers use without reading the file.

pub mod duplicates;
pub mod leaders;

use tokio::sync::watch;

use self::{duplicates::Duplicates, leaders::Leaders};
use super::{dedup::lookup::Slot, file::files::Files, gate::Gate};

/// The parts of the writer's state that readers use.
#[derive(Debug, Clone)]
pub(in crate::store) struct Memory {
    pub index: Slot,
    pub duplicates: Duplicates,
    pub leaders: Leaders,
    /// The sequence of the last event, as of the last commit.
    pub last_event: watch::Receiver<i64>,
    /// Stream sequences that are missing and not acknowledged, as of the last commit.
    pub missing: watch::Receiver<u64>,
    pub files: Files,
    pub gate: Gate,
    /// The database pages that each connection of a reader may cache, in bytes.
    pub reader_pages: u64,
}
