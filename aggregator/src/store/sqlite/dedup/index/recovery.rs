//! Recovery of the index at startup and after a failure. An index is used only if its newest seal is registered in the
//! store; the entries that it lacks are computed from the event rows.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OptionalExtension, params};
use tracing::{info, warn};

use super::{Entry, FaultPoint, Index, IndexError, Seal, Setup};
use crate::store::{
    StoreError,
    sqlite::dedup::fingerprint::{Fields, Key},
};

/// Number of rows between progress messages in the log.
const LOG_EVERY: i64 = 1_000_000;

/// Recovers the index of the store behind `connection`, whose last event is `last_event`. `previous` is reused if it
/// has not failed and has no events after `last_event`. An index that is damaged, belongs to another store, or has
/// events that the store does not have is discarded and rebuilt.
///
/// # Errors
/// [`StoreError::Index`] if the index can neither be used nor rebuilt, [`StoreError::Foreign`] if event rows are
/// missing, and [`StoreError::Sqlite`].
pub(in crate::store) fn recover(
    previous: Option<Index>,
    folder: &Path,
    connection: &Connection,
    key: &Key,
    last_event: i64,
    setup: &Setup<'_>,
) -> Result<Index, StoreError> {
    let replayed = |index: Index| {
        replay(&index, connection, key, last_event, setup)?;
        Ok(index)
    };
    let recovered = match previous.filter(|index| index.is_sound() && index.known() <= last_event) {
        Some(index) => replayed(index),
        None => open(folder, connection, last_event, setup).and_then(replayed),
    };
    match recovered {
        // Damage may not surface until the replay: an interrupted merge resumes while the rows are read.
        Err(StoreError::Index(err)) if err.is_damage() => replayed(rebuild(folder, &err, setup)?),
        recovered => recovered,
    }
}

/// Removes the folder, so that the index is rebuilt when it is next opened. The folder is renamed first, because a
/// partly removed one would be mistaken for a valid tree.
pub(in crate::store) fn discard(folder: &Path) -> Result<(), IndexError> {
    let aside = aside(folder);
    remove(&aside)?;
    match std::fs::rename(folder, &aside) {
        Err(err) if err.kind() != ErrorKind::NotFound => return Err(err.into()),
        _ => {}
    }
    Ok(remove(&aside)?)
}

fn aside(folder: &Path) -> PathBuf {
    folder.with_extension("discarded")
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn rebuild(
    folder: &Path,
    reason: &dyn std::fmt::Display,
    setup: &Setup<'_>,
) -> Result<Index, StoreError> {
    warn!(%reason, "the dedup index cannot be used; rebuilding it");
    discard(folder)?;
    let (index, _) = Index::open(folder, setup)?;
    Ok(index)
}

fn open(
    folder: &Path,
    connection: &Connection,
    last_event: i64,
    setup: &Setup<'_>,
) -> Result<Index, StoreError> {
    // Left behind if the process was killed while discarding an index.
    remove(&aside(folder)).map_err(IndexError::from)?;
    let reason = match Index::open(folder, setup) {
        Ok((index, None)) => return Ok(index),
        Ok((index, Some(seal))) if is_known(connection, seal, last_event)? => return Ok(index),
        Ok(_) => "its newest seal is not registered in this store".to_owned(),
        Err(err) if err.is_damage() => err.to_string(),
        Err(err) => return Err(err.into()),
    };
    rebuild(folder, &reason, setup)
}

/// Whether this store registered the seal and has all events up to it. An index with events that the store lacks, for
/// example after a backup was restored, would treat those events as duplicates when they arrive again.
pub(super) fn is_known(
    connection: &Connection,
    seal: Seal,
    last_event: i64,
) -> rusqlite::Result<bool> {
    let registered: Option<i64> = connection
        .query_row("SELECT reach FROM seals WHERE id = ?1", [seal.id], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(registered == Some(seal.reach) && seal.reach <= last_event)
}

/// Reads the events up to `last_event` that the index does not have yet, and enters them.
fn replay(
    index: &Index,
    connection: &Connection,
    key: &Key,
    last_event: i64,
    setup: &Setup<'_>,
) -> Result<(), StoreError> {
    let first = index.known();
    let mut logged = first;
    while index.known() < last_event {
        let step = "the dedup index is being rebuilt";
        setup.opening.events(step, index.known(), last_event);
        index.shared.faults.at(FaultPoint::Replay)?;
        index.make_room()?;
        let known = index.known();
        let entries = read(connection, key, known, setup.replay_rows)?;
        // Sequences have no gaps. If a row is missing, a repeat of its event would not be recognized as a duplicate and
        // would be stored again.
        let sequences = || entries.iter().map(|(_, entry)| entry.sequence);
        if entries.is_empty() || !sequences().eq((known + 1..).take(entries.len())) {
            let what = format!("events are missing after sequence {known}");
            return Err(StoreError::Foreign(what));
        }
        let last = known + i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let seal = index.fills_up(entries.len()).then(|| Seal::new(last));
        if let Some(seal) = seal {
            seal.register(connection)?;
        }
        index.enter_read(entries.into_iter().collect(), last, seal);
        if last - logged >= LOG_EVERY {
            logged = last;
            info!(
                events = last,
                of = last_event,
                "reading events into the dedup index"
            );
        }
    }
    if logged > first {
        info!(events = last_event - first, "the dedup index is complete");
    }
    Ok(())
}

fn read(
    connection: &Connection,
    key: &Key,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(u128, Entry)>> {
    let mut statement = connection.prepare_cached(
        "SELECT e.sequence, t.name, e.event_id, iif(e.timestamp_filled, '', e.timestamp), e.source, e.payload \
         FROM events e LEFT JOIN topics t ON t.id = e.topic_id \
         WHERE e.sequence > ?1 ORDER BY e.sequence LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, limit])?;
    let mut entries = Vec::with_capacity(limit);
    while let Some(row) = rows.next()? {
        let fingerprint = key.fingerprint(&Fields::of_row(row, 1)?);
        let entry = Entry::new(row.get(0)?, fingerprint.content);
        entries.push((fingerprint.identity, entry));
    }
    Ok(entries)
}
