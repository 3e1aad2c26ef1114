//! The aggregator: consumes events from JetStream, stores each exactly once, and serves them over HTTP.
//!
//! The modules in reading order:
//!
//! 1. [`config`]: the command line and the environment, parsed and checked.
//! 2. [`commands`]: runs the command; one file for each. [`commands::serve`] puts the service together.
//! 3. [`consumer`]: pulls messages from the stream, decodes and batches them, appends each batch to the store, and acks
//!    its messages after COMMIT.
//! 4. [`store`]: appends batches, drops duplicates, and answers queries. Its engine is SQLite, or a database that several aggregators share.
//! 5. [`http`]: the API and the live page. It publishes to the stream and reads from the store, and never writes events to it.
//! 6. [`health`] and [`metrics`]: what the consumer and the store report, and `/health` and `/metrics` return.
//! 7. [`access`]: the tokens, and what each may publish and read.
//! 8. [`tls`]: the certificate of the service. `reread` reads its files and that of the tokens again while the service runs.
//! 9. [`memory`]: the memory limit, divided into shares.
//! 10. `data_dir`, `clock` and `machine`: the lock on the data directory, the wall clock, and the machine as the system
//!     describes it.
//!
//! `consumer` and `http` do not use each other: they share the store, the health and the metrics. ARCHITECTURE.md follows an
//! event through these modules. The library target exists for the binary, the tests and the benchmarks.

pub mod access;
mod clock;
pub mod commands;
pub mod config;
pub mod consumer;
mod data_dir;
pub mod health;
pub mod http;
mod machine;
pub mod memory;
pub mod metrics;
mod reread;
pub mod store;
pub mod tls;
