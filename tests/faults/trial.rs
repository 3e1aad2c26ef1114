//! Separate trials: many kills under a long load, peak memory, a disk that stays full, and the size of the WAL.

mod full;
mod kills;
mod memory;
mod wal;

pub use self::{
    full::disk_full,
    kills::{Kills, kills},
    memory::memory,
    wal::wal,
};
