//! The open store: the writable connection, and the state in memory that agrees with its last commit.

use std::time::Duration;

use rusqlite::{Connection, config::DbConfig};
use tracing::{debug, warn};

use super::{Location, state::State, topics::Topics};
use crate::store::{
    StoreError,
    sqlite::{
        file::{files::Files, schema},
        gate::Gate,
    },
};

/// How long to wait for reads to end before the WAL of replaced files is checkpointed.
const SAVE_PATIENCE: Duration = Duration::from_millis(500);

/// The connection, and the state in memory. A failed write drops both.
pub(super) struct OpenStore {
    pub connection: Connection,
    pub state: State,
    pub topics: Topics,
}

impl OpenStore {
    /// Reads the state from the file. Topics are cached in at most `topics_bytes`.
    pub fn load(connection: Connection, topics_bytes: u64) -> Result<Self, StoreError> {
        let state = State::load(&connection)?;
        let topics = Topics::load(&connection, topics_bytes)?;
        Ok(Self {
            connection,
            state,
            topics,
        })
    }

    /// Opens the file again, which must be the one of the store with this id.
    pub fn load_again(location: &Location, store_id: &str) -> Result<Self, StoreError> {
        let options = &location.options;
        let open = Self::load(
            schema::open(&location.file, options)?,
            options.memory.topics,
        )?;
        if open.state.store_id != store_id {
            let found = open.state.store_id;
            return Err(StoreError::Foreign(format!(
                "the file was replaced by that of store {found}; restart the aggregator"
            )));
        }
        Ok(open)
    }

    /// Copies the WAL into the database file as it was opened: if only the WAL was deleted, nothing is lost.
    pub fn save_wal(&self, gate: &Gate) {
        let closed = gate.close(SAVE_PATIENCE);
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        if let Err(err) = self.connection.query_row(sql, [], |_| Ok(())) {
            warn!(error = %err, "the WAL was not checkpointed");
        }
        drop(closed);
    }

    /// Checkpoints the WAL and closes the connection, which removes the WAL if the files are still the store's own.
    pub fn close(self, files: &Files) {
        let is_busy: Result<bool, _> =
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match is_busy {
            Ok(false) => debug!("the WAL is checkpointed"),
            Ok(true) => warn!("a reader holds the WAL; it is left for the next start"),
            Err(err) => warn!(error = %err, "the WAL is left for the next start"),
        }
        // The last connection removes the WAL by its path, where another store's may be.
        if files.check().is_err() {
            return;
        }
        let flag = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        if let Err(err) = self.connection.set_db_config(flag, false) {
            debug!(error = %err, "the empty WAL stays");
        }
    }
}
