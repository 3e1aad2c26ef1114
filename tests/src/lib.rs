//! The harness of the end-to-end tests: a real broker, the built services, and clients of them.
//!
//! It expects the services next to the test's own binary, so they must be built first, with `cargo build --workspace`
//! or by `tests/run.sh`. Everything it starts ends with the test, even if the test fails.
#![expect(
    clippy::missing_panics_doc,
    reason = "a harness fails its test by panicking, everywhere"
)]
#![expect(
    clippy::must_use_candidate,
    reason = "only this package uses it, and results are asserted on"
)]

pub mod aggregator;
pub mod api;
pub mod authority;
pub mod books;
pub mod broker;
pub mod browser;
pub mod caddy;
pub mod clock;
pub mod collector;
pub mod compose;
// The server of the store's own tests.
#[path = "../../aggregator/src/store/tests/database.rs"]
pub mod database;
pub mod disk;
pub mod event;
pub mod load;
pub mod nginx;
pub mod port;
pub mod postgres;
pub mod prometheus;
pub mod proxy;
pub mod publisher;
pub mod service;
pub mod store;
pub mod system;
pub mod tail;
pub mod verification;
pub mod wait;
pub mod workspace;

pub use system::System;
