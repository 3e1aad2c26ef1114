//! Copies a store from a data directory to a database.
//!
//! Rows are read in chunks of bounded size. Each chunk is written in one transaction together with how far the copy is, so that a copy
//! that ended at any moment continues where it was. The store in the directory does not change meanwhile: its lock is held, and if it has
//! changed between two runs, the copy begins again. No aggregator uses the database before all rows have been read back and compared.

pub mod lives;
pub mod minutes;
pub mod rows;
#[cfg(test)]
mod tests;

use std::path::Path;

use tokio::{sync::mpsc, task::spawn_blocking};

use self::rows::{Part, Rows, Sums};
use super::{
    Address, StoreError,
    fingerprint::Key,
    postgres::import::{Start, Target},
    sqlite::export::Export,
    verify::Progress,
};

/// What is recorded in the store in the directory, without its rows.
#[derive(Debug, Clone)]
pub(in crate::store) struct Record {
    pub store_id: String,
    pub key: Key,
    pub created_at: i64,
    pub totals: Totals,
    pub lives: lives::Lives,
    pub missing: Vec<Missing>,
    /// Duplicates and rejected arrivals over time.
    pub minutes: Vec<minutes::Minute>,
    /// Rejected arrivals and conflicts that are marked as seen.
    pub seen: (Marked, Marked),
    /// Topics that are counted over time, and rows of repeated events.
    pub counted_topics: u64,
    pub repeats: u64,
    pub left: Left,
    /// Differs if the store has changed.
    pub mark: u128,
}

/// The counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Totals {
    pub received: u64,
    pub unique: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub rejected_bytes: u64,
    pub rejected_evicted: u64,
    pub conflicts: u64,
    pub conflicts_bytes: u64,
    pub conflicts_evicted: u64,
    pub redelivered: u64,
    pub topics: u64,
    pub processed_at: i64,
}

/// A range of sequences that the stream lost before they were applied. The life is numbered as in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Missing {
    pub life: i64,
    pub first: u64,
    pub last: u64,
    pub noticed_at: i64,
    pub acknowledged_at: Option<i64>,
}

/// What is marked as seen of rows kept for review.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Marked {
    /// How many.
    pub number: u64,
    /// The last row that is kept, is marked, and precedes every one that is not, in the order of the stream: the sum of its message's
    /// sequence and base, and its position.
    pub up_to: Option<(i64, u64)>,
}

/// What the store in the directory does not have, so that the copy cannot have it either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// When it began to count over time, in microseconds since 1970, if not from the first event on.
    pub counted_since: Option<i64>,
    /// Duplicates of which it is not recorded which events they repeat.
    pub repeats: u64,
}

/// A complete copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Events.
    pub events: u64,
    /// Topics.
    pub topics: u64,
    /// Rejected arrivals.
    pub rejected: u64,
    /// Conflicts.
    pub conflicts: u64,
    /// The stream that it last consumed, and the sequence up to which everything is applied.
    pub applied: Option<(String, u64)>,
    /// What the store did not have.
    pub left: Left,
    /// How it came about.
    pub how: How,
}

/// How a copy came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// In one run.
    Whole,
    /// It continued an earlier run.
    Continued,
    /// The store had changed after an earlier run, so it began again.
    Again,
    /// It was complete before.
    Before,
}

/// Why a store was not copied. The database is not used by an aggregator then; the next run continues.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store in the directory cannot be read.
    #[error("the store in the directory cannot be read: {0}")]
    Source(#[source] StoreError),
    /// Its rows are not what it has recorded.
    #[error(
        "the store in the directory is damaged: {0}; aggregator verify --data-dir names what differs"
    )]
    Damaged(String),
    /// The database cannot be used.
    #[error("{0}")]
    Target(#[source] StoreError),
    /// The database has another store.
    #[error(
        "the database already has {0}; nothing was changed: name an empty one, such as a new one made with createdb"
    )]
    NotEmpty(String),
    /// Aggregators use the database.
    #[error("aggregators use the database, or did within the last minute: {0}; stop them first")]
    InUse(i64),
    /// The complete copy, or the directory, has been used since.
    #[error(
        "the database already has a copy of this store, complete since {0}, and the copy or the store in the directory has changed since; nothing was changed"
    )]
    Diverged(String),
    /// Another process writes to the same copy.
    #[error("another process copies to the same database; let it end, or stop it")]
    Concurrent,
    /// What was read back differs.
    #[error(
        "the copy is not what was copied: {0}; no aggregator uses it. Copy to another empty database, and check the server's disk and memory"
    )]
    Differs(String),
    /// The rest is left to another run.
    #[cfg(test)]
    #[error("stopped by a test")]
    Stopped,
}

/// The size of a chunk, and where a test stops.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct ChunkLimits {
    /// The most rows of one.
    pub rows: usize,
    /// A chunk ends with the row with which it has this many bytes.
    pub bytes: usize,
    /// Ends the run after this many chunks.
    #[cfg(test)]
    pub stop_after: u64,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            rows: 10_000,
            bytes: 4 * 1024 * 1024,
            #[cfg(test)]
            stop_after: u64::MAX,
        }
    }
}

/// Rows that follow each other in the directory.
#[derive(Debug)]
pub(in crate::store) struct Chunk {
    pub rows: Rows,
    /// The numbers in the directory of the row before it and of its last row.
    pub after: i64,
    pub last: i64,
}

