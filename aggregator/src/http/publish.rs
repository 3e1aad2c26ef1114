//! The publishing routes: each turns a request into events, and puts them on the stream through the shared intake.

pub mod accepted;
pub mod cloudevents;
pub mod intake;
pub mod lines;
pub mod native;
pub mod otlp;
pub mod refusals;
pub mod waiting;

/// Example requests and responses: by method and path, then by `request` or status, media type and name.
pub const EXAMPLES: &str = include_str!("publish/examples.json");
