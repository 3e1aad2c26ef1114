//! All ways in: what is accepted as an event, what is refused, and what third-party senders send.

mod content;
mod data_files;
mod fidelity;
mod http_errors;
mod limits;
mod otlp;
mod refusals;
pub mod senders;
mod waiting;
