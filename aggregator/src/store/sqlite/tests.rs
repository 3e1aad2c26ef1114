//! The store against a model in memory: whatever is delivered, redelivered, failed, killed and restarted, the rows and
//! the counters are those of the model, exactly.

mod backup;
mod content;
mod damage;
mod files;
mod harness;
mod hurried;
mod incarnations;
mod index;
mod index_random;
mod kept;
mod leaders;
mod lookup;
mod many_topics;
mod memory;
mod migration;
mod model;
mod named;
mod opening;
mod questions;
mod random;
mod trial;
mod verify;
mod wal;
