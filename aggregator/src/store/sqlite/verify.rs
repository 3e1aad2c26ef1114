//! Verification: recounts from the rows everything that the store has recorded. It changes nothing.
//!
//! The record is read in one transaction. Rows are only appended, so the events up to the last one of that moment
//! never change afterwards. They are then read in short transactions and must match the record exactly, also while the
//! store is running.

mod applied;
mod balance;
mod fingerprints;
mod history;
mod identities;
mod integrity;
mod repeats;
mod retained;
mod scan;
mod snapshot;
mod temporary;
mod topics;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use shared::stream::StreamState;

use self::{
    fingerprints::{Record, Sorted, Unsorted},
    identities::{INDEX, IndexComparison, Uniqueness},
    retained::bits::Bits,
    scan::EventScan,
    snapshot::Snapshot,
    temporary::TemporaryDirectory,
    topics::Topics,
};
pub use self::{retained::Retained, temporary::TemporaryError};
use super::{
    BUSY_TIMEOUT, FILE, INDEX_FOLDER,
    dedup::index::{Audit, Found, IndexError},
};
use crate::store::{
    StoreError,
    verify::{Check, Progress, Report},
};

/// Which other processes may have the store open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// None, until the verification ends: everything is checked.
    Alone,
    /// A running aggregator. Only one process can open its dedup index, so the index is left out.
    InUse,
    /// None now, but none is locked out: an aggregator that starts may open the dedup index, so the index is left out.
    Unlocked,
}

/// Why a verification cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The temporary files for fingerprints and topics fail.
    #[error(transparent)]
    Temporary(#[from] TemporaryError),
}

impl From<rusqlite::Error> for VerifyError {
    fn from(err: rusqlite::Error) -> Self {
        Self::Store(err.into())
    }
}

impl From<IndexError> for VerifyError {
    fn from(err: IndexError) -> Self {
        Self::Store(err.into())
    }
}

/// A verification of a store whose record has been read.
#[derive(Debug)]
pub struct Verification {
    directory: PathBuf,
    connection: Connection,
    snapshot: Snapshot,
    topics: Topics,
    temporary: TemporaryDirectory,
    /// The stream whose retained messages will be compared, in its state before the snapshot.
    stream: Option<StreamState>,
    access: Access,
    report: Report,
}

impl Verification {
    /// Reads the record of the store in `directory`.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn begin(
        directory: &Path,
        access: Access,
        stream: Option<StreamState>,
    ) -> Result<Self, VerifyError> {
        Self::begin_with(directory, access, stream, topics::CACHED)
    }

    /// As [`Self::begin`], with at most `cached` topics in memory.
    pub(super) fn begin_with(
        directory: &Path,
        access: Access,
        stream: Option<StreamState>,
        cached: usize,
    ) -> Result<Self, VerifyError> {
        let mut connection = open(&directory.join(FILE))?;
        let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
        let temporary = TemporaryDirectory::choose(tmpdir, directory);
        let mut topics = Topics::new(temporary.clone(), cached)?;
        let snapshot = Snapshot::read(&mut connection, &mut topics)?;
        Ok(Self {
            directory: directory.to_owned(),
            connection,
            snapshot,
            topics,
            temporary,
            stream,
            access,
            report: Report::default(),
        })
    }

    /// The store's own id.
    #[must_use]
    pub fn store_id(&self) -> &str {
        &self.snapshot.store_id
    }

    /// Checks that the record adds up and that the rows match it.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub fn run(mut self, progress: &dyn Progress) -> Result<Verified, VerifyError> {
        let mut report = std::mem::take(&mut self.report);
        balance::check(&self.snapshot, &mut self.topics, &mut report)?;
        report.add(history::check(&mut self.connection)?);
        progress.begins("counting the duplicates");
        report.add(repeats::check(&mut self.connection, &self.snapshot));
        report.add(applied::check(&self.snapshot));
        report.add(applied::missing(&self.snapshot));
        let file = self.directory.join(FILE);
        let (whole, counted) = std::thread::scope(|scope| {
            let is_in_use = self.access == Access::InUse;
            let whole = (!is_in_use).then(|| scope.spawn(|| integrity::whole(&file)));
            let counted = count(&mut self, &mut report, progress);
            progress.begins("checking the SQLite file");
            (whole.map(std::thread::ScopedJoinHandle::join), counted)
        });
        let (sorted, candidates) = counted?;
        let integrity = match whole {
            Some(Ok(check)) => check,
            Some(Err(_)) => return Err(StoreError::Stopped.into()),
            None => integrity::without_events(&self.connection),
        };
        report.checks.insert(0, integrity);
        self.report = report;
        Ok(Verified {
            verification: self,
            sorted,
            candidates,
        })
    }
}

