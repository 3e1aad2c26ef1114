//! Counters, metrics and health.

pub mod diagnostics;
pub mod health;
pub mod histogram;
pub mod live;
pub mod metrics;
pub mod probes;
pub mod stats;
pub mod topics;

/// Example requests and responses: by method and path, then by query, body and status.
pub const EXAMPLES: &str = include_str!("counts/examples.json");
