//! The run of one contender, in a separate process, so that memory and allocator are not shared.
//!
//! It prints its figures on standard output, one JSON document per line.

mod database;

use std::{ops::Range, path::Path, time::Instant};

use aggregator::store;
use anyhow::Context;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::{
    feed::{Batch, Feed},
    intake::{self, now_micros},
    memory,
    meter::{Commits, Meter, Tenth},
    rival::{Dedup, Rival},
    settings::{Contender, Settings},
    traffic::{Recipe, Traffic},
};

/// A line of a run's output.
#[derive(Debug, Serialize, Deserialize)]
pub enum Line {
    /// A tenth has ended.
    Tenth(Tenth),
    /// The run has ended.
    End(End),
}

/// The totals of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct End {
    /// The contender's counts.
    pub counted: Counts,
    /// The traffic's counts.
    pub expected: Counts,
    /// Its commits.
    pub commits: Commits,
    /// The peak memory of the process, if the system reports it.
    pub peak_resident_bytes: Option<u64>,
    /// How long the store takes to open with all events.
    pub start_ms: Option<f64>,
}

/// The counts of a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events stored.
    pub unique_processed: u64,
    /// Events that were repeated.
    pub duplicate_dropped: u64,
    /// Rows of events, counted in the table.
    pub rows: u64,
}

/// Runs a contender.
pub async fn run(contender: Contender, settings: &Settings) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new()
        .prefix("growth-")
        .tempdir_in(&settings.dir)
        .context("making a directory for the data")?;
    let directory = directory.path();
    let events = settings.events_for(contender);
    let feed = || {
        let traffic = Traffic::new(settings.recipe());
        Feed::start(traffic, events, settings.batch_events)
    };
    let mut account = Account {
        meter: Meter::start(directory, events),
        expected: Counts::default(),
        start_ms: None,
    };
    let counted = match contender {
        Contender::Store => in_store(directory, settings, &mut account).await?,
        Contender::Database => database::run(feed(), settings, &mut account).await?,
        Contender::AppendOnly | Contender::UniqueIndex => {
            let dedup = match contender {
                Contender::UniqueIndex => Dedup::UniqueIndex,
                _ => Dedup::None,
            };
            let mut rival = Rival::new(directory, dedup)?;
            in_turn(feed(), &mut account, |batch| {
                Ok(rival.append(batch, now_micros())?)
            })
            .await?;
            let (unique_processed, duplicate_dropped, rows) = rival.counts()?;
            Counts {
                unique_processed,
                duplicate_dropped,
                rows,
            }
        }
        Contender::Generator => {
            in_turn(feed(), &mut account, |_| Ok(())).await?;
            account.expected
        }
    };
    print(&Line::End(End {
        counted,
        expected: account.expected,
        commits: account.meter.commits(),
        peak_resident_bytes: memory::peak(),
        start_ms: account.start_ms,
    }))
}

/// The measurements, and the expected counts of what was appended.
struct Account {
    meter: Meter,
    expected: Counts,
    start_ms: Option<f64>,
}

impl Account {
    fn stored(&mut self, batch: &Batch, took: Range<Instant>) -> anyhow::Result<()> {
        let duplicates = batch.duplicates();
        self.expected.unique_processed += batch.events - duplicates;
        self.expected.duplicate_dropped += duplicates;
        self.expected.rows = self.expected.unique_processed;
        match self.meter.stored(batch.events, took)? {
            Some(tenth) => print(&Line::Tenth(tenth)),
            None => Ok(()),
        }
    }
}

async fn in_store(
    directory: &Path,
    settings: &Settings,
    account: &mut Account,
) -> anyhow::Result<Counts> {
    let events = settings.events_for(Contender::Store);
    let feed = Feed::start(
        Traffic::new(settings.recipe()),
        events,
        settings.batch_events,
    );
    let (writer, ended, reader) = store::open(directory, now_micros(), settings.limits())?;
    intake::meet(&writer).await?;
    let mut recorded = Ok(());
    intake::append_all(&writer, feed, |batch, took| {
        if recorded.is_ok() {
            recorded = account.stored(batch, took);
        }
    })
    .await?;
    recorded?;
    if settings.conflicts > 0 {
        append_conflicts(&writer, events, settings).await?;
    }
    let stats = reader.stats(0).await?;
    drop((writer, reader));
    ended.wait().await?;
    account.start_ms = Some(start_again(directory, settings).await?);
    let file = Connection::open(directory.join(store::FILE))?;
    let rows = file.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
    anyhow::ensure!(
        stats.received == stats.unique_processed + stats.duplicate_dropped
            && stats.conflicts == u64::from(settings.conflicts),
        "the store rejected events, or its number of conflicts is wrong: {stats:?}"
    );
    Ok(Counts {
        unique_processed: stats.unique_processed,
        duplicate_dropped: stats.duplicate_dropped - stats.conflicts,
        rows,
    })
}

/// Opens the store again as an aggregator does after an orderly end, and closes it; returns how long the opening takes.
async fn start_again(directory: &Path, settings: &Settings) -> anyhow::Result<f64> {
    let began = Instant::now();
    let (writer, ended, reader) = store::open(directory, now_micros(), settings.limits())?;
    let took = began.elapsed();
    drop((writer, reader));
    ended.wait().await?;
    Ok(took.as_secs_f64() * 1e3)
}

/// Appends only conflicts to a store with all events of the traffic, and prints the rate.
async fn append_conflicts(
    writer: &store::Writer,
    events: u64,
    settings: &Settings,
) -> anyhow::Result<()> {
    let mut traffic = Traffic::new(Recipe {
        conflicts_after: Some(events),
        ..settings.recipe()
    });
    let mut left = events;
    while left > 0 {
        left -= traffic.message(left).repeats.len() as u64;
    }
    if settings.cold {
        std::process::Command::new("sync").status()?;
        std::fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the page cache")?;
    }
    let conflicts = Feed::start(
        traffic,
        u64::from(settings.conflicts),
        settings.batch_events,
    );
    let began = Instant::now();
    intake::append_all(writer, conflicts, |_, _| ()).await?;
    let seconds = began.elapsed().as_secs_f64();
    let rate = f64::from(settings.conflicts) / seconds;
    eprintln!("conflicts: {rate:.0} per second over {seconds:.1} s");
    Ok(())
}

async fn in_turn(
    mut feed: Feed,
    account: &mut Account,
    mut append: impl FnMut(&Batch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    while let Some(batch) = feed.next().await {
        let submitted = Instant::now();
        append(&batch)?;
        account.stored(&batch, submitted..Instant::now())?;
    }
    Ok(())
}

fn print(line: &Line) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}
