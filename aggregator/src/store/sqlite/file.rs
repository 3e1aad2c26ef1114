//! The database file: schema, migration, read-only connections, detection of replaced files, and backups.

pub mod backup;
pub mod connection;
pub mod files;
pub mod migrate;
pub mod schema;
