//! The meter: measures each tenth of a contender's run.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aggregator::store::FILE;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::memory;

/// One tenth of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tenth {
    /// Events by its end, duplicates included.
    pub events: u64,
    /// Events per second in this tenth, duplicates included.
    pub rate: u32,
    /// Memory of the process at its end, if the system reports it.
    pub resident_bytes: Option<u64>,
    /// The longest commit in this tenth: from submitting a batch, or from the previous commit if that is
    /// later, until the batch is on disk.
    pub longest_commit_ms: f64,
    /// The database and its WAL at its end.
    pub database_bytes: u64,
    /// The other files: the store's dedup index.
    pub index_bytes: u64,
}

/// The commits of a whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Commits {
    /// Their number.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub longest_ms: f64,
}

/// Measures one run.
#[derive(Debug)]
pub struct Meter {
    directory: PathBuf,
    /// Events of the whole run.
    total: u64,
    tenths: u64,
    events: u64,
    /// When the current tenth began, and the number of events by then.
    began: (Instant, u64),
    /// When the last commit was done.
    last_done: Instant,
    longest: Duration,
    /// In microseconds.
    commits: Histogram<u64>,
}

impl Meter {
    /// Begins to measure a run of `total` events.
    pub fn start(directory: &Path, total: u64) -> Self {
        let now = Instant::now();
        Self {
            directory: directory.to_owned(),
            total,
            tenths: 0,
            events: 0,
            began: (now, 0),
            last_done: now,
            longest: Duration::ZERO,
            commits: Histogram::new(3).expect("three digits are few enough"),
        }
    }

    /// Records a stored batch of `events` events: when it was submitted, and when it was on disk. Returns the tenth that it
    /// ends.
    pub fn stored(&mut self, events: u64, took: Range<Instant>) -> io::Result<Option<Tenth>> {
        let done = took.end;
        let commit = done - took.start.max(self.last_done);
        self.last_done = done;
        self.longest = self.longest.max(commit);
        self.commits += u64::try_from(commit.as_micros()).unwrap_or(u64::MAX);
        self.events += events;
        if self.events * 10 < self.total * (self.tenths + 1) {
            return Ok(None);
        }
        self.tenths += 1;
        let (began, before) = self.began;
        self.began = (done, self.events);
        Ok(Some(Tenth {
            events: self.events,
            rate: rate(self.events - before, done - began),
            resident_bytes: memory::resident(),
            longest_commit_ms: std::mem::take(&mut self.longest).as_secs_f64() * 1e3,
            database_bytes: bytes_below(&self.directory, true)?,
            index_bytes: bytes_below(&self.directory, false)?,
        }))
    }

    /// The commits of the whole run.
    pub fn commits(&self) -> Commits {
        let ms = |micros| Duration::from_micros(micros).as_secs_f64() * 1e3;
        Commits {
            count: self.commits.len(),
            p50_ms: ms(self.commits.value_at_quantile(0.5)),
            p99_ms: ms(self.commits.value_at_quantile(0.99)),
            longest_ms: ms(self.commits.max()),
        }
    }
}

fn rate(events: u64, took: Duration) -> u32 {
    let rate = u128::from(events) * 1_000_000_000 / took.as_nanos().max(1);
    u32::try_from(rate).unwrap_or(u32::MAX)
}

/// The bytes of the files below a directory: those of the database, or the others. Files may appear and disappear meanwhile.
fn bytes_below(directory: &Path, of_database: bool) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_database = entry.file_name().to_string_lossy().starts_with(FILE);
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && !of_database => bytes_below(&entry.path(), false)?,
            Ok(metadata) if metadata.is_file() && is_database == of_database => metadata.len(),
            Ok(_) => 0,
            Err(err) if err.kind() == io::ErrorKind::NotFound => 0,
            Err(err) => return Err(err),
        };
    }
    Ok(bytes)
}
