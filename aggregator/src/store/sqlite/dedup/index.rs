//! The dedup index: maps stored identities to sequences, at a cost that does not depend on their number.
//!
//! Recent entries are in a hash table in memory. A full table is sealed: a thread sorts it and adds it to an LSM tree in
//! one step, while the writer continues with a new table; another thread merges. All of it is derived from the
//! event rows. SQLite remains the only source of truth: each seal is registered there before it is added to the tree, in the transaction
//! of the last event in it, and [`recovery`] trusts no tree whose newest seal is not registered in this store.

mod audit;
mod faults;
mod memory;
mod recovery;
mod sealed;
mod table;
mod threads;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
};

use rusqlite::{Connection, params};

pub(in crate::store) use self::{
    audit::{Audit, Found},
    faults::{FaultPoint, Faults},
    memory::IndexReader,
    recovery::{discard, recover},
    sealed::Seal,
    table::{Entry, Table},
};
use self::{
    memory::{Memory, Recent},
    sealed::Sealed,
    threads::Threads,
};
use crate::{
    memory::OfIndex,
    store::{opening::Opening, query::FilterSizes, sqlite::file::files::Identity},
};

/// The folder's name in the data directory.
pub const FOLDER: &str = "index";

/// Why the index cannot be used. It is derived from the event rows, so it can always be rebuilt from them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// Its files cannot be read or written.
    #[error("{}", message(.0))]
    Tree(Arc<lsm_tree::Error>),
    /// Its files made the library panic.
    #[error("its files are damaged")]
    Panicked,
    /// Its folder is not the one that it was opened in.
    #[error("its folder was deleted or replaced")]
    Replaced,
    /// It contradicts the event rows.
    #[error("it does not agree with the event rows: {0}")]
    Wrong(&'static str),
    /// The system cannot start its threads, or its folder cannot be removed.
    #[error(transparent)]
    System(Arc<std::io::Error>),
    /// It is being rebuilt.
    #[error("it is being rebuilt; try again later")]
    Away,
    /// Injected by a test.
    #[cfg(test)]
    #[error("an injected fault")]
    Fault,
}

/// The options of an index.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Setup<'a> {
    /// Its memory.
    pub memory: OfIndex,
    /// Rows per read when events are read into it again.
    pub replay_rows: usize,
    /// Receives the progress of that.
    pub opening: &'a Opening,
    /// Faults that tests inject into the threads.
    pub faults: &'a Faults,
}

/// The version of the index that a lookup used: the opening, and the sequence up to which it had all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct IndexVersion {
    index: uuid::Uuid,
    known: i64,
}

/// The index of one store. The writer changes it, after COMMIT; others look identities up.
pub(in crate::store) struct Index {
    /// Identifies this opening of the index.
    id: uuid::Uuid,
    shared: Arc<Shared>,
    threads: Threads,
    memory: OfIndex,
    folder: (PathBuf, Identity),
}

/// The data that the threads share.
struct Shared {
    sealed: Sealed,
    /// Locked before `memory` if both are locked.
    recent: RwLock<Recent>,
    memory: Mutex<Memory>,
    /// Notified of every change of `memory`.
    changed: Condvar,
    faults: Faults,
}

impl Seal {
    /// A seal with a unique id.
    pub fn new(reach: i64) -> Self {
        Self {
            id: uuid::Uuid::new_v4().into_bytes(),
            reach,
        }
    }

    /// Registers the seal in the store, in the transaction of the last event in it or a later one.
    pub fn register(self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("INSERT INTO seals (id, reach) VALUES (?1, ?2)")?
            .execute(params![self.id, self.reach])?;
        Ok(())
    }
}

impl Index {
    /// Opens the tree in `folder`, or creates it, with nothing in memory.
    fn open(folder: &Path, setup: &Setup<'_>) -> Result<(Self, Option<Seal>), IndexError> {
        let (sealed, seal) = Sealed::open(folder, setup.memory)?;
        let reach = seal.map_or(0, |seal| seal.reach);
        let shared = Arc::new(Shared {
            sealed,
            recent: RwLock::new(Recent::new(setup.memory.table_entries, reach)),
            memory: Mutex::new(Memory::new(reach)),
            changed: Condvar::new(),
            faults: setup.faults.clone(),
        });
        let threads = Threads::start(&shared)?;
        let index = Self {
            id: uuid::Uuid::new_v4(),
            shared,
            threads,
            memory: setup.memory,
            folder: (folder.to_owned(), Identity::of(folder)?),
        };
        Ok((index, seal))
    }

    /// Checks that its folder is still the one that was opened. In another one the tree would read files with the same names as
    /// its own.
    fn check_folder(&self) -> Result<(), IndexError> {
        let (folder, opened) = &self.folder;
        match Identity::of(folder) {
            Ok(found) if found != *opened => Err(IndexError::Replaced),
            Err(err) if err.kind() == ErrorKind::NotFound => Err(IndexError::Replaced),
            _ => Ok(()),
        }
    }

