//! What a person types: a file for each command.

pub mod acknowledge_missing;
pub mod backup;
pub mod healthcheck;
pub mod serve;
pub mod verify;
