//! The entries that are not in the tree yet.
//!
//! The entries of a batch are entered in a table of their own, so that the writer does not wait. The next lookup first moves
//! them into the one table of recent entries, or the writer does if they fill it. The tables of the latest batches are kept
//! a little longer, for batches that were looked up before these were entered.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, PoisonError, RwLockReadGuard},
};

use super::{Entry, Index, IndexError, IndexVersion, Seal, Table};

/// The table of recent entries.
pub(super) struct Recent {
    table: Table,
    /// The sequence up to which every event is here, in a full table or in the tree.
    known: i64,
}

/// The other entries in memory, and the state of the threads.
pub(super) struct Memory {
    /// The latest batches, the oldest first.
    latest: VecDeque<Latest>,
    /// How many of them, from the oldest on, are in the table of recent entries.
    absorbed: usize,
    /// The latest batches are all those after this sequence.
    latest_after: i64,
    /// Entries entered since the last seal.
    pub unsealed: usize,
    /// The sequence up to which every event was entered.
    pub known: i64,
    /// Full tables, the oldest first.
    pub sealing: VecDeque<Arc<Sealing>>,
    /// The sequence up to which every event is in the tree.
    pub sealed: i64,
    /// Tables of the tree that are not merged yet.
    pub unmerged: usize,
    /// What was sealed when the last merge began; none before the first.
    pub merged: Option<i64>,
    /// Why sealing or merging failed.
    pub failure: Option<IndexError>,
    /// Set when the threads must end.
    pub stop: bool,
}

/// The entries of a batch.
#[derive(Clone)]
struct Latest {
    entries: Arc<Table>,
    /// The sequence of its last event.
    last: i64,
    /// The seal, if the batch fills the table.
    seal: Option<Seal>,
}

/// A full table that is being added to the tree.
pub(super) struct Sealing {
    pub table: Table,
    pub seal: Seal,
}

/// Looks identities up in the index as of the reader's creation, any number of times and from any number of threads.
pub(in crate::store) struct IndexReader<'a> {
    index: &'a Index,
    recent: RwLockReadGuard<'a, Recent>,
    sealing: Vec<Arc<Sealing>>,
}

impl Recent {
    pub fn new(entries: usize, known: i64) -> Self {
        let table = table(entries);
        Self { table, known }
    }
}

impl Memory {
    /// Empty, over a tree with all events up to the sequence `reach`.
    pub fn new(reach: i64) -> Self {
        Self {
            latest: VecDeque::new(),
            absorbed: 0,
            latest_after: reach,
            unsealed: 0,
            known: reach,
            sealing: VecDeque::new(),
            sealed: reach,
            unmerged: 0,
            merged: None,
            failure: None,
            stop: false,
        }
    }

    pub fn enter(&mut self, entries: Table, last: i64, seal: Option<Seal>) {
        self.unsealed = match seal {
            Some(_) => 0,
            None => self.unsealed + entries.len(),
        };
        self.known = last;
        let entries = Arc::new(entries);
        self.latest.push_back(Latest {
            entries,
            last,
            seal,
        });
    }

    /// The entries after the sequence `known`, if all of them are remembered. Older ones must not be requested from
    /// then on.
    pub fn entered_after(&mut self, known: i64) -> Option<Vec<Arc<Table>>> {
        while self.absorbed > 0
            && let Some(oldest) = self.latest.pop_front_if(|oldest| oldest.last <= known)
        {
            self.absorbed -= 1;
            self.latest_after = oldest.last;
        }
        let later = self.latest.iter().filter(|batch| batch.last > known);
        (known >= self.latest_after)
            .then(|| later.map(|batch| Arc::clone(&batch.entries)).collect())
    }

    /// Forgets the latest batches, all of which are in the table of recent entries.
    fn forget_latest(&mut self) {
        self.latest.clear();
        self.absorbed = 0;
        self.latest_after = self.known;
    }
}

impl Index {
    /// Moves the latest batches into the table of recent entries. A table that becomes full is sealed.
    pub(super) fn absorb(&self) {
        let recent = self.shared.recent.write();
        let mut recent = recent.unwrap_or_else(PoisonError::into_inner);
        let latest: Vec<Latest> = {
            let mut memory = self.shared.memory();
            let all = memory.latest.len();
            let absorbed = mem::replace(&mut memory.absorbed, all);
            memory.latest.range(absorbed..).cloned().collect()
        };
        for batch in latest {
            let entries = batch.entries.iter();
            recent
                .table
                .extend(entries.map(|(identity, entry)| (*identity, *entry)));
            recent.known = batch.last;
            if let Some(seal) = batch.seal {
                let table = mem::replace(&mut recent.table, table(self.memory.table_entries));
                let sealing = Arc::new(Sealing { table, seal });
                self.shared.memory().sealing.push_back(sealing);
                self.shared.changed.notify_all();
            }
        }
    }

    /// Enters entries that were read from the store. No batch in flight needs them, so they are not kept as latest batches.
    pub(in crate::store) fn enter_read(&self, entries: Table, last: i64, seal: Option<Seal>) {
        self.enter(entries, last, seal);
        self.absorb();
        self.shared.memory().forget_latest();
    }
}

impl<'a> IndexReader<'a> {
    pub fn new(index: &'a Index) -> Self {
        let recent = index.shared.recent.read();
        let recent = recent.unwrap_or_else(PoisonError::into_inner);
        // Recent entries cannot become a full table from here on, and full tables that are already in the tree do no harm.
        let sealing = index.shared.memory().sealing.iter().cloned().collect();
        Self {
            index,
            recent,
            sealing,
        }
    }

    /// The version of the index that it reads.
    pub fn version(&self) -> IndexVersion {
        IndexVersion {
            index: self.index.id,
            known: self.recent.known,
        }
    }

    /// Looks identities up; the entries are in the order of the identities.
    pub fn find(&self, identities: &[u128]) -> Result<Vec<Option<Entry>>, IndexError> {
        self.index.check_folder()?;
        // Memory first: an entry may move from memory into the tree meanwhile, and never back.
        let mut entries: Vec<Option<Entry>> = identities
            .iter()
            .map(|identity| self.in_memory(*identity))
            .collect();
        self.index.shared.sealed.find(identities, &mut entries)?;
        Ok(entries)
    }

    fn in_memory(&self, identity: u128) -> Option<Entry> {
        let full = || {
            let mut tables = self.sealing.iter();
            tables.find_map(|sealing| sealing.table.get(&identity))
        };
        self.recent.table.get(&identity).or_else(full).copied()
    }
}

fn table(entries: usize) -> Table {
    Table::with_capacity_and_hasher(entries, std::hash::BuildHasherDefault::default())
}
