//! The writer of a tree: appends runs and merges them.
//!
//! Sixteen small runs of about the same size are merged at once. Large ones are merged into the oldest run slice by slice, a few slices
//! with each batch: a slice moves all entries in a range of keys, so the tree is whole after each of them, and where a merge has
//! stopped need not be recorded. An entry is rewritten a few times in its life, and the work of one transaction is proportional to
//! what it appends.

use std::ops::{Range, RangeInclusive};

use rusqlite::{Connection, params};

use super::{BLOCKS, Entries, Run, Slice, Tree, block, is_before};

/// Runs that are merged at once, at least.
const FEWEST: usize = if cfg!(test) { 3 } else { 16 };

/// Entries of runs that are merged at once, at most: as many as half of the oldest run has, within these limits.
const SMALL: RangeInclusive<u64> = if cfg!(test) { 8..=30 } else { 65_536..=262_144 };

/// Runs beyond which all are merged, however few entries they have.
const MANY: usize = if cfg!(test) { 12 } else { 48 };

/// Entries moved into the oldest run for each one appended, while such a merge is in progress.
const MOVED_PER_ENTRY: u64 = 2;

/// The state of the writer between transactions. After a failed transaction it must be loaded again.
#[derive(Debug)]
pub(in crate::store) struct RunWriter {
    tree: Tree,
    /// From the oldest to the newest.
    runs: Vec<Run>,
    merge: Option<Merge>,
    /// Bytes at which a block is full.
    full_block: usize,
}

/// A merge of the oldest runs into the oldest one, in progress.
#[derive(Debug)]
struct Merge {
    /// How many of the oldest runs are merged.
    runs: usize,
    /// All keys before this one have been moved.
    next: Vec<u8>,
}

impl RunWriter {
    /// A writer that continues with the runs in the file.
    pub fn load(connection: &Connection, tree: Tree) -> rusqlite::Result<Self> {
        Ok(Self {
            tree,
            runs: tree.runs(connection)?,
            merge: None,
            full_block: connection
                .pragma_query_value(None, "page_size", |row| row.get(0))
                .map(block::full)?,
        })
    }

