//! The store: persistence, clocks that are wrong, backups, replaced files, moving to a database, `verify`, several aggregators on one store, its standby
//! and its disk, and failing writes.

mod backup;
mod clock;
mod copied;
mod disk;
mod failover;
mod persistence;
mod replaced;
mod shared;
mod verify;
mod write_faults;
