//! Consistent copies of a store, as of one commit, also while the store is being written.

use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, TransactionBehavior,
    backup::{Backup, StepResult},
};

use super::connection::connect;
use crate::store::StoreError;

/// Pages copied in one step: 4 MiB.
const STEP_PAGES: i32 = 1_000;

/// Why a backup failed. What was written is removed, if possible.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target exists already.
    #[error("{0} already exists; name another file")]
    Exists(PathBuf),
    /// The partial copy of another backup to the same file.
    #[error(
        "{0} exists: another backup to the same file is running, or was killed; if it was killed, delete that file"
    )]
    Partial(PathBuf),
    /// There is no store to copy.
    #[error("there is no store at {0}; give its directory with --data-dir")]
    NoStore(PathBuf),
    /// The store cannot be read, or SQLite cannot write the copy.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy cannot be written.
    #[error("{path} cannot be written: {source}")]
    Io {
        /// The copy, the partial copy, or their directory.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
}

/// The size of a finished backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Events in the copy.
    pub events: u64,
    /// Bytes of the copy.
    pub bytes: u64,
}

/// Copies the store in `directory` to the file `to`, which must not exist. Calls `progress` with the number of pages copied
/// and the number of all pages.
///
/// The copy is written to `….partial` in the same directory, and gets its final name only when it is complete and on disk.
/// It is consistent because one read transaction is held throughout; until that ends, the WAL of a running store
/// grows with everything written to it.
///
/// # Errors
/// See [`BackupError`].
pub fn backup(
    directory: &Path,
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Copied, BackupError> {
    let from = directory.join(crate::store::sqlite::FILE);
    if !from.exists() {
        return Err(BackupError::NoStore(from));
    }
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    // Creating the file excludes other processes: two backups to one file are a mistake.
    let created = File::create_new(&partial).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => BackupError::Partial(partial.clone()),
        _ => io(&partial, source),
    })?;
    let copied = copy(&from, &partial, &mut progress).and_then(|copied| {
        created.sync_all().map_err(|source| io(&partial, source))?;
        finish(&partial, to)?;
        Ok(copied)
    });
    if copied.is_err() {
        // The error to report is that of the copy, not of the removal.
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

fn copy(
    from: &Path,
    partial: &Path,
    report: &mut impl FnMut(u64, u64),
) -> Result<Copied, BackupError> {
    let mut source = connect(from)?;
    let snapshot = source
        .transaction_with_behavior(TransactionBehavior::Deferred)
        .map_err(StoreError::from)?;
    let sql = "SELECT unique_processed FROM counters";
    let events = snapshot
        .query_row(sql, [], |row| row.get(0))
        .map_err(StoreError::from)?;
    let mut target = Connection::open(partial).map_err(StoreError::from)?;
    {
        let backup = Backup::new(&snapshot, &mut target).map_err(StoreError::from)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(StoreError::from)?;
            let progress = backup.progress();
            let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
            report(
                count(progress.pagecount - progress.remaining),
                count(progress.pagecount),
            );
            // Busy or locked passes quickly: no other process has the copy open, and WAL never locks out a reader.
            if step == StepResult::Done {
                break;
            }
        }
    }
    target.close().map_err(|(_, err)| StoreError::from(err))?;
    let bytes = std::fs::metadata(partial).map_err(|source| io(partial, source))?;
    Ok(Copied {
        events,
        bytes: bytes.len(),
    })
}

/// Gives the copy its name, on disk as well.
fn finish(partial: &Path, to: &Path) -> Result<(), BackupError> {
    // Unlike a rename, a link never replaces a file that was created there meanwhile.
    std::fs::hard_link(partial, to).map_err(|source| io(to, source))?;
    let named = remove_partial(partial, to);
    if named.is_err() {
        // The error to report is the first one.
        let _ = std::fs::remove_file(to);
    }
    named
}

/// Removes the partial copy's name, and syncs the directory.
fn remove_partial(partial: &Path, to: &Path) -> Result<(), BackupError> {
    std::fs::remove_file(partial).map_err(|source| io(partial, source))?;
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| io(folder, source))
}

fn io(path: &Path, source: std::io::Error) -> BackupError {
    BackupError::Io {
        path: path.to_owned(),
        source,
    }
}
