//! Separate trials: many kills under a long load, also of a cluster, peak memory, a disk that stays full, and the size of the WAL.

mod cluster;
mod full;
mod kills;
mod memory;
mod wal;

pub use self::{
    cluster::cluster_kills,
    full::disk_full,
    kills::{Kills, kills},
    memory::memory,
    wal::wal,
};
