//! What is stored, and what came again.

pub mod duplicates;
pub mod event;
mod export;
pub mod filter;
pub mod list;
pub mod shown;
pub mod tail;
