//! All ways in: each makes events of a request, and puts them on the stream by the shared intake.

pub mod accepted;
pub mod cloudevents;
pub mod intake;
pub mod lines;
pub mod native;
pub mod otlp;
pub mod refusals;
pub mod waiting;

/// Requests and answers, as they are: by method and path, then by what they are.
pub const EXAMPLES: &str = include_str!("publish/examples.json");
