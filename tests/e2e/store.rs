//! The store's files: backed up, replaced, verified, and written with faults.

mod backup;
mod clock;
mod persistence;
mod replaced;
mod verify;
mod write_faults;
