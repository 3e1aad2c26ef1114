//! The sealed entries: an LSM tree on disk that only grows, in one step per seal.

mod filters;
mod lookup;
#[cfg(test)]
mod tests;

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
};

use self::filters::Filters;
use super::{IndexError, table::Entry};
use crate::{memory::OfIndex, store::query::FilterSizes};

/// Filter bits per entry of the upper levels, and of the last one, which has most entries: of a hundred lookups of absent
/// identities one and two read a block in vain.
const FILTER_BITS: (f32, f32) = (10.0, 8.0);

/// The last level of the tree.
const LAST_LEVEL: usize = 6;

/// Levels whose block index is in memory whole, 0.2 bytes per entry; that of the further ones, counted from the first that
/// is not empty, is read in parts.
const WHOLE_INDEX: usize = 3;

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
    filters: Filters,
    strategy: Arc<Leveled>,
    /// The tree's own sequence numbers, which order its entries by age.
    sequences: SequenceNumberCounter,
    stop: Arc<AtomicBool>,
}

impl Sealed {
    /// Opens the tree in `folder`, creating it if needed, and returns its newest seal.
    pub fn open(folder: &Path, memory: OfIndex) -> Result<(Self, Option<Seal>), IndexError> {
        if !is_list_sound(folder).map_err(lsm_tree::Error::from)? {
            return Err(lsm_tree::Error::Unrecoverable.into());
        }
        guard(|| {
            let stop = Arc::new(AtomicBool::new(false));
            let sequences = SequenceNumberCounter::default();
            let tree = config(folder, memory, sequences.clone(), Arc::clone(&stop)).open()?;
            sequences.fetch_max(tree.get_highest_seqno().map_or(0, |last| last + 1));
            let seal = match tree.get(SEAL_KEY, SeqNo::MAX)? {
                Some(value) => Some(Seal::decode(&value).ok_or(lsm_tree::Error::Unrecoverable)?),
                None => None,
            };
            let reach = seal.map_or(0, |seal| seal.reach);
            if !is_whole(&tree, reach) {
                return Err(lsm_tree::Error::Unrecoverable);
            }
            let strategy = Leveled::default().with_l0_threshold(memory.unmerged);
            let sealed = Self {
                tree,
                filters: Filters::new(memory.filters),
                strategy: Arc::new(strategy.with_table_target_size(memory.table_bytes)),
                sequences,
                stop,
            };
            sealed.filters.refresh(&sealed.tree)?;
            Ok((sealed, seal))
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
    /// Uses the tree's way of flushing a table, and not its `ingestion`, which includes them at once.
    pub fn write(
        &self,
        sorted: impl Iterator<Item = (u128, Entry)>,
        seal: Seal,
    ) -> Result<Vec<Table>, IndexError> {
        guard(|| {
            let sequence = self.sequences.next();
            let item = |key: &[u8], value: &[u8]| {
                InternalValue::from_components(key, value, sequence, ValueType::Value)
            };
            let seal = item(&SEAL_KEY, &seal.encode());
            let entries = sorted
                .map(|(identity, entry)| item(&identity.to_be_bytes(), entry.encode(&mut [0; 14])));
            let items = std::iter::once(seal).chain(entries).map(Ok);
            let written = self.tree.flush_to_tables(items)?;
            Ok(written.map(|(tables, _)| tables).unwrap_or_default())
        })
    }

    /// Adds the written tables to the tree: all of them or none.
    pub fn register(&self, written: &[Table]) -> Result<(), IndexError> {
        guard(|| {
            self.tree
                .register_tables(written, None, None, &[], UNREAD)?;
            self.filters.refresh(&self.tree)
        })
    }

    /// The sizes of the filters.
    pub fn filter_sizes(&self) -> FilterSizes {
        self.filters.sizes(&self.tree)
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
            self.filters.refresh(&self.tree)?;
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

fn config(
    folder: &Path,
    memory: OfIndex,
    sequences: SequenceNumberCounter,
    stop: Arc<AtomicBool>,
) -> Config {
    let bits = |bits| FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(bits));
    let mut filters = [bits(FILTER_BITS.0); LAST_LEVEL + 1];
    filters[LAST_LEVEL] = bits(FILTER_BITS.1);
    let mut is_index_divided = [true; LAST_LEVEL + 1];
    is_index_divided[..WHOLE_INDEX].fill(false);
    // Fingerprints are random, so they cannot be compressed. Every filter is written in parts, which can be read one by one;
    // those in memory are held by `filters`.
    Config::new(folder, sequences, SequenceNumberCounter::default())
        .use_cache(Arc::new(Cache::with_capacity_bytes(memory.blocks)))
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        .filter_policy(FilterPolicy::new(filters))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_partitioning_policy(PartitioningPolicy::new(is_index_divided))
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
