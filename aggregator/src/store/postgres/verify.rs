//! Verification: recounts from the rows everything that the store has recorded. It changes nothing.
//!
//! # Why it is exact while aggregators write
//!
//! The record is read in one transaction of one snapshot (`REPEATABLE READ`): counters, topics, lives of the stream with their applied
//! messages, and the rows kept for review. A batch changes all of these and its events in one transaction, so the snapshot has
//! all of a batch or nothing of it.
//!
//! Events never change. Which of them the snapshot has follows from their places: those of messages that it records as applied.
//! So they are read later in short statements, each with its own snapshot, and those of other messages are left out. One snapshot for
//! all events would keep the server from removing the old versions of the counters, which each batch changes.
//!
//! What was left out must be of messages that are applied when the last event has been read; otherwise it belongs to none.
//!
//! # Memory
//!
//! Topics and minutes are compared in memory. If they do not fit into [`BUDGET`], the events are read several times, each time for a
//! part of the topics and minutes, with a record of its own.

mod counts;
mod identities;
mod keys;
mod lives;
mod marks;
mod over_time;
mod record;
mod repeats;
mod retained;
mod review;
mod scan;
mod share;

use deadpool_postgres::Client;

pub use self::retained::{Retained, nothing_applied};
use self::{record::Record, scan::Scan, share::Share};
use super::{
    connect::{Address, Connection, Pool},
    schema::{self, Identity},
};
use crate::store::{
    StoreError,
    verify::{Check, Progress, Report, topics::TopicChecks},
};

/// Bytes of topics and minutes that are compared at a time.
const BUDGET: u64 = if cfg!(test) { 300 } else { 64 * 1024 * 1024 };

/// A statement may take this long: a part of the topics is added up, or a page of large events is sent to a slow reader.
const SESSION: &str = "SET statement_timeout = '1h'";

/// Verifies the store in a database, while aggregators use it or not.
///
/// # Errors
/// [`StoreError`] if there is no store, its tables have another version, or the database cannot be read.
pub async fn verify(address: &Address, progress: &dyn Progress) -> Result<Report, StoreError> {
    let pool = Pool::of(address);
    let client = connection(&pool).await?;
    let identity = opened(&client).await?;
    let shares = share::shares(&client, BUDGET).await?;
    drop(client);
    let mut report = Report::default();
    let mut topics = TopicChecks::new();
    let mut over_time = Check::new("counts over time");
    let mut repeated = Check::new("duplicates, by event");
    let mut of_events = Vec::new();
    for share in Share::all(shares) {
        progress.begins("reading what is recorded");
        let mut record = Record::read(&pool, &identity.key, share).await?;
        if share.is_first() {
            let client = connection(&pool).await?;
            report.add(keys::check(&client).await?);
            counts::check(&record, &mut report);
            report.add(std::mem::replace(
                &mut record.rejected,
                Check::new("rejected"),
            ));
            report.add(std::mem::replace(
                &mut record.conflicts,
                Check::new("conflicts"),
            ));
            report.add(std::mem::replace(&mut record.marks, Check::new("marks")));
            record.lives.check(&mut report);
            counts::check_repeats(&record, &mut repeated);
            let duplicates = record.counts.duplicates;
            repeats::check(&pool, &record.lives, &mut repeated, duplicates, progress).await?;
            let (recorded, found) = record.over_time.topics;
            if recorded != found {
                over_time.differs(|| {
                    format!("{recorded} topics are recorded as counted over time, found {found}")
                });
            }
        }
        let Record {
            over_time: of_topics,
            topics: recorded,
            ..
        } = &record;
        of_topics.check_topics(recorded, &mut over_time, &mut repeated);
        let unique = record.counts.unique;
        let scan = Scan::new(&identity.key, record, share);
        let scanned = scan.run(&pool, progress, (share.nth, shares)).await?;
        scanned.compare(&mut topics, &mut over_time);
        if share.is_first() {
            of_events = scanned.checks;
            of_events.push(identities::check(&pool, (scanned.rows, unique), progress).await?);
        }
    }
    let mut of_events = of_events.into_iter();
    report.add(over_time);
    report.add(repeated);
    report.checks.extend(of_events.next());
    let (unique, digests) = topics.finish();
    report.add(unique);
    report.add(digests);
    report.checks.extend(of_events);
    Ok(report)
}

/// A connection whose statements may take longer than those of an aggregator.
async fn connection(pool: &Pool) -> Result<Connection, StoreError> {
    let client = pool.get().await?;
    client.batch_execute(SESSION).await?;
    Ok(client)
}

/// Reads which store is in the database, if this program can verify it.
async fn opened(client: &Client) -> Result<Identity, StoreError> {
    let none = || {
        StoreError::Foreign(
            "there is no store in it; the first aggregator that is started with it, or aggregator store init, makes one".to_owned(),
        )
    };
    let found = schema::version(client).await?.ok_or_else(none)?;
    if found > schema::VERSION {
        return Err(StoreError::Newer {
            found,
            known: schema::VERSION,
        });
    }
    if found == 0 {
        return Err(none());
    }
    if found < schema::VERSION {
        let known = schema::VERSION;
        return Err(StoreError::Foreign(format!(
            "it has schema version {found}, and this program verifies version {known}; aggregator store init brings it there"
        )));
    }
    schema::stored_identity(client).await?.ok_or_else(none)
}