    /// Whether its threads have not failed.
    pub fn is_sound(&self) -> bool {
        self.shared.memory().failure.is_none()
    }

    /// The sizes of the tree's filters.
    pub fn filter_sizes(&self) -> FilterSizes {
        self.shared.sealed.filter_sizes()
    }

    /// The sequence up to which every event is in the index.
    pub fn known(&self) -> i64 {
        self.shared.memory().known
    }

    /// Whether no full table waits to be sealed.
    #[cfg(test)]
    pub fn is_settled(&self) -> bool {
        self.shared.memory().sealing.is_empty()
    }

    /// Whether nothing is sealed or merged either.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let memory = self.shared.memory();
        memory.sealing.is_empty() && memory.merged == Some(memory.sealed)
    }

    /// Looks an identity up.
    pub fn find(&self, identity: u128) -> Result<Option<Entry>, IndexError> {
        let found = self.reader().find(&[identity])?;
        Ok(found.into_iter().next().flatten())
    }

    /// A reader of all entries that were entered until now.
    pub fn reader(&self) -> IndexReader<'_> {
        self.absorb();
        IndexReader::new(self)
    }

    /// Whether a lookup used this opening of the index.
    pub fn is_source_of(&self, version: IndexVersion) -> bool {
        version.index == self.id
    }

    /// The entries that were entered after a lookup, or `None` if its results must not be used: it used another opening of
    /// the index, which may have been closed because of damage, or is older than the entries remembered here.
    pub fn entered_after(&self, version: IndexVersion) -> Option<Vec<Arc<Table>>> {
        self.is_source_of(version)
            .then(|| self.shared.memory().entered_after(version.known))?
    }

    /// Whether `more` entries fill the table, so that they must be entered with a seal.
    pub fn fills_up(&self, more: usize) -> bool {
        self.shared.memory().unsealed + more >= self.memory.table_entries
    }

    /// Waits while full tables take all the memory that is allowed for them.
    ///
    /// # Errors
    /// If sealing or merging failed: the index must be opened again.
    pub fn make_room(&self) -> Result<(), IndexError> {
        let mut memory = self.shared.memory();
        loop {
            if let Some(failure) = &memory.failure {
                return Err(failure.clone());
            }
            if memory.sealing.len() < self.memory.sealing {
                return Ok(());
            }
            memory = self.shared.wait(memory);
        }
    }

    /// Enters the entries of committed events, up to the sequence `last`. With a `seal`, which is registered, all
    /// entries since the last one are sealed, which waits for running lookups.
    pub fn enter(&self, entries: Table, last: i64, seal: Option<Seal>) {
        self.shared.memory().enter(entries, last, seal);
        if seal.is_some() {
            self.absorb();
        }
    }
}

impl Drop for Index {
    /// The folder may be opened again only after this: two trees in one folder would remove each other's files.
    fn drop(&mut self) {
        self.threads.end(&self.shared);
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, memory: MutexGuard<'a, Memory>) -> MutexGuard<'a, Memory> {
        let waited = self.changed.wait(memory);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl IndexError {
    /// Whether the files are damaged, rather than the disk full or unavailable.
    pub(in crate::store) fn is_damage(&self) -> bool {
        match self {
            Self::Tree(err) => match &**err {
                lsm_tree::Error::Io(err) => !is_passing(err),
                _ => true,
            },
            Self::Panicked | Self::Replaced | Self::Wrong(_) => true,
            Self::System(_) | Self::Away => false,
            #[cfg(test)]
            Self::Fault => false,
        }
    }
}

/// The tree's error, or the system's if the tree only passes it on.
fn message(err: &lsm_tree::Error) -> String {
    if let lsm_tree::Error::Io(err) = err {
        return err.to_string();
    }
    err.to_string()
}

/// Whether an error is due to the system's state and not the file's: no space, no access, no descriptors.
fn is_passing(err: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
        OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    const TOO_MANY_OPEN_FILES: [i32; 2] = [23, 24];
    let kinds = [
        OutOfMemory,
        PermissionDenied,
        QuotaExceeded,
        ReadOnlyFilesystem,
        StorageFull,
    ];
    let number = err.raw_os_error();
    kinds.contains(&err.kind()) || number.is_some_and(|n| TOO_MANY_OPEN_FILES.contains(&n))
}

impl From<lsm_tree::Error> for IndexError {
    fn from(err: lsm_tree::Error) -> Self {
        Self::Tree(Arc::new(err))
    }
}

impl From<std::io::Error> for IndexError {
    fn from(err: std::io::Error) -> Self {
        Self::System(Arc::new(err))
    }
}
