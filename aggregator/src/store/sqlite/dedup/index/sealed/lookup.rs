//! Lookups in the tree: first in the filters, then in the tables that may have an identity.

use std::{panic::resume_unwind, thread};

use lsm_tree::{AbstractTree, SeqNo, Table, UserKey, table::filter::standard_bloom::Builder};

use super::{Sealed, filters::Resident, guard};
use crate::store::sqlite::dedup::index::{Entry, IndexError};

/// Threads that read tables concurrently for a lookup. They wait for the disk, not for a processor: a virtual disk made 20,000 reads
/// a second for four threads, 31,500 for sixteen, and hardly more for 32.
const READERS: usize = 16;

/// Reads for which another thread is worthwhile.
const EACH: usize = 64;

impl Sealed {
    /// Looks up the identities that have no entry yet; `entries` are in the order of `identities`.
    ///
    /// Searches table by table in the order of the keys, and not with the tree's `get`, which fetches its list of tables for each
    /// key.
    pub fn find(
        &self,
        identities: &[u128],
        entries: &mut [Option<Entry>],
    ) -> Result<(), IndexError> {
        let pending = Pending::all(identities, entries);
        if pending.is_empty() {
            return Ok(());
        }
        guard(|| {
            let version = self.tree.current_version();
            let filters = self.filters.resident();
            let mut reads = Vec::new();
            for table in version
                .iter_levels()
                .flat_map(|level| level.iter().flat_map(|run| run.iter()))
            {
                add_reads(&mut reads, table, &filters, &pending)?;
            }
            for (position, entry) in read(&reads)? {
                entries[position] = Some(entry);
            }
            Ok(())
        })
    }
}

/// An identity that is looked up.
pub(super) struct Pending {
    pub identity: u128,
    /// The hash for the filters.
    pub hash: u64,
    /// The position of its entry in the result.
    position: usize,
}

impl Pending {
    /// Those without an entry, in the order of their keys.
    fn all(identities: &[u128], entries: &[Option<Entry>]) -> Vec<Self> {
        let absent = identities.iter().enumerate();
        let absent = absent.filter(|(position, _)| entries[*position].is_none());
        let mut pending: Vec<_> = absent
            .map(|(position, identity)| Self {
                identity: *identity,
                hash: Builder::get_hash(&identity.to_be_bytes()),
                position,
            })
            .collect();
        pending.sort_unstable_by_key(|pending| pending.identity);
        pending
    }
}

/// A read of one table.
struct Read<'a> {
    table: &'a Table,
    pending: &'a Pending,
    /// Whether the filter in memory says that the table may have it.
    is_filtered: bool,
}

/// Adds the reads of a table, which are those that its filter does not exclude.
fn add_reads<'a>(
    reads: &mut Vec<Read<'a>>,
    table: &'a Table,
    filters: &Resident,
    pending: &'a [Pending],
) -> lsm_tree::Result<()> {
    let range = &table.metadata.key_range;
    let first = pending.partition_point(|one| one.identity.to_be_bytes()[..] < **range.min());
    let pending = &pending[first..];
    let last = pending.partition_point(|one| one.identity.to_be_bytes()[..] <= **range.max());
    let pending = &pending[..last];
    let read = |pending, is_filtered| Read {
        table,
        pending,
        is_filtered,
    };
    if let Some(filter) = filters.get(&table.id()) {
        return filter.each_possible(pending, |pending| reads.push(read(pending, true)));
    }
    reads.extend(pending.iter().map(|pending| read(pending, false)));
    Ok(())
}

/// Reads the entries that exist, with their positions in the result.
fn read(reads: &[Read<'_>]) -> lsm_tree::Result<Vec<(usize, Entry)>> {
    let each = reads.len().div_ceil(READERS).max(EACH);
    let (own, others) = reads.split_at(each.min(reads.len()));
    thread::scope(|scope| {
        let others: Vec<_> = others
            .chunks(each)
            .map(|part| {
                let thread = thread::Builder::new().spawn_scoped(scope, || read_part(part));
                (part, thread)
            })
            .collect();
        let mut entries = read_part(own);
        for (part, thread) in others {
            let more = match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                // The system cannot start another thread.
                Err(_) => read_part(part),
            };
            // All threads are joined, even if a part failed.
            entries = entries.and_then(|mut entries| {
                entries.extend(more?);
                Ok(entries)
            });
        }
        entries
    })
}

fn read_part(reads: &[Read<'_>]) -> lsm_tree::Result<Vec<(usize, Entry)>> {
    let mut entries = Vec::new();
    for read in reads {
        if let Some(entry) = read.entry()? {
            entries.push((read.pending.position, entry));
        }
    }
    Ok(entries)
}

impl Read<'_> {
    fn entry(&self) -> lsm_tree::Result<Option<Entry>> {
        let key = self.pending.identity.to_be_bytes();
        // `get` reads a part of the filter first. In tables of earlier versions it would read the whole filter.
        let found = if self.is_filtered || self.table.regions.filter_tli.is_none() {
            // Without an upper end, which would be searched for as well.
            let next = self.table.range(UserKey::from(key)..).next().transpose()?;
            next.filter(|item| *item.key.user_key == key)
        } else {
            self.table.get(&key, SeqNo::MAX, self.pending.hash)?
        };
        found
            .map(|item| Entry::decode(&item.value).ok_or(lsm_tree::Error::Unrecoverable))
            .transpose()
    }
}
