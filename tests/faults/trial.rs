//! Trials of their own: many kills under a long load, peak memory, and a disk that stays full.

mod full;
mod kills;
mod memory;

pub use self::{
    full::disk_full,
    kills::{Kills, kills},
    memory::memory,
};
