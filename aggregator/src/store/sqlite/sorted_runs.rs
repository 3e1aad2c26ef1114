//! Sorted runs: a map of keys to values in a table that is written in order, however random the keys are.
//!
//! In a B-tree with a row for each key, a batch would change a random page for each key that it changes. So each batch appends
//! its keys as a run of its own: sorted, some twenty in each row, a block. The newest run that has a key has its value. Runs
//! are merged little by little in the transactions of later batches (see [`writer`]), so that there are never many. The result is
//! a log-structured merge tree whose every change is part of a SQLite transaction.

mod block;
mod entries;
#[cfg(test)]
mod tests;
pub(in crate::store) mod writer;

use rusqlite::{Connection, OptionalExtension, params};

pub(in crate::store) use self::entries::Entries;

/// Blocks of each run that are read at once, at most.
const BLOCKS: i64 = if cfg!(test) { 2 } else { 256 };

/// One of the maps. Its name is that of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Tree(pub &'static str);

/// A run of a tree. Newer runs have larger numbers.
#[derive(Debug, Clone, Copy)]
struct Run {
    number: i64,
    entries: u64,
}

/// Keys from the first on, which is included, up to the second, which is not; `None` for all further ones.
type KeyRange<'a> = (&'a [u8], Option<&'a [u8]>);

/// A tree as of one transaction.
#[derive(Debug)]
pub(in crate::store) struct SortedRuns<'a> {
    read: &'a Connection,
    tree: Tree,
    /// From the oldest to the newest.
    runs: Vec<Run>,
}

impl<'a> SortedRuns<'a> {
    /// The tree as of the connection's current transaction.
    pub fn open(read: &'a Connection, tree: Tree) -> rusqlite::Result<Self> {
        let runs = tree.runs(read)?;
        Ok(Self { read, tree, runs })
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
        for run in self.runs.iter().rev() {
            if let Some((_, block)) = self.tree.block_at(self.read, *run, key)?
                && let Some(value) = block::find(&block, key)?
            {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Calls `each` for the entries from a key on, in the order of their keys, until it returns that it wants no more.
    pub fn ascending(
        &self,
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let mut next = Some(from.to_vec());
        while let Some(start) = next {
            next = self.tree.end_of_slice(self.read, &self.runs, &start)?;
            let entries = self.slice((&start, next.as_deref()))?;
            for (key, value) in entries.iter() {
                if !each(key, value)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Calls `each` for all entries, in the reverse order of their keys, until it returns that it wants no more.
    pub fn descending(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let mut end = None;
        loop {
            let start = self.start_of_slice(end.as_deref())?;
            let entries = self.slice((&start, end.as_deref()))?;
            for (key, value) in entries.iter().rev() {
                if !each(key, value)? {
                    return Ok(());
                }
            }
            if start.is_empty() {
                return Ok(());
            }
            end = Some(start);
        }
    }

    /// The newest entries with keys in a range, in their order.
    fn slice(&self, (start, end): KeyRange<'_>) -> rusqlite::Result<Entries> {
        let mut slice = Entries::default();
        for run in &self.runs {
            let first = match self.tree.block_at(self.read, *run, start)? {
                Some((first, _)) => first,
                None => start.to_vec(),
            };
            for (_, block) in self.tree.blocks(self.read, *run, (&first, end))? {
                block::decode(&block, |key, value| {
                    if key >= start && is_before(key, end) {
                        slice.push(key, value);
                    }
                    is_before(key, end)
                })?;
            }
        }
        slice.sort();
        Ok(slice)
    }

    /// Where a slice that ends before `end` has to begin, so that no run has more than [`BLOCKS`] blocks in it.
    fn start_of_slice(&self, end: Option<&[u8]>) -> rusqlite::Result<Vec<u8>> {
        let sql = format!(
            "SELECT first FROM {} WHERE run = ?1 AND (?2 IS NULL OR first < ?2) \
             ORDER BY first DESC LIMIT 1 OFFSET {}",
            self.tree.0,
            BLOCKS - 1
        );
        let mut statement = self.read.prepare_cached(&sql)?;
        let mut start = Vec::new();
        for run in &self.runs {
            let first = statement.query_row(params![run.number, end], |row| row.get(0));
            let first: Option<Vec<u8>> = first.optional()?;
            start = first.unwrap_or_default().max(start);
        }
        Ok(start)
    }
}

/// A block, after its first key.
type Block = (Vec<u8>, Vec<u8>);

impl Tree {
    /// Its runs, from the oldest to the newest.
    fn runs(self, read: &Connection) -> rusqlite::Result<Vec<Run>> {
        read.prepare_cached("SELECT run, entries FROM runs WHERE tree = ?1 ORDER BY run")?
            .query_map([self.0], |row| {
                Ok(Run {
                    number: row.get(0)?,
                    entries: row.get(1)?,
                })
            })?
            .collect()
    }

    /// The block of a run that has a key if any does.
    fn block_at(self, read: &Connection, run: Run, key: &[u8]) -> rusqlite::Result<Option<Block>> {
        let sql = format!(
            "SELECT first, entries FROM {} WHERE run = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
            self.0
        );
        read.prepare_cached(&sql)?
            .query_row(params![run.number, key], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
    }

    /// The blocks of a run whose first keys are in a range.
    fn blocks(
        self,
        read: &Connection,
        run: Run,
        (start, end): KeyRange<'_>,
    ) -> rusqlite::Result<Vec<Block>> {
        let sql = format!(
            "SELECT first, entries FROM {} WHERE run = ?1 AND first >= ?2 \
             AND (?3 IS NULL OR first < ?3) ORDER BY first",
            self.0
        );
        read.prepare_cached(&sql)?
            .query_map(params![run.number, start, end], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect()
    }

    /// Where a slice that begins at `start` has to end, so that no run has more than [`BLOCKS`] further blocks in it; `None`
    /// if all of the rest is little enough.
    fn end_of_slice(
        self,
        read: &Connection,
        runs: &[Run],
        start: &[u8],
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let sql = format!(
            "SELECT first FROM {} WHERE run = ?1 AND first > ?2 ORDER BY first LIMIT 1 OFFSET {BLOCKS}",
            self.0
        );
        let mut statement = read.prepare_cached(&sql)?;
        let mut end: Option<Vec<u8>> = None;
        for run in runs {
            let first = statement.query_row(params![run.number, start], |row| row.get(0));
            end = first.optional()?.into_iter().chain(end).min();
        }
        Ok(end)
    }
}

fn is_before(key: &[u8], end: Option<&[u8]>) -> bool {
    end.is_none_or(|end| key < end)
}
