//! The sealed entries: an LSM tree on disk that only grows, in one step per seal.

use std::{
    io::ErrorKind,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, Guard, InternalValue, SeqNo,
    SequenceNumberCounter, Table, ValueType,
    compaction::{
        Leveled,
        filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict},
    },
    config::{
        BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
        PartitioningPolicy, PinningPolicy,
    },
    table::filter::standard_bloom::Builder,
};

use super::{IndexError, table::Entry};

/// Block cache for recently read data blocks. Filters and block indexes are kept in memory outside it, whole: 1.7
/// bytes per entry.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Filter bits per entry: three in a thousand lookups of absent identities read a block in vain.
const FILTER_BITS: f32 = 12.0;

/// Seals that are searched one by one before they are merged. More make merging cheaper and lookups more expensive.
const UNMERGED: u8 = 4;

/// All reads use the tree's newest sequence number, so older versions may be dropped.
const UNREAD: SeqNo = SeqNo::MAX / 2;

/// The key under which each step stores its seal. It is shorter than a fingerprint, so it cannot be one.
const SEAL_KEY: [u8; 1] = [0];

/// A seal: a unique id, and the last event in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Seal {
    pub id: [u8; 16],
    pub reach: i64,
}

/// The tree, shared by lookups, sealing and merging.
pub(super) struct Sealed {
    tree: AnyTree,
    strategy: Arc<Leveled>,
    /// The tree's own sequence numbers, which order its entries by age.
    sequences: SequenceNumberCounter,
    stop: Arc<AtomicBool>,
}

impl Sealed {
    /// Opens the tree in `folder`, creating it if needed, and returns its newest seal.
    pub fn open(folder: &Path) -> Result<(Self, Option<Seal>), IndexError> {
        if !is_list_sound(folder).map_err(lsm_tree::Error::from)? {
            return Err(lsm_tree::Error::Unrecoverable.into());
        }
        guard(|| {
            let stop = Arc::new(AtomicBool::new(false));
            let sequences = SequenceNumberCounter::default();
            let tree = config(folder, sequences.clone(), Arc::clone(&stop)).open()?;
            sequences.fetch_max(tree.get_highest_seqno().map_or(0, |last| last + 1));
            let seal = match tree.get(SEAL_KEY, SeqNo::MAX)? {
                Some(value) => Some(Seal::decode(&value).ok_or(lsm_tree::Error::Unrecoverable)?),
                None => None,
            };
            let reach = seal.map_or(0, |seal| seal.reach);
            if !is_whole(&tree, reach) {
                return Err(lsm_tree::Error::Unrecoverable);
            }
            let sealed = Self {
                tree,
                strategy: Arc::new(Leveled::default().with_l0_threshold(UNMERGED)),
                sequences,
                stop,
            };
            Ok((sealed, seal))
        })
    }

    /// Looks up the identities that have no entry yet; `entries` are in the order of `identities`.
    ///
    /// Searches run by run in the order of the keys, and not with the tree's `get`, which fetches its list of tables for each
    /// key.
    pub fn find(
        &self,
        identities: &[u128],
        entries: &mut [Option<Entry>],
    ) -> Result<(), IndexError> {
        let mut pending = PendingLookup::all(identities, entries);
        if pending.is_empty() {
            return Ok(());
        }
        guard(|| {
            let version = self.tree.current_version();
            for run in version.iter_levels().flat_map(|level| level.iter()) {
                let mut absent = 0;
                for current in 0..pending.len() {
                    let lookup = &pending[current];
                    let entry = lookup.find_in(run.get_for_key(&lookup.key))?;
                    entries[lookup.position] = entry;
                    if entry.is_none() {
                        pending.swap(absent, current);
                        absent += 1;
                    }
                }
                pending.truncate(absent);
            }
            Ok(())
        })
    }

    /// All entries, in the order of their fingerprints.
    pub fn entries(&self) -> impl Iterator<Item = Result<(u128, Entry), IndexError>> + use<> {
        let mut items = self.tree.iter(SeqNo::MAX, None);
        let mut next = move || {
            let item = guard(|| items.next().map(Guard::into_inner).transpose());
            item.transpose()
        };
        std::iter::from_fn(move || {
            loop {
                let (key, value) = match next()? {
                    Ok(item) => item,
                    Err(err) => return Some(Err(err)),
                };
                // The key of the seal is shorter.
                if let Ok(key) = <[u8; 16]>::try_from(&*key) {
                    let entry = Entry::decode(&value).ok_or(lsm_tree::Error::Unrecoverable);
                    let entry = entry.map(|entry| (u128::from_be_bytes(key), entry));
                    return Some(entry.map_err(IndexError::from));
                }
            }
        })
    }

    /// Writes entries, in the order of their fingerprints, and their seal to files that the tree does not include yet.
    ///
    /// Uses the tree's way of flushing a table, and not its `ingestion`, whose tables' filters would be fetched
    /// through the block cache at every lookup until they are merged.
    pub fn write(&self, sorted: &[(u128, Entry)], seal: Seal) -> Result<Vec<Table>, IndexError> {
        guard(|| {
            let sequence = self.sequences.next();
            let item = |key: &[u8], value: &[u8]| {
                InternalValue::from_components(key, value, sequence, ValueType::Value)
            };
            let seal = item(&SEAL_KEY, &seal.encode());
            let entries = sorted
                .iter()
                .map(|(identity, entry)| item(&identity.to_be_bytes(), &entry.encode()));
            let items = std::iter::once(seal).chain(entries).map(Ok);
            let written = self.tree.flush_to_tables(items)?;
            Ok(written.map(|(tables, _)| tables).unwrap_or_default())
        })
    }

