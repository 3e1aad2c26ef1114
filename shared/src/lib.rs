//! What the aggregator and the publisher must agree on: the event, the message that carries events, the stream contract,
//! and the publisher that batches events into messages and waits for each `PubAck`; plus what both programs share: the
//! telemetry, the task lifecycle, the client of the HTTP API, and the commands that read from it.
//!
//! # Layout
//!
//! The modules in reading order:
//!
//! - [`event`]: the event, parsed into types that cannot be invalid; identity, content and the rules of each field; and
//!   [`event::cloudevent`], the mapping of a `CloudEvent` to an event.
//! - [`subject`]: the reversible mapping between a topic and its NATS subject.
//! - [`message`]: the body of a message: encoding, and decoding into events and rejections.
//! - [`connection`]: the connection to NATS, its credentials, and the check of the server's version.
//! - [`stream`]: the stream's configuration, its size, and its state.
//! - [`publish`]: the publishing client: batches, retries, receipts.
//! - [`trace`]: the W3C trace context and spans.
//! - [`telemetry`]: logs, and the export of spans.
//! - [`command_line`]: numbers on the command line, environment variables, output, and errors on one line.
//! - [`api`]: client of the aggregator's HTTP API.
//! - [`tls`]: whom encrypted connections trust.
//! - [`secret_file`]: files that only their service should read.
//! - [`reading`]: the commands that read from an aggregator: query, tail, stats, topics and event.
//! - [`service`]: tasks that start and stop together; signals.

pub mod api;
pub mod command_line;
pub mod connection;
pub mod event;
pub mod message;
pub mod publish;
pub mod reading;
pub mod secret_file;
pub mod service;
pub mod stream;
pub mod subject;
pub mod telemetry;
pub mod tls;
pub mod trace;
