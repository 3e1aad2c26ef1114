//! The database file: its schema, connections to it, whether it is still in its place, and copies of it.

pub mod backup;
pub mod connection;
pub mod files;
pub mod migrate;
pub mod schema;
