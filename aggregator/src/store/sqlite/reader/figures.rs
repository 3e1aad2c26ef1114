//! The store's counters at one commit, with the sizes of its files.

use std::{fs, io, path::Path};

use rusqlite::Transaction;
use tokio::sync::watch;

use super::stats::stats;
use crate::store::{
    query::{Figures, Sizes},
    sqlite::INDEX_FOLDER,
};

/// Reads the figures of the store in `file`.
pub(super) fn read(
    read: &Transaction<'_>,
    file: &Path,
    missing: &watch::Receiver<u64>,
) -> rusqlite::Result<Figures> {
    let stats = stats(read, 0, missing)?;
    let seals = read
        .prepare_cached("SELECT count(*) FROM seals")?
        .query_row([], |row| row.get(0))?;
    let index = file.with_file_name(INDEX_FOLDER);
    let sizes = Sizes {
        database: size(file),
        wal: size(&file.with_extension("db-wal")),
        // The folder does not exist while the index is being rebuilt.
        index: folder(&index).ok(),
    };
    Ok(Figures {
        stats,
        seals,
        sizes,
    })
}

fn size(file: &Path) -> Option<u64> {
    fs::metadata(file).ok().map(|found| found.len())
}

/// The bytes of all files in a folder. A file that is deleted meanwhile, as by a merge of the index, is not counted.
fn folder(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let Ok(found) = entry.metadata() else {
            continue;
        };
        bytes += if found.is_dir() {
            folder(&entry.path()).unwrap_or(0)
        } else {
            found.len()
        };
    }
    Ok(bytes)
}