/// Recounts the events. Returns what is needed to compare the messages of the stream, if there is one.
fn count(
    verification: &mut Verification,
    report: &mut Report,
    progress: &dyn Progress,
) -> Result<(Option<Sorted>, Bits), VerifyError> {
    let Verification {
        connection,
        snapshot,
        topics,
        temporary,
        stream,
        ..
    } = verification;
    let of = snapshot.counters.unique_processed;
    let mut scan = EventScan::new(snapshot, topics);
    let mut unsorted = Unsorted::new(temporary.clone());
    let mut candidates = Bits::default();
    let incarnations = stream
        .as_ref()
        .map(|stream| (snapshot.incarnations_of(stream), stream.first));
    let mut after = i64::MIN;
    loop {
        let read = scan.read(connection, &mut after, |event| {
            if let Some((incarnations, first)) = &incarnations
                && event.stream_sequence >= *first
                && incarnations.iter().any(|row| row.id == event.incarnation)
            {
                candidates.set(event.sequence);
            }
            unsorted.push(Record {
                identity: event.fingerprint.identity,
                sequence: event.sequence,
                content: event.fingerprint.content,
            })
        });
        match read {
            Ok(true) => progress.at("events read", scan.rows(), of),
            Ok(false) => break,
            Err(VerifyError::Store(StoreError::Sqlite(err))) => {
                scan.read_failed(&err);
                break;
            }
            Err(err) => return Err(err),
        }
    }
    progress.begins("comparing the topics");
    scan.finish(connection, report)?;
    progress.begins("sorting the identities");
    let sorted = identities(verification, unsorted, report, progress)?;
    Ok((sorted, candidates))
}

fn identities(
    verification: &mut Verification,
    unsorted: Unsorted,
    report: &mut Report,
    progress: &dyn Progress,
) -> Result<Option<Sorted>, VerifyError> {
    let Verification {
        connection,
        snapshot,
        topics,
        ..
    } = verification;
    let folder = verification.directory.join(INDEX_FOLDER);
    let left_out = |why: &str| Found::Unusable(why.to_owned());
    let index = match verification.access {
        Access::InUse => left_out("the store is in use, and only one process can open its index"),
        Access::Unlocked if folder.exists() => {
            left_out("the directory has no lock file, so another process could open the index")
        }
        Access::Alone | Access::Unlocked => Audit::open(&folder, connection, snapshot.last_event)?,
    };
    let mut comparison = match &index {
        Found::Usable(audit) => Some(IndexComparison::new(audit)),
        Found::Unusable(_) => None,
    };
    let mut sorted = verification
        .stream
        .as_ref()
        .map(|_| Sorted::new(verification.temporary.clone()))
        .transpose()?;
    let mut uniqueness = Uniqueness::new(connection, topics);
    let mut done = 0;
    unsorted.in_order(|records| {
        for record in records {
            uniqueness.record(*record)?;
            if let Some(comparison) = &mut comparison {
                comparison.record(*record);
            }
        }
        if let Some(sorted) = &mut sorted {
            sorted.extend(records)?;
        }
        done += records.len() as u64;
        progress.at(
            "identities compared",
            done,
            snapshot.counters.unique_processed,
        );
        Ok::<_, VerifyError>(())
    })?;
    report.add(uniqueness.finish());
    let mut index = match (comparison, index) {
        (Some(comparison), _) => comparison.finish(),
        (None, Found::Unusable(why)) => Check::left_out(INDEX, why),
        (None, Found::Usable(_)) => unreachable!("a usable index is always compared"),
    };
    let (far, last) = (snapshot.far_seals, snapshot.last_event);
    if far > 0 {
        index.differs(|| format!("{far} seals of the index reach beyond the last event, {last}"));
    }
    report.add(index);
    Ok(sorted)
}

/// A verification whose rows have been counted.
#[derive(Debug)]
pub struct Verified {
    verification: Verification,
    sorted: Option<Sorted>,
    /// Events that may originate from retained messages.
    candidates: Bits,
}

impl Verified {
    /// The report without a comparison of messages.
    #[must_use]
    pub fn report(self) -> Report {
        self.verification.report
    }
}

/// Opens a connection that changes nothing: not even the WAL, which may contain the latest commits, is checkpointed.
fn open(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}
