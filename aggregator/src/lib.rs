//! The aggregator: takes events from JetStream, stores each exactly once, answers for them over HTTP.
//!
//! The binary is [`config`] and [`serve`]; benchmarks work with the parts.

pub mod acknowledge;
pub mod backup;
mod clock;
mod commits;
pub mod config;
pub mod consumer;
mod data_dir;
pub mod health;
pub mod healthcheck;
pub mod http;
pub mod metrics;
pub mod serve;
pub mod store;
pub mod verify;
