//! A consistent copy of a store, also of one that is written to: as it is at one commit.

use std::{
    fs::File,
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

/// Why there is no copy. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It would replace something.
    #[error("{0} exists already; name another file")]
    Exists(PathBuf),
    /// There is nothing to copy.
    #[error("there is no store at {0}; name its directory with --data-dir")]
    NoStore(PathBuf),
    /// The store cannot be read, or the copy not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy cannot be written.
    #[error("{path} cannot be written: {source}")]
    Io {
        /// The copy, or what is beside it.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Events in the copy.
    pub events: u64,
    /// Bytes of the copy.
    pub bytes: u64,
}

/// Copies the store in `directory` to a file that is not there yet. `told` hears how many pages of how many are done.
///
/// The copy is written beside under the name `….partial` and gets its own only when it is whole and on disk. Its pages are
/// those of one commit, for one read transaction is held all the while; until it ends, the WAL of the running store grows
/// by what is written to it.
///
/// # Errors
/// As [`BackupError`] tells.
pub fn backup(
    directory: &Path,
    to: &Path,
    mut told: impl FnMut(u64, u64),
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
    // Locked to this process by being made: two backups to one file are a mistake.
    let made = File::create_new(&partial).map_err(|source| io(&partial, source))?;
    let copied = copy(&from, &partial, &mut told).and_then(|copied| {
        made.sync_all().map_err(|source| io(&partial, source))?;
        finish(&partial, to)?;
        Ok(copied)
    });
    if copied.is_err() {
        // What is said is why there is no copy.
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

fn copy(
    from: &Path,
    partial: &Path,
    told: &mut impl FnMut(u64, u64),
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
            told(
                count(progress.pagecount - progress.remaining),
                count(progress.pagecount),
            );
            // Busy or locked cannot be for long: nobody else knows the copy, and WAL never locks out a reader.
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
    // Unlike a rename, a link never replaces what has come there meanwhile.
    std::fs::hard_link(partial, to).map_err(|source| io(to, source))?;
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
