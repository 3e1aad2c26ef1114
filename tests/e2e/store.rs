//! The store: persistence, a clock that was set back, backups, replaced files, `verify`, and failing writes.

mod backup;
mod clock;
mod persistence;
mod replaced;
mod verify;
mod write_faults;
