//! Verification, as far as it is the same for both engines: the report, its progress, and the checks that compare numbers.
//! It changes nothing. How the rows are read is each engine's own.

pub(in crate::store) mod applied;
pub(in crate::store) mod balance;
pub(in crate::store) mod recount;
mod report;
pub(in crate::store) mod topics;

pub use self::report::{Check, Report, Verdict};

/// Receives the progress of a verification.
pub trait Progress: Sync {
    /// Reports that a part begins whose length is not known.
    fn begins(&self, part: &'static str);

    /// Reports that `done` of `of` steps of a part are complete.
    fn at(&self, part: &'static str, done: u64, of: u64);
}
