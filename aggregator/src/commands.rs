//! The commands, one file each.

pub mod acknowledge_missing;
pub mod backup;
pub mod healthcheck;
pub mod serve;
pub mod verify;
