//! What is stored, and what came again.

pub mod duplicates;
pub mod event;
mod export;
pub mod filter;
pub mod list;
pub mod shown;
pub mod tail;

/// Requests and answers, as they are: by method and path, then by what they are.
pub const EXAMPLES: &str = include_str!("events/examples.json");
