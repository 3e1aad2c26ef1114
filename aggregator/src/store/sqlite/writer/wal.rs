//! Keeps the WAL within its bound: resets it while no read is running.

use std::time::Duration;

use rusqlite::Connection;
use tracing::{debug, info, warn};

use crate::store::sqlite::{BUSY_TIMEOUT, gate::Gate};

/// How long running reads are waited for: they end after their current row.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long the reads of other processes are waited for.
const OTHERS: Duration = Duration::from_millis(50);

/// The bound on the size of the WAL.
#[derive(Debug)]
pub(super) struct Wal {
    gate: Gate,
    bound: u64,
    /// The size in bytes at which it is reset next.
    next: u64,
    is_held: bool,
}

impl Wal {
    /// Resets it whenever it has more than `bound` bytes.
    pub fn new(gate: Gate, bound: u64) -> Self {
        Self {
            gate,
            bound,
            next: bound,
            is_held: false,
        }
    }

    /// Called after each COMMIT with the size of the file. If a read does not end in time, ingest continues, and the reset
    /// is retried when the file has grown by a quarter of the bound.
    pub fn keep_bounded(&mut self, connection: &Connection, bytes: u64) {
        if bytes <= self.next {
            if bytes <= self.bound {
                self.next = self.bound;
            }
            return;
        }
        let held = match self.gate.close(PATIENCE) {
            None => "a query".to_owned(),
            Some(_closed) => match reset(connection) {
                Ok(true) => {
                    debug!(wal.bytes = bytes, "reset the WAL");
                    if std::mem::take(&mut self.is_held) {
                        info!(wal.bytes = bytes, "the WAL is reset again");
                    }
                    // The file shrinks only with the next commit.
                    self.next = bytes;
                    return;
                }
                Ok(false) => "another program, such as a backup,".to_owned(),
                Err(err) => err.to_string(),
            },
        };
        self.next = bytes + self.bound / 4;
        if !std::mem::replace(&mut self.is_held, true) {
            warn!(
                wal.bytes = bytes,
                held,
                "the WAL cannot be reset while it is being read; it grows until the read ends"
            );
        }
    }
}

/// Copies all of the WAL into the database, so that the next commit begins at the start of the file. Returns false if another
/// connection is reading from it.
fn reset(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(OTHERS)?;
    let is_busy: rusqlite::Result<bool> =
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(!is_busy?)
}
