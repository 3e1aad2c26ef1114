//! The bookkeeping, and how the service is.

pub mod health;
pub mod live;
pub mod metrics;
pub mod stats;
pub mod topics;

/// Requests and answers, as they are: by method and path, then by what they are.
pub const EXAMPLES: &str = include_str!("counts/examples.json");
