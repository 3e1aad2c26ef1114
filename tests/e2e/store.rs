//! The store's files: copied, replaced, verified, and written while that fails.

mod backup;
mod clock;
mod persistence;
mod replaced;
mod verify;
mod write_faults;
