//! Stored events and duplicates.

pub mod duplicates;
pub mod event;
mod export;
pub mod filter;
pub mod list;
pub mod tail;
pub mod view;

/// Example requests and responses: by method and path, then by query, body and status.
pub const EXAMPLES: &str = include_str!("events/examples.json");
