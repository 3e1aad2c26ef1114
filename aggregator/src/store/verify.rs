//! The verification: everything that the store recorded, counted again from its rows. It changes nothing.
//!
//! What is recorded is read in one transaction. The events up to the last one of that moment never change afterwards,
//! for rows are only appended, so they are then read in short reads and must come to exactly what was recorded, also
//! while the store runs.

mod applied;
mod balance;
mod report;
mod scan;
mod snapshot;

use std::path::Path;

use rusqlite::{Connection, OpenFlags, config::DbConfig};

pub use self::report::{Check, Report, Verdict};
use self::{scan::Scan, snapshot::Snapshot};
use super::{BUSY_TIMEOUT, FILE, StoreError};

/// What verifies is told how far it is: a part's name, how much of it is done, and of how much.
pub trait Progress: Sync {
    /// Shows it.
    fn at(&self, part: &'static str, done: u64, of: u64);
}

/// A store that is verified.
#[derive(Debug)]
pub struct Verification {
    connection: Connection,
    snapshot: Snapshot,
    /// What is found.
    pub report: Report,
}

impl Verification {
    /// Reads what is recorded in the store of `directory`, and checks that it adds up by itself.
    ///
    /// # Errors
    /// As [`StoreError`] tells.
    pub fn begin(directory: &Path) -> Result<Self, StoreError> {
        let mut connection = open(&directory.join(FILE))?;
        let snapshot = Snapshot::read(&mut connection)?;
        let mut report = Report::default();
        balance::check(&snapshot, &mut report);
        report.add(applied::check(&snapshot));
        report.add(applied::missing(&snapshot));
        Ok(Self {
            connection,
            snapshot,
            report,
        })
    }

    /// Counts the events again.
    ///
    /// # Errors
    /// As [`StoreError`] tells.
    pub fn events(&mut self, progress: &dyn Progress) -> Result<(), StoreError> {
        let mut scan = Scan::new(&self.snapshot);
        let of = self.snapshot.counters.unique_processed;
        let mut after = i64::MIN;
        while scan.read(&self.connection, &mut after, |_| Ok::<_, StoreError>(()))? {
            progress.at("events", scan.rows(), of);
        }
        scan.finish(&mut self.report);
        Ok(())
    }
}

/// A connection that changes nothing: the WAL, which may hold the latest commits, stays where it is as well.
fn open(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}