    /// Sets the values of keys, which must be in order, in the caller's transaction.
    pub fn append(&mut self, transaction: &Connection, entries: &Entries) -> rusqlite::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let appended = entries.len() as u64;
        let run = Run {
            number: self.runs.last().map_or(0, |run| run.number) + 1,
            entries: appended,
        };
        transaction
            .prepare_cached("INSERT INTO runs (tree, run, entries) VALUES (?1, ?2, ?3)")?
            .execute(params![self.tree.0, run.number, run.entries])?;
        self.tree
            .insert(transaction, run, entries, self.full_block)?;
        self.runs.push(run);
        self.merge_small(transaction)?;
        self.merge_large(transaction, appended)
    }

    /// Merges the newest runs if there are enough of them and none has more entries than all others together.
    fn merge_small(&mut self, transaction: &Connection) -> rusqlite::Result<()> {
        while let Some(first) = self.small_runs() {
            let mut start = Vec::new();
            loop {
                let runs = first..self.runs.len();
                match self.merge_slice(transaction, runs, &start)? {
                    Some(end) => start = end,
                    None => break self.remove_merged(transaction, first + 1..self.runs.len())?,
                }
            }
        }
        Ok(())
    }

    /// The first of the runs to be merged at once.
    fn small_runs(&self) -> Option<usize> {
        let merging = self.merge.as_ref().map_or(0, |merge| merge.runs);
        let most = (self.runs[0].entries / 2).clamp(*SMALL.start(), *SMALL.end());
        let (mut total, mut largest) = (0, 0);
        for (first, run) in self.runs.iter().enumerate().skip(merging).rev() {
            total += run.entries;
            largest = largest.max(run.entries);
            if total > most {
                return None;
            }
            if self.runs.len() - first >= FEWEST && 2 * largest <= total {
                return Some(first);
            }
        }
        None
    }

    /// Continues the merge into the oldest run, or begins one if the other runs have as many entries together or are too many.
    fn merge_large(&mut self, transaction: &Connection, appended: u64) -> rusqlite::Result<()> {
        let (oldest, others) = self.runs.split_first().expect("a run was just appended");
        let others: u64 = others.iter().map(|run| run.entries).sum();
        let is_much = others >= oldest.entries.max(*SMALL.start());
        if self.merge.is_none() && (is_much || self.runs.len() > MANY) {
            self.merge = Some(Merge {
                runs: self.runs.len(),
                next: Vec::new(),
            });
        }
        let mut moved = 0;
        while moved < MOVED_PER_ENTRY * appended
            && let Some(Merge { runs, next }) = self.merge.take()
        {
            let left = |of: &Self| of.runs[1..runs].iter().map(|run| run.entries).sum::<u64>();
            let before = left(self);
            match self.merge_slice(transaction, 0..runs, &next)? {
                Some(next) => self.merge = Some(Merge { runs, next }),
                None => return self.remove_merged(transaction, 1..runs),
            }
            moved += before - left(self);
        }
        Ok(())
    }

    /// Moves the entries from a key on, up to a key that is returned, from some runs into the oldest of them. Returns `None` if
    /// nothing is left to be moved.
    fn merge_slice(
        &mut self,
        transaction: &Connection,
        runs: Range<usize>,
        start: &[u8],
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let (tree, full) = (self.tree, self.full_block);
        let runs = &mut self.runs[runs];
        let Slice { blocks, end } = tree.slice(transaction, runs, start, BLOCKS)?;
        let end = end.as_deref();
        let mut slice = Entries::default();
        let sql = format!("DELETE FROM {} WHERE run = ?1 AND first = ?2", tree.0);
        let mut delete = transaction.prepare_cached(&sql)?;
        for (run, blocks) in runs.iter_mut().zip(blocks) {
            let mut rest = Entries::default();
            let before = slice.len();
            for (first, block) in blocks {
                // The last block of the oldest run before the slice.
                if &*first < start {
                    continue;
                }
                block::decode(&block, |key, value| {
                    let part = if is_before(key, end) {
                        &mut slice
                    } else {
                        &mut rest
                    };
                    part.push(key, value);
                    true
                })?;
                delete.execute(params![run.number, first])?;
            }
            run.entries -= (slice.len() - before) as u64;
            tree.insert(transaction, *run, &rest, full)?;
        }
        slice.sort();
        runs[0].entries += slice.len() as u64;
        tree.insert(transaction, runs[0], &slice, full)?;
        let mut save = transaction
            .prepare_cached("UPDATE runs SET entries = ?3 WHERE tree = ?1 AND run = ?2")?;
        for run in runs.iter() {
            save.execute(params![tree.0, run.number, run.entries])?;
        }
        Ok(end.map(<[u8]>::to_vec))
    }

    fn remove_merged(
        &mut self,
        transaction: &Connection,
        runs: Range<usize>,
    ) -> rusqlite::Result<()> {
        let mut remove =
            transaction.prepare_cached("DELETE FROM runs WHERE tree = ?1 AND run = ?2")?;
        for run in self.runs.drain(runs) {
            debug_assert_eq!(run.entries, 0, "all entries of a merged run were moved");
            remove.execute(params![self.tree.0, run.number])?;
        }
        Ok(())
    }
}

impl Tree {
    /// Adds blocks to a run.
    fn insert(
        self,
        transaction: &Connection,
        run: Run,
        entries: &Entries,
        full_block: usize,
    ) -> rusqlite::Result<()> {
        let sql = format!(
            "INSERT INTO {} (run, first, entries) VALUES (?1, ?2, ?3)",
            self.0
        );
        let mut insert = transaction.prepare_cached(&sql)?;
        block::encode(entries.iter(), full_block, |first, block| {
            insert.execute(params![run.number, first, block])?;
            Ok(())
        })
    }
}
