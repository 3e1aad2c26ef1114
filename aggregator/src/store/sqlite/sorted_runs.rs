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

use std::cmp::Reverse;

use rusqlite::{Connection, OptionalExtension, params};

pub(in crate::store) use self::entries::Entries;

/// Blocks of each run that are read at once, at most. A scan, which may end soon, begins with [`FIRST_BLOCKS`].
const BLOCKS: usize = if cfg!(test) { 2 } else { 64 };
const FIRST_BLOCKS: usize = if cfg!(test) { 1 } else { 8 };

/// One of the maps. Its name is that of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Tree(pub &'static str);

/// A run of a tree. Newer runs have larger numbers.
#[derive(Debug, Clone, Copy)]
struct Run {
    number: i64,
    entries: u64,
}

/// Follows all keys: they are UTF-8, or numbers above zero with the highest byte first.
const AFTER_ALL: &[u8] = &[0xff];

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
        let mut start = from.to_vec();
        let mut most = FIRST_BLOCKS;
        loop {
            let slice = self.tree.slice(self.read, &self.runs, &start, most)?;
            for (key, value) in slice.entries(&start)?.iter() {
                if !each(key, value)? {
                    return Ok(());
                }
            }
            match slice.end {
                Some(end) => start = end,
                None => return Ok(()),
            }
            most = BLOCKS.min(2 * most);
        }
    }

    /// Calls `each` for all entries, in the reverse order of their keys, until it returns that it wants no more.
    pub fn descending(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let mut end: Option<Vec<u8>> = None;
        let mut most = FIRST_BLOCKS;
        loop {
            let start = self.start_before(end.as_deref(), most)?;
            let slice = self.tree.slice_until(self.read, &self.runs, &start, end)?;
            for (key, value) in slice.entries(&start)?.iter().rev() {
                if !each(key, value)? {
                    return Ok(());
                }
            }
            if start.is_empty() {
                return Ok(());
            }
            end = Some(start);
            most = BLOCKS.min(2 * most);
        }
    }

    /// Where a slice that ends before `end` has to begin, so that no run has more than so many blocks in it.
    fn start_before(&self, end: Option<&[u8]>, most: usize) -> rusqlite::Result<Vec<u8>> {
        let sql = format!(
            "SELECT first FROM {} WHERE run = ?1 AND first < ?2 ORDER BY first DESC LIMIT 1 OFFSET ?3",
            self.tree.0
        );
        let end = end.unwrap_or(AFTER_ALL);
        let mut statement = self.read.prepare_cached(&sql)?;
        let mut start = Vec::new();
        for run in &self.runs {
            let first = statement.query_row(params![run.number, end, most - 1], |row| row.get(0));
            let first: Option<Vec<u8>> = first.optional()?;
            start = first.unwrap_or_default().max(start);
        }
        Ok(start)
    }
}

/// The blocks of some runs in a range of keys.
#[derive(Debug)]
struct Slice {
    /// Of each run, in the order of the runs. The first and the last may have keys outside the range.
    blocks: Vec<Vec<Block>>,
    /// The first key after the range; `None` if it has all further keys.
    end: Option<Vec<u8>>,
}

impl Slice {
    /// The newest entries with keys from `start` on and before the end, in their order.
    fn entries(&self, start: &[u8]) -> rusqlite::Result<Entries> {
        let mut entries = Entries::default();
        for (_, block) in self.blocks.iter().flatten() {
            block::decode(block, |key, value| {
                let is_inside = is_before(key, self.end.as_deref());
                if is_inside && key >= start {
                    entries.push(key, value);
                }
                is_inside
            })?;
        }
        entries.sort();
        Ok(entries)
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

    /// Reads a slice that begins at `start` and ends where it has at most so many blocks of each run.
    fn slice(
        self,
        read: &Connection,
        runs: &[Run],
        start: &[u8],
        most: usize,
    ) -> rusqlite::Result<Slice> {
        let mut blocks: Vec<_> = runs.iter().map(|_| Vec::new()).collect();
        let mut end: Option<Vec<u8>> = None;
        // The largest run first: of the others, little is read that is not in the slice.
        let mut order: Vec<_> = (0..runs.len()).collect();
        order.sort_by_key(|run| Reverse(runs[*run].entries));
        for run in order {
            let found = self.blocks(read, runs[run], (start, end.as_deref()), most + 1)?;
            blocks[run] = found;
            if blocks[run].len() > most {
                end = blocks[run].pop().map(|(first, _)| first);
            }
        }
        for blocks in &mut blocks {
            blocks.retain(|(first, _)| is_before(first, end.as_deref()));
        }
        Ok(Slice { blocks, end })
    }

    /// Reads a slice with given bounds.
    fn slice_until(
        self,
        read: &Connection,
        runs: &[Run],
        start: &[u8],
        end: Option<Vec<u8>>,
    ) -> rusqlite::Result<Slice> {
        let mut blocks = Vec::with_capacity(runs.len());
        for run in runs {
            blocks.push(self.blocks(read, *run, (start, end.as_deref()), usize::MAX)?);
        }
        Ok(Slice { blocks, end })
    }

    /// The blocks of a run with keys in a range, at most so many.
    fn blocks(
        self,
        read: &Connection,
        run: Run,
        (start, end): KeyRange<'_>,
        most: usize,
    ) -> rusqlite::Result<Vec<Block>> {
        let sql = format!(
            "SELECT first, entries FROM {0} WHERE run = ?1 AND first >= ifnull( \
             (SELECT max(first) FROM {0} WHERE run = ?1 AND first <= ?2), ?2) \
             AND first < ?3 ORDER BY first LIMIT ?4",
            self.0
        );
        let end = end.unwrap_or(AFTER_ALL);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        read.prepare_cached(&sql)?
            .query_map(params![run.number, start, end, most], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect()
    }
}

fn is_before(key: &[u8], end: Option<&[u8]>) -> bool {
    end.is_none_or(|end| key < end)
}
