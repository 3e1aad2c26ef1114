//! Opens the writable connection, and creates or migrates the schema.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig, params};

use tracing::{info, warn};

use super::{
    connection::{fix_plans, limit_pages},
    migrate,
};
use crate::store::{
    StoreError,
    opening::Opening,
    sqlite::{BUSY_TIMEOUT, options::Options},
};

/// The schema version that this program reads and writes.
pub const VERSION: i64 = 8;

/// Bytes of a page of a new store; an existing one keeps its own. Larger pages need fewer system calls, but a commit of a few events
/// writes several whole pages.
const PAGE_BYTES: i64 = 8 * 1024;

/// Bytes in the WAL before a commit checkpoints them into the database. With fewer, pages would be copied that the next batches
/// change again; more would only make the WAL longer.
const CHECKPOINT_BYTES: i64 = 16 * 1024 * 1024;

/// Opens the one writable connection, and creates or migrates the schema.
pub(in crate::store) fn open_or_make(
    file: &Path,
    now: i64,
    options: &Options,
) -> Result<Connection, StoreError> {
    let mut connection = set_up(Connection::open(file)?, options)?;
    make_or_migrate(&mut connection, now, &options.opening)?;
    if let Err(err) = settle(&connection) {
        // For example, the disk is full. Reading works, and the next write reports the error.
        warn!(error = %err, "the WAL could not be checkpointed");
    }
    Ok(connection)
}

/// Opens the one writable connection to an existing store.
pub(in crate::store) fn open(file: &Path, options: &Options) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    set_up(Connection::open_with_flags(file, flags)?, options)
}

/// Checkpoints what an earlier process left in the WAL into the database, on disk. That process may have been killed while
/// it synced its last commit, or the fsync may have failed. Such a commit is visible, because the system still has it in
/// memory, and its messages would be acked as already applied although it is not on disk.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    // If a reader, such as a backup, prevents the checkpoint, the fsync of the next commit covers the WAL.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn set_up(connection: Connection, options: &Options) -> Result<Connection, StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    fix_plans(&connection)?;
    // Has an effect only before the first table is made.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Foreign(format!(
            "its journal mode is {mode} and cannot be set to WAL; put it on a local file system"
        )));
    }
    // With NORMAL, a power failure loses commits whose messages have already been acked.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // No table has foreign keys, but those of tables that an operator adds are enforced.
    connection.pragma_update(None, "foreign_keys", true)?;
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_BYTES / page_bytes)?;
    // The size to which the WAL is truncated when it restarts after it was longer. This is above its usual size, because
    // extending a file with each commit costs more than overwriting it.
    connection.pragma_update(None, "journal_size_limit", options.wal_bound / 2)?;
    limit_pages(&connection, options.memory.writer_pages)?;
    // A connection that is abandoned leaves the WAL, whose file identity is recorded, to the next one. An orderly shutdown
    // checkpoints it explicitly.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// Checks that the store has the current schema version, without changing it.
pub(in crate::store) fn check_version(connection: &Connection) -> Result<(), StoreError> {
    match connection.pragma_query_value(None, "user_version", |row| row.get(0))? {
        VERSION => Ok(()),
        found @ 1..VERSION => Err(StoreError::Foreign(format!(
            "it has schema version {found}; start an aggregator on it once to migrate it to version {VERSION}"
        ))),
        found if found > VERSION => Err(StoreError::Newer {
            found,
            known: VERSION,
        }),
        _ => Err(StoreError::Foreign("it is not a store".to_owned())),
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
            info!("migrated the store to schema version 3");
            make_or_migrate(connection, now, opening)
        }
        3 => {
            info!("migrating the store from schema version 3 to 4");
            migrate::from_version_3(&transaction, opening)?;
            transaction.commit()?;
            info!("migrated the store to schema version 4");
            make_or_migrate(connection, now, opening)
        }
        4 => {
            migrate::from_version_4(&transaction, now)?;
            transaction.commit()?;
            info!("migrated the store to schema version 5");
            make_or_migrate(connection, now, opening)
        }
        5 => {
            info!("migrating the store from schema version 5 to 6");
            migrate::from_version_5(&transaction)?;
            transaction.commit()?;
            info!("migrated the store to schema version 6");
            make_or_migrate(connection, now, opening)
        }
        6 => {
            transaction.execute_batch(migrate::VERSION_7)?;
            transaction.commit()?;
            info!("migrated the store to schema version 7");
            make_or_migrate(connection, now, opening)
        }
        7 => {
            transaction.execute_batch(migrate::VERSION_8)?;
            transaction.commit()?;
            info!("migrated the store to schema version 8");
            Ok(())
        }
        0 => {
            let tables: i64 =
                transaction
                    .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 {
                let what = "it has tables but no schema version, so this program did not create it"
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
