//! The aggregator: takes events from JetStream, stores each exactly once, answers for them over HTTP.
//!
//! The binary is [`config`] and [`commands`]; benchmarks work with the parts.

mod clock;
pub mod commands;
pub mod config;
pub mod consumer;
mod data_dir;
pub mod health;
pub mod http;
pub mod metrics;
pub mod store;