/// Copies the store in `directory`, which no process may use meanwhile, to the database at an address, and reads it back.
///
/// # Errors
/// [`CopyError`].
pub async fn copy(
    directory: &Path,
    address: &Address,
    now: i64,
    progress: &dyn Progress,
) -> Result<Copied, CopyError> {
    copy_in(directory, address, now, progress, ChunkLimits::default()).await
}

async fn copy_in(
    directory: &Path,
    address: &Address,
    now: i64,
    progress: &dyn Progress,
    limits: ChunkLimits,
) -> Result<Copied, CopyError> {
    progress.begins("reading what is recorded");
    let directory = directory.to_owned();
    let opening = blocking(move || Export::open(&directory)).await?;
    let (mut export, record) = opening.map_err(CopyError::Source)?;
    progress.begins("preparing the database");
    let (target, start) = Target::open(address, &record, now).await?;
    let mut copied = copied(&record);
    copied.how = match start {
        Start::New => How::Whole,
        Start::Continued => How::Continued,
        Start::Again => How::Again,
        Start::Complete => {
            copied.how = How::Before;
            return Ok(copied);
        }
    };
    let (mut written, mut sums) = (0, [Sums::default(); Part::ALL.len()]);
    for (part, sums) in Part::ALL.into_iter().zip(&mut sums) {
        let of = rows_of(&record, part);
        export = copy_part(part, export, &target, limits, &mut written, &|done| {
            progress.at(copying(part), done, of);
        })
        .await?;
        *sums = target.progress(part).await?.1;
        if sums.rows != of {
            return Err(CopyError::Damaged(format!(
                "{}: {of} are recorded, {} were read",
                part.name(),
                sums.rows
            )));
        }
    }
    drop(export);
    let [events, topics, ..] = &sums;
    if events.digests != topics.digests {
        return Err(CopyError::Damaged(
            "its events do not match the digests of its topics".to_owned(),
        ));
    }
    target.count(&record).await?;
    for (part, expected) in Part::ALL.into_iter().zip(sums) {
        let report = |done| progress.at(comparing(part), done, expected.rows);
        let found = target.read_back(part, &report).await?;
        if found != expected {
            return Err(CopyError::Differs(format!(
                "{}: {} rows were copied, {} read back{}",
                part.name(),
                expected.rows,
                found.rows,
                if found.rows == expected.rows {
                    ", with another content"
                } else {
                    ""
                }
            )));
        }
    }
    progress.begins("comparing the counts");
    target.check_counts(&record).await?;
    target.complete(now).await?;
    Ok(copied)
}

/// Copies the rest of a part. One chunk is read while the one before it is written.
async fn copy_part(
    part: Part,
    export: Export,
    target: &Target,
    limits: ChunkLimits,
    written: &mut u64,
    report: &(dyn Fn(u64) + Sync),
) -> Result<Export, CopyError> {
    let (mut after, mut done) = target.progress(part).await?;
    report(done.rows);
    let (sender, mut receiver) = mpsc::channel(1);
    let reading = spawn_blocking(move || {
        while let Some(chunk) = export.chunk(part, after, limits)? {
            after = chunk.last;
            if sender.blocking_send(chunk).is_err() {
                // Writing failed.
                break;
            }
        }
        Ok(export)
    });
    while let Some(chunk) = receiver.recv().await {
        #[cfg(test)]
        if *written >= limits.stop_after {
            return Err(CopyError::Stopped);
        }
        done.add(target.write(part, &chunk).await?);
        *written += 1;
        report(done.rows);
    }
    let read = reading.await.map_err(|_| interrupted())?;
    read.map_err(CopyError::Source)
}

/// The rows of a part, as they are recorded.
fn rows_of(record: &Record, part: Part) -> u64 {
    let totals = &record.totals;
    match part {
        Part::Events => totals.unique,
        Part::Topics => totals.topics,
        Part::Rejected => totals.rejected.saturating_sub(totals.rejected_evicted),
        Part::Conflicts => totals.conflicts.saturating_sub(totals.conflicts_evicted),
        Part::OverTime => record.counted_topics,
        Part::Repeats => record.repeats,
    }
}

fn copied(record: &Record) -> Copied {
    let current = record.lives.all.last();
    Copied {
        events: rows_of(record, Part::Events),
        topics: rows_of(record, Part::Topics),
        rejected: rows_of(record, Part::Rejected),
        conflicts: rows_of(record, Part::Conflicts),
        applied: current.map(|last| (last.life.stream.clone(), last.life.applied.floor())),
        left: record.left,
        how: How::Whole,
    }
}

fn copying(part: Part) -> &'static str {
    match part {
        Part::Events => "events copied",
        Part::Topics => "topics copied",
        Part::Rejected => "rejected arrivals copied",
        Part::Conflicts => "conflicts copied",
        Part::OverTime => "topics copied over time",
        Part::Repeats => "batches with duplicates copied",
    }
}

fn comparing(part: Part) -> &'static str {
    match part {
        Part::Events => "events compared",
        Part::Topics => "topics compared",
        Part::Rejected => "rejected arrivals compared",
        Part::Conflicts => "conflicts compared",
        Part::OverTime => "topics compared over time",
        Part::Repeats => "batches with duplicates compared",
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CopyError> {
    spawn_blocking(work).await.map_err(|_| interrupted())
}

/// A thread that reads has panicked.
fn interrupted() -> CopyError {
    CopyError::Source(StoreError::Stopped)
}
