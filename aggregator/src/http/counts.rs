//! The bookkeeping, and how the service is.

pub mod health;
pub mod live;
pub mod metrics;
pub mod stats;
pub mod topics;
