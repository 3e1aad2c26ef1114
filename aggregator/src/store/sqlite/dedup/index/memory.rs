//! The entries that are not in the tree yet.
//!
//! A batch's entries come in as they are, in a table of their own, so that the writer is done with them at once. Who
//! looks up next takes them over into the one table of recent entries first, or the writer where they fill it up. The latest batches' own tables are kept a
//! little longer, for batches that were looked up before these had come in.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, PoisonError, RwLockReadGuard},
};

use super::{Asked, Entry, Index, IndexError, Seal, Table};

/// The table of recent entries.
pub(super) struct Recent {
    table: Table,
    /// Every event up to this sequence is here, in a full table or in the tree.
    known: i64,
}

/// What else is in memory, and how the threads stand.
pub(super) struct Memory {
    /// The latest batches, the oldest first.
    latest: VecDeque<Latest>,
    /// So many of them, from the oldest on, are in the table of recent entries.
    absorbed: usize,
    /// The latest batches are all that came after this sequence.
    latest_after: i64,
    /// Entries that came in since the last seal.
    pub unsealed: usize,
    /// Every event up to this sequence has come in.
    pub known: i64,
    /// Full tables, the oldest first.
    pub sealing: VecDeque<Arc<Sealing>>,
    /// Every event up to this sequence is in the tree.
    pub sealed: i64,
    /// Tables of the tree that were not merged with others yet.
    pub unmerged: usize,
    /// What was sealed when the last merge began; none before the first.
    pub merged: Option<i64>,
    /// Why sealing or merging has ended early.
    pub failure: Option<IndexError>,
    /// The threads are to end.
    pub stop: bool,
}

/// The entries of a batch.
#[derive(Clone)]
struct Latest {
    entries: Arc<Table>,
    /// The sequence of its last event.
    last: i64,
    /// Where it fills the table up.
    seal: Option<Seal>,
}

/// A full table on its way into the tree.
pub(super) struct Sealing {
    pub table: Table,
    pub seal: Seal,
}

/// Looks identities up, as often and by as many threads as one likes, in what the index knew when it began.
pub(in crate::store) struct Looking<'a> {
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
    /// Nothing, over a tree with all events up to the sequence `reach`.
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

    /// The entries that came after the sequence `known`, if all of them are remembered. Nobody asks for older ones from
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

    /// Forgets the latest batches, which are in the table of recent entries.
    fn forget_latest(&mut self) {
        self.latest.clear();
        self.absorbed = 0;
        self.latest_after = self.known;
    }
}

impl Index {
    /// Takes the latest batches over into the table of recent entries. A table that is full with them is sealed.
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
                let table = mem::replace(&mut recent.table, table(self.table_entries));
                let sealing = Arc::new(Sealing { table, seal });
                self.shared.memory().sealing.push_back(sealing);
                self.shared.changed.notify_all();
            }
        }
    }

    /// Takes entries in that were read from the store, which no batch under way has to be told of.
    pub(in crate::store) fn enter_read(&self, entries: Table, last: i64, seal: Option<Seal>) {
        self.enter(entries, last, seal);
        self.absorb();
        self.shared.memory().forget_latest();
    }
}

impl<'a> Looking<'a> {
    pub fn new(index: &'a Index) -> Self {
        let recent = index.shared.recent.read();
        let recent = recent.unwrap_or_else(PoisonError::into_inner);
        // Recent entries cannot become a full table from here on, and full tables that are in the tree by now do no harm.
        let sealing = index.shared.memory().sealing.iter().cloned().collect();
        Self {
            index,
            recent,
            sealing,
        }
    }

    /// What its answers are worth.
    pub fn asked(&self) -> Asked {
        Asked {
            index: self.index.id,
            known: self.recent.known,
        }
    }

    /// Looks identities up, each answer in the place of its question.
    pub fn find(&self, identities: &[u128]) -> Result<Vec<Option<Entry>>, IndexError> {
        self.index.check_folder()?;
        // Memory first: an entry may get from there into the tree meanwhile, and never back.
        let mut answers: Vec<Option<Entry>> = identities
            .iter()
            .map(|identity| self.in_memory(*identity))
            .collect();
        self.index.shared.sealed.find(identities, &mut answers)?;
        Ok(answers)
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
