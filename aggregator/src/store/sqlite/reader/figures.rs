//! The store's counters at one commit, with the sizes of its files.

use std::{fs, path::Path, sync::TryLockError, time::Duration};

use rusqlite::Transaction;
use tokio::sync::watch;

use super::{
    history::{self, History},
    stats::stats,
};
use crate::{
    machine,
    store::{
        query::{Disk, Figures, FilterSizes, MICROS_PER_MINUTE, Sizes},
        sqlite::{
            INDEX_FOLDER,
            dedup::{index::Index, lookup::Slot},
        },
    },
};

/// Reads the figures of the store in `file`.
pub(super) fn read(
    read: &Transaction<'_>,
    file: &Path,
    missing: &watch::Receiver<u64>,
    index: &Slot,
) -> rusqlite::Result<Figures> {
    let stats = stats(read, 0, missing)?;
    let seals = read
        .prepare_cached("SELECT count(*) FROM seals")?
        .query_row([], |row| row.get(0))?;
    Ok(Figures {
        stats,
        seals,
        sizes: sizes(file),
        filters: filter_sizes(index),
    })
}

/// `None` while the index is being opened or rebuilt, which is not waited for.
fn filter_sizes(index: &Slot) -> Option<FilterSizes> {
    let index = match index.try_read() {
        Ok(index) => index,
        Err(TryLockError::Poisoned(index)) => index.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    index.as_ref().map(Index::filter_sizes)
}

fn sizes(file: &Path) -> Sizes {
    let index = file.with_file_name(INDEX_FOLDER);
    Sizes {
        database: size(file),
        wal: size(&file.with_extension("db-wal")),
        // The folder does not exist while the index is being rebuilt.
        index: machine::folder_bytes(&index).ok(),
    }
}

/// The disk with the files of the store in `file`; `None` if its free space cannot be read.
pub(super) fn disk(
    read: &Transaction<'_>,
    file: &Path,
    now: i64,
) -> rusqlite::Result<Option<Disk>> {
    let Ok((free, total)) = machine::space(file) else {
        return Ok(None);
    };
    let Sizes {
        database,
        wal,
        index,
    } = sizes(file);
    let sizes = [database, wal, index].into_iter().flatten();
    let created_at: i64 = read
        .prepare_cached("SELECT created_at FROM store")?
        .query_row([], |row| row.get(0))?;
    let counted_since = history::since(read)?.unwrap_or(created_at);
    let minute = |at: i64| at.div_euclid(MICROS_PER_MINUTE);
    // Of the last 24 hours, or since the store began to count.
    let from = (minute(now) - MINUTES_PER_DAY).max(minute(counted_since));
    let history = History::of_all(read)?;
    let (counted, before) = (history.current, history.at(from)?);
    // While the clock is behind the latest event, all new ones have its time.
    let is_held = minute(history.changed_at) > minute(now) + 1;
    let lately = if is_held { 0 } else { minute(now) + 1 - from };
    Ok(Some(Disk {
        free,
        total,
        used: sizes.sum(),
        stored: counted.unique,
        stored_lately: counted.unique.saturating_sub(before.unique),
        duplicates_lately: counted.duplicates.saturating_sub(before.duplicates),
        lately: Duration::from_secs(u64::try_from(lately).unwrap_or(0) * 60),
    }))
}

const MINUTES_PER_DAY: i64 = 24 * 60;

fn size(file: &Path) -> Option<u64> {
    fs::metadata(file).ok().map(|found| found.len())
}
