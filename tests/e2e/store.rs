//! The store: persistence, a clock that was set back, backups, replaced files, moving to a database, `verify`, several aggregators on one store, its standby, and failing writes.

mod backup;
mod clock;
mod copied;
mod failover;
mod persistence;
mod replaced;
mod shared;
mod verify;
mod write_faults;