    /// Adds the written tables to the tree: all of them or none.
    pub fn register(&self, written: &[Table]) -> Result<(), IndexError> {
        guard(|| self.tree.register_tables(written, None, None, &[], UNREAD))
    }

    /// Merges once, if there is something to merge; false if there was nothing, or after [`Self::stop_merging`].
    pub fn merge(&self) -> Result<bool, IndexError> {
        guard(|| {
            let before = self.tree.current_version().id();
            let merged = self.tree.compact(Arc::clone(&self.strategy) as _, UNREAD);
            if self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            merged?;
            Ok(self.tree.current_version().id() != before)
        })
    }

    /// Ends a running merge within a moment; its files are removed at the next opening.
    pub fn stop_merging(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The number of tables that are not merged yet.
    pub fn unmerged(&self) -> usize {
        self.tree.l0_run_count()
    }
}

/// An identity that is looked up.
struct PendingLookup {
    key: [u8; 16],
    /// The key's hash for the filters.
    hash: u64,
    /// The position of its entry in the result.
    position: usize,
}

impl PendingLookup {
    /// Those without an entry, in the order of their keys.
    fn all(identities: &[u128], entries: &[Option<Entry>]) -> Vec<Self> {
        let mut positions: Vec<usize> = (0..identities.len())
            .filter(|position| entries[*position].is_none())
            .collect();
        positions.sort_unstable_by_key(|position| identities[*position]);
        let lookup = |position: usize| {
            let key = identities[position].to_be_bytes();
            let hash = Builder::get_hash(&key);
            Self {
                key,
                hash,
                position,
            }
        };
        positions.into_iter().map(lookup).collect()
    }

    /// Searches the one table of a run that may have it.
    fn find_in(&self, table: Option<&Table>) -> lsm_tree::Result<Option<Entry>> {
        let Some(table) = table else {
            return Ok(None);
        };
        let found = table.get(&self.key, SeqNo::MAX, self.hash)?;
        found
            .map(|item| Entry::decode(&item.value).ok_or(lsm_tree::Error::Unrecoverable))
            .transpose()
    }
}

/// Whether the file that lists the tables is undamaged. The tree writes its checksum into the file
/// `current`, after its number, and never checks it: damage there could silently drop tables, or request
/// so much memory that the process is aborted.
fn is_list_sound(folder: &Path) -> std::io::Result<bool> {
    let current = match std::fs::read(folder.join("current")) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(true),
        current => current?,
    };
    let Some((number, rest)) = current.split_first_chunk::<8>() else {
        return Ok(false);
    };
    let list = match std::fs::read(folder.join(format!("v{}", u64::from_le_bytes(*number)))) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(false),
        list => list?,
    };
    let checksum = rest.first_chunk::<16>().copied().map(u128::from_le_bytes);
    Ok(checksum == Some(xxhash_rust::xxh3::xxh3_128(&list)))
}

/// Whether the tree has one entry for each event up to its reach. Any further entries are older seals.
fn is_whole(tree: &AnyTree, reach: i64) -> bool {
    let entries = usize::try_from(reach).unwrap_or(usize::MAX);
    let found = tree.approximate_len();
    (entries..=entries.saturating_add(tree.table_count())).contains(&found)
}

fn config(folder: &Path, sequences: SequenceNumberCounter, stop: Arc<AtomicBool>) -> Config {
    let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(FILTER_BITS));
    // Fingerprints are random: they cannot be compressed, and no part of an index or a filter is used more
    // often than another, so each is one block and stays in memory.
    Config::new(folder, sequences, SequenceNumberCounter::default())
        .use_cache(Arc::new(Cache::with_capacity_bytes(CACHE_BYTES)))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        .filter_policy(FilterPolicy::all(filter))
        .filter_block_partitioning_policy(PartitioningPolicy::all(false))
        .index_block_partitioning_policy(PartitioningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::all(true))
        .with_compaction_filter_factory(Some(Arc::new(StopFactory(stop))))
}

/// Runs `work`, which reports damage as an error, or panics on damage that the crate does not expect. Either is damage.
fn guard<T>(work: impl FnOnce() -> lsm_tree::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Ok(done?),
        Err(_) => Err(IndexError::Panicked),
    }
}

impl Entry {
    fn encode(self) -> [u8; 16] {
        pair(self.sequence.to_be_bytes(), self.content.to_be_bytes())
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (sequence, content) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            sequence: i64::from_be_bytes(*sequence),
            content: u64::from_be_bytes(content.try_into().ok()?),
        })
    }
}

impl Seal {
    fn encode(self) -> Vec<u8> {
        [&self.id[..], &self.reach.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, reach) = bytes.split_first_chunk::<16>()?;
        Some(Self {
            id: *id,
            reach: i64::from_be_bytes(reach.try_into().ok()?),
        })
    }
}

fn pair(first: [u8; 8], second: [u8; 8]) -> [u8; 16] {
    let mut both = [0; 16];
    both[..8].copy_from_slice(&first);
    both[8..].copy_from_slice(&second);
    both
}

/// Ends merges: the crate's own signal is sent only when the tree is dropped, and a merge checks it rarely.
struct StopFactory(Arc<AtomicBool>);

struct StopFilter(Arc<AtomicBool>);

impl Factory for StopFactory {
    fn name(&self) -> &'static str {
        "stop"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(StopFilter(Arc::clone(&self.0)))
    }
}

impl CompactionFilter for StopFilter {
    fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> lsm_tree::Result<Verdict> {
        if self.0.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into());
        }
        Ok(Verdict::Keep)
    }
}
