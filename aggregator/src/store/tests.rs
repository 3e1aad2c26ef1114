//! Tests that hold for either engine: after any sequence of deliveries, redeliveries, failures and restarts, what the store
//! answers matches a model in memory exactly.

pub mod arrivals;
mod counted;
pub mod database;
pub mod engine;
mod incarnations;
pub mod model;
mod questions;
pub mod random;
mod review;
