//! The dedup index: which identities are stored, and at which sequence, at the same cost however many there are.
//!
//! Recent entries are in a table in memory. A full table is sealed: a thread sorts it and hands it to an LSM tree in
//! one ingestion, while the writer goes on with a fresh table; another thread merges. All of it is derived from the
//! event rows. SQLite stays the only truth: each seal is registered there before its ingestion, in the transaction
//! of the last event in it, and [`recovery`] trusts no tree whose newest seal this store does not know.

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
    faults::{Faults, Step},
    memory::Looking,
    recovery::{discard, recover},
    sealed::Seal,
    table::{Entry, Table},
};
use self::{
    memory::{Memory, Recent},
    sealed::Sealed,
    threads::Threads,
};
use crate::store::{opening::Opening, sqlite::file::files::Identity};

/// The folder's name in the data directory.
pub const FOLDER: &str = "index";

/// Full tables that may wait for their ingestion, before the writer waits.
const MAX_SEALING: usize = 3;

/// Why the index cannot be used. It is derived from the event rows, so it can always be made anew from them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// Its files cannot be read or written.
    #[error("{}", told(.0))]
    Tree(Arc<lsm_tree::Error>),
    /// Its files hold what nobody thought of.
    #[error("its files are damaged")]
    Panicked,
    /// Its folder is another one than it was opened in.
    #[error("its folder was deleted or replaced")]
    Replaced,
    /// It does not have what the store's rows say.
    #[error("it does not agree with the event rows: {0}")]
    Wrong(&'static str),
    /// The system has no room for its threads, or does not let its folder be removed.
    #[error(transparent)]
    System(Arc<std::io::Error>),
    /// It is away while it is made anew.
    #[error("it is being made anew; ask again later")]
    Away,
    /// A test wants it so.
    #[cfg(test)]
    #[error("a fault that was set")]
    Fault,
}

/// What an index is opened with.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Setup<'a> {
    /// Entries at which a table is sealed.
    pub table_entries: usize,
    /// Rows that are read at once when the index is read again.
    pub replay_rows: usize,
    /// Told how far that has come.
    pub opening: &'a Opening,
    /// What tests do to the threads.
    pub faults: &'a Faults,
}

/// What answers are worth: which index gave them, and all events up to which sequence it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Asked {
    index: uuid::Uuid,
    known: i64,
}

/// The index of one store. The writer changes it, after COMMIT; others look things up.
pub(in crate::store) struct Index {
    /// This opening of it.
    id: uuid::Uuid,
    shared: Arc<Shared>,
    threads: Threads,
    table_entries: usize,
    folder: (PathBuf, Identity),
}

/// What the threads share.
struct Shared {
    sealed: Sealed,
    /// Locked before the memory, where both are.
    recent: RwLock<Recent>,
    memory: Mutex<Memory>,
    /// Told of every change of the memory.
    changed: Condvar,
    faults: Faults,
}

impl Seal {
    /// A seal that no other one is taken for.
    pub fn new(reach: i64) -> Self {
        Self {
            id: uuid::Uuid::new_v4().into_bytes(),
            reach,
        }
    }

    /// Makes it known to the store, in the transaction of the last event in it or a later one.
    pub fn register(self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("INSERT INTO seals (id, reach) VALUES (?1, ?2)")?
            .execute(params![self.id, self.reach])?;
        Ok(())
    }
}

impl Index {
    /// Over the tree that is in `folder` or is made there, with nothing in memory.
    fn open(folder: &Path, setup: &Setup<'_>) -> Result<(Self, Option<Seal>), IndexError> {
        let (sealed, seal) = Sealed::open(folder)?;
        let reach = seal.map_or(0, |seal| seal.reach);
        let shared = Arc::new(Shared {
            sealed,
            recent: RwLock::new(Recent::new(setup.table_entries, reach)),
            memory: Mutex::new(Memory::new(reach)),
            changed: Condvar::new(),
            faults: setup.faults.clone(),
        });
        let threads = Threads::start(&shared)?;
        let index = Self {
            id: uuid::Uuid::new_v4(),
            shared,
            threads,
            table_entries: setup.table_entries,
            folder: (folder.to_owned(), Identity::of(folder)?),
        };
        Ok((index, seal))
    }

    /// Whether its folder is still there. Of another one in its place the tree would read files that have the same names as
    /// its own.
    fn check_folder(&self) -> Result<(), IndexError> {
        let (folder, opened) = &self.folder;
        match Identity::of(folder) {
            Ok(found) if found != *opened => Err(IndexError::Replaced),
            Err(err) if err.kind() == ErrorKind::NotFound => Err(IndexError::Replaced),
            _ => Ok(()),
        }
    }

    /// Whether its threads do their work.
    pub fn is_sound(&self) -> bool {
        self.shared.memory().failure.is_none()
    }

    /// Every event up to this sequence is in the index.
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
        let found = self.looking().find(&[identity])?;
        Ok(found.into_iter().next().flatten())
    }

    /// For looking up many identities, with all entries that have come in until now.
    pub fn looking(&self) -> Looking<'_> {
        self.absorb();
        Looking::new(self)
    }

    /// Whether this opening of the index was asked.
    pub fn was_asked(&self, asked: Asked) -> bool {
        asked.index == self.id
    }

    /// The entries that came in after these answers were given, or none where the answers are not to be used: those of
    /// another opening of the index, which may have been closed for its damage, or older than what is remembered here.
    pub fn entered_after(&self, asked: Asked) -> Option<Vec<Arc<Table>>> {
        self.was_asked(asked)
            .then(|| self.shared.memory().entered_after(asked.known))?
    }

    /// Whether the table is full with `more` entries, so that they have to come with a seal.
    pub fn fills_up(&self, more: usize) -> bool {
        self.shared.memory().unsealed + more >= self.table_entries
    }

    /// Waits while full tables take all the memory that they are given.
    ///
    /// # Errors
    /// Where sealing or merging failed: the index has to be opened again.
    pub fn make_room(&self) -> Result<(), IndexError> {
        let mut memory = self.shared.memory();
        loop {
            if let Some(failure) = &memory.failure {
                return Err(failure.clone());
            }
            if memory.sealing.len() < MAX_SEALING {
                return Ok(());
            }
            memory = self.shared.wait(memory);
        }
    }

    /// Takes in the entries of committed events, up to the sequence `last`. With a `seal`, which is registered, all
    /// that came since the last one is sealed, which waits for a lookup under way.
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
    /// Whether the files are no good, rather than the disk full or out of reach.
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

/// What the tree reports, in the system's own words where it only passes them on.
fn told(err: &lsm_tree::Error) -> String {
    if let lsm_tree::Error::Io(err) = err {
        return err.to_string();
    }
    err.to_string()
}

/// Whether an error tells of the system's state and not of the file's: no room, no access, no descriptors.
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
