//! The verification: everything that the store recorded, counted again from its rows. It changes nothing.
//!
//! What is recorded is read in one transaction. The events up to the last one of that moment never change afterwards,
//! for rows are only appended, so they are then read in short reads and must come to exactly what was recorded, also
//! while the store runs.

mod applied;
mod balance;
mod bits;
mod fingerprints;
mod identities;
mod integrity;
mod place;
mod recount;
mod report;
mod retained;
mod scan;
mod snapshot;
mod topics;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use shared::stream::StreamState;

use self::{
    bits::Bits,
    fingerprints::{Record, Sorted, Unsorted},
    identities::{INDEX, Indexed, Twice},
    place::Place,
    scan::Scan,
    snapshot::Snapshot,
    topics::Topics,
};
pub use self::{
    place::TemporaryError,
    report::{Check, Report, Verdict},
    retained::Retained,
};
use super::{
    BUSY_TIMEOUT, FILE, INDEX_FOLDER,
    dedup::index::{Audit, Found, IndexError},
};
use crate::store::StoreError;

/// Is told how far a verification is.
pub trait Progress: Sync {
    /// So much of a part is done, of so much.
    fn at(&self, part: &'static str, done: u64, of: u64);
}

/// Who else may have the store open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody, until the verification is over: all of it is looked at.
    Alone,
    /// A running aggregator. Its dedup index can be open in one process only, so it is left out.
    InUse,
    /// Nobody now, and nobody is kept out: an aggregator that starts may open the dedup index, so it is left out.
    Unlocked,
}

/// Why a verification cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The fingerprints of the events, or the topics, have no place.
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

/// A store that is verified.
#[derive(Debug)]
pub struct Verification {
    directory: PathBuf,
    connection: Connection,
    snapshot: Snapshot,
    topics: Topics,
    place: Place,
    /// The stream whose retained messages will be compared, as it was before the snapshot.
    stream: Option<StreamState>,
    access: Access,
    report: Report,
}

impl Verification {
    /// Reads what is recorded in the store of `directory`.
    ///
    /// # Errors
    /// As [`VerifyError`] tells.
    pub fn begin(
        directory: &Path,
        access: Access,
        stream: Option<StreamState>,
    ) -> Result<Self, VerifyError> {
        Self::begin_with(directory, access, stream, topics::CACHED)
    }

    /// The same, with at most `cached` topics in memory.
    pub(super) fn begin_with(
        directory: &Path,
        access: Access,
        stream: Option<StreamState>,
        cached: usize,
    ) -> Result<Self, VerifyError> {
        let mut connection = open(&directory.join(FILE))?;
        let tmpdir = std::env::var_os("TMPDIR").map(PathBuf::from);
        let place = Place::choose(tmpdir, directory);
        let mut topics = Topics::new(place.clone(), cached)?;
        let snapshot = Snapshot::read(&mut connection, &mut topics)?;
        Ok(Self {
            directory: directory.to_owned(),
            connection,
            snapshot,
            topics,
            place,
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

    /// Checks that what is recorded adds up, and that the rows come to it.
    ///
    /// # Errors
    /// As [`VerifyError`] tells.
    pub fn run(mut self, progress: &dyn Progress) -> Result<Verified, VerifyError> {
        let mut report = std::mem::take(&mut self.report);
        balance::check(&self.snapshot, &mut self.topics, &mut report)?;
        report.add(applied::check(&self.snapshot));
        report.add(applied::missing(&self.snapshot));
        let file = self.directory.join(FILE);
        let (whole, counted) = std::thread::scope(|scope| {
            let is_in_use = self.access == Access::InUse;
            let whole = (!is_in_use).then(|| scope.spawn(|| integrity::whole(&file)));
            let counted = count(&mut self, &mut report, progress);
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

/// Counts the events anew. With a stream, what comparing its messages needs is returned.
fn count(
    verification: &mut Verification,
    report: &mut Report,
    progress: &dyn Progress,
) -> Result<(Option<Sorted>, Bits), VerifyError> {
    let Verification {
        connection,
        snapshot,
        topics,
        place,
        stream,
        ..
    } = verification;
    let of = snapshot.counters.unique_processed;
    let mut scan = Scan::new(snapshot, topics);
    let mut unsorted = Unsorted::new(place.clone());
    let mut candidates = Bits::default();
    let lives = stream
        .as_ref()
        .map(|stream| (snapshot.lives_of(stream), stream.first));
    let mut after = i64::MIN;
    loop {
        let read = scan.read(connection, &mut after, |seen| {
            if let Some((lives, first)) = &lives
                && seen.stream_sequence >= *first
                && lives.iter().any(|life| life.id == seen.incarnation)
            {
                candidates.set(seen.sequence);
            }
            unsorted.push(Record {
                identity: seen.fingerprint.identity,
                sequence: seen.sequence,
                content: seen.fingerprint.content,
            })
        });
        match read {
            Ok(true) => progress.at("events read", scan.rows(), of),
            Ok(false) => break,
            Err(VerifyError::Store(StoreError::Sqlite(err))) => {
                scan.breaks_off(&err);
                break;
            }
            Err(err) => return Err(err),
        }
    }
    scan.finish(connection, report)?;
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
        Access::InUse => {
            left_out("the store is in use, and its index can be open in one process only")
        }
        Access::Unlocked if folder.exists() => {
            left_out("the directory has no lock file, so nobody is kept from opening the index")
        }
        Access::Alone | Access::Unlocked => Audit::open(&folder, connection, snapshot.last_event)?,
    };
    let mut indexed = match &index {
        Found::Usable(audit) => Some(Indexed::new(audit)),
        Found::Unusable(_) => None,
    };
    let mut sorted = verification
        .stream
        .as_ref()
        .map(|_| Sorted::new(verification.place.clone()))
        .transpose()?;
    let mut twice = Twice::new(connection, topics);
    let mut done = 0;
    unsorted.in_order(|records| {
        for record in records {
            twice.record(*record)?;
            if let Some(indexed) = &mut indexed {
                indexed.record(*record);
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
    report.add(twice.finish());
    let mut index = match (indexed, index) {
        (Some(indexed), _) => indexed.finish(),
        (None, Found::Unusable(why)) => Check::left_out(INDEX, why),
        (None, Found::Usable(_)) => unreachable!("it is looked at where it is usable"),
    };
    let (far, last) = (snapshot.far_seals, snapshot.last_event);
    if far > 0 {
        index.differs(|| {
            format!("{far} seals of the index reach beyond event {last}, the last one")
        });
    }
    report.add(index);
    Ok(sorted)
}

/// A store whose rows are counted.
#[derive(Debug)]
pub struct Verified {
    verification: Verification,
    sorted: Option<Sorted>,
    /// Events that retained messages may be the origin of.
    candidates: Bits,
}

impl Verified {
    /// What was found, where no messages are to be compared.
    #[must_use]
    pub fn report(self) -> Report {
        self.verification.report
    }
}

/// A connection that changes nothing: the WAL, which may hold the latest commits, stays where it is as well.
fn open(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}
