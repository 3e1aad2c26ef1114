//! Tests of the store against a model in memory: after any sequence of deliveries, redeliveries, failures, kills and
//! restarts, the rows and the counters match the model exactly.

mod backup;
mod closing_gate;
mod content;
mod damage;
mod files;
pub mod harness;
mod history;
mod incarnations;
mod index;
mod index_random;
mod leaders;
mod lookup;
mod many_topics;
mod memory;
mod migration;
mod model;
mod named;
mod opening;
mod queries;
mod random;
mod review;
mod trial;
mod verify;
pub mod visible;
mod visible_bounds;
mod wal;
