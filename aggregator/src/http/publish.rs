//! All ways in: each makes events of a request, and puts them on the stream by the shared intake.

pub mod accepted;
pub mod cloudevents;
pub mod intake;
mod lines;
pub mod native;
pub mod otlp;
pub mod waiting;
