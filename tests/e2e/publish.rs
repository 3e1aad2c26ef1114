//! The ways in: what is taken as an event, what is refused, and what others send.

mod content;
mod data_files;
mod fidelity;
mod http_errors;
mod limits;
mod otlp;
mod refusals;
pub mod senders;
mod waiting;
