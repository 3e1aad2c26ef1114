//! Opens the connection that can write, and makes the schema where there is none.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig, params};

use tracing::{info, warn};

use super::migrate;
use crate::store::{
    StoreError,
    opening::Opening,
    sqlite::{BUSY_TIMEOUT, options::Options},
};

/// The schema version that this program reads and writes.
const VERSION: i64 = 4;

/// Pages in the WAL (4 KiB each) before a commit moves them into the database: 16 MiB. Fewer would copy
/// pages that the next batches change again; more would only make the WAL longer.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Page cache of the writer in KiB: it only appends, and reads the rows of topics.
const CACHE_KIB: i64 = 16 * 1024;

/// The one connection that can write, with the schema made where there is none.
pub(in crate::store) fn open_or_make(
    file: &Path,
    now: i64,
    options: &Options,
) -> Result<Connection, StoreError> {
    let mut connection = set_up(Connection::open(file)?, options)?;
    make_or_migrate(&mut connection, now, &options.opening)?;
    if let Err(err) = settle(&connection) {
        // As on a full disk. Reading works, and what is written next will tell.
        warn!(error = %err, "the WAL was not brought into the database");
    }
    Ok(connection)
}

/// The one connection that can write, to a store that is there.
pub(in crate::store) fn open(file: &Path, options: &Options) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    set_up(Connection::open_with_flags(file, flags)?, options)
}

/// Moves what a predecessor left in the WAL into the database, on disk. Its last commit may have been on its way there when
/// it was killed, or its fsync may have failed: it is found in the WAL, for the system still has it in memory, and a
/// message would be acked as applied before.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    // A reader that is in its way, such as a backup, leaves it to the fsync of the next commit.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn set_up(connection: Connection, options: &Options) -> Result<Connection, StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Foreign(format!(
            "its journal mode is {mode} and cannot be WAL; put it on a local file system"
        )));
    }
    // With NORMAL a power cut loses commits whose messages were acked already.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // No table refers to another; but what a person adds by hand is held to what it says.
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // What the WAL is cut to when it begins again after it was longer. That is more than it usually has, for a file that
    // grows with each commit costs more than one that is written again.
    connection.pragma_update(None, "journal_size_limit", options.wal_bound / 2)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // A connection that is given up leaves the WAL, whose file is known, to the next one. An orderly end sees to it itself.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// Whether the store has the version that is known here, without a change to it.
pub(in crate::store) fn check_version(connection: &Connection) -> Result<(), StoreError> {
    match connection.pragma_query_value(None, "user_version", |row| row.get(0))? {
        VERSION => Ok(()),
        found @ 1..VERSION => Err(StoreError::Foreign(format!(
            "it has schema version {found}; an aggregator that is started on it once brings it to version {VERSION}"
        ))),
        found if found > VERSION => Err(StoreError::Newer {
            found,
            known: VERSION,
        }),
        _ => Err(StoreError::Foreign("it is no store".to_owned())),
    }
}

fn make_or_migrate(
    connection: &mut Connection,
    now: i64,
    opening: &Opening,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        VERSION => Ok(()),
        1 => {
            drop(transaction);
            migrate::from_version_1(connection, opening)?;
            make_or_migrate(connection, now, opening)
        }
        2 => {
            migrate::from_version_2(&transaction)?;
            transaction.commit()?;
            info!("the store has schema version 3 now");
            make_or_migrate(connection, now, opening)
        }
        3 => {
            info!("migrating the store from schema version 3 to 4");
            migrate::from_version_3(&transaction, opening)?;
            transaction.commit()?;
            info!("the store has schema version 4 now");
            Ok(())
        }
        0 => {
            let tables: i64 =
                transaction
                    .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 {
                let what = "it has tables but no schema version, so this program did not make it"
                    .to_owned();
                return Err(StoreError::Foreign(what));
            }
            transaction.execute_batch(include_str!("schema.sql"))?;
            let store_id = uuid::Uuid::new_v4().to_string();
            let hash_key = uuid::Uuid::new_v4().into_bytes();
            transaction.execute(
                "INSERT INTO store (only, store_id, hash_key, created_at) VALUES (1, ?1, ?2, ?3)",
                params![store_id, hash_key, now],
            )?;
            transaction.execute("INSERT INTO counters (only) VALUES (1)", [])?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(())
        }
        found => Err(StoreError::Newer {
            found,
            known: VERSION,
        }),
    }
}
