//! The sealed entries: an LSM tree on disk that only grows, by one ingestion a seal.

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

/// Block cache, for the data blocks that were just read. Filters and block indexes are held outside it, whole: 1.7
/// bytes an entry.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// Bits of filter an entry: three in a thousand lookups of what is not there read a block for nothing.
const FILTER_BITS: f32 = 12.0;

/// Seals that are looked through one by one before they are merged. More make merging cheaper and lookups dearer.
const UNMERGED: u8 = 4;

/// Nobody reads at an older sequence number of the tree than the newest, so what is older may go.
const UNREAD: SeqNo = SeqNo::MAX / 2;

/// The key under which each ingestion leaves its seal. It is shorter than a fingerprint, so it is none.
const SEAL_KEY: [u8; 1] = [0];

/// How far the index reaches: a name that only one seal has, and the last event in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Seal {
    pub id: [u8; 16],
    pub reach: i64,
}

/// The tree, shared by those who look up, seal and merge.
pub(super) struct Sealed {
    tree: AnyTree,
    strategy: Arc<Leveled>,
    /// The tree's own numbers, which tell its newer entries from its older ones.
    sequences: SequenceNumberCounter,
    stop: Arc<AtomicBool>,
}

impl Sealed {
    /// Opens the tree in `folder`, or makes it, and tells its newest seal.
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

    /// Looks identities up that have no answer yet, each answer in the place of its question.
    ///
    /// Run by run and in the order of the keys, and not by the tree's own `get`, which fetches its list of tables for each
    /// key.
    pub fn find(
        &self,
        identities: &[u128],
        answers: &mut [Option<Entry>],
    ) -> Result<(), IndexError> {
        let mut open = PendingLookup::all(identities, answers);
        if open.is_empty() {
            return Ok(());
        }
        guard(|| {
            let version = self.tree.current_version();
            for run in version.iter_levels().flat_map(|level| level.iter()) {
                let mut unanswered = 0;
                for asked in 0..open.len() {
                    let question = &open[asked];
                    let answer = question.ask(run.get_for_key(&question.key))?;
                    answers[question.place] = answer;
                    if answer.is_none() {
                        open.swap(unanswered, asked);
                        unanswered += 1;
                    }
                }
                open.truncate(unanswered);
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
                // The seal's key is shorter.
                if let Ok(key) = <[u8; 16]>::try_from(&*key) {
                    let entry = Entry::decode(&value).ok_or(lsm_tree::Error::Unrecoverable);
                    let entry = entry.map(|entry| (u128::from_be_bytes(key), entry));
                    return Some(entry.map_err(IndexError::from));
                }
            }
        })
    }

    /// Writes entries, in the order of their fingerprints, and their seal to files that the tree does not know yet.
    ///
    /// By the tree's own way of writing a table, and not by its `ingestion`, whose tables' filters would be fetched
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

    /// Makes what was written a part of the tree: all of it or nothing.
    pub fn register(&self, written: &[Table]) -> Result<(), IndexError> {
        guard(|| self.tree.register_tables(written, None, None, &[], UNREAD))
    }

    /// Merges once, where there is something to merge; false where there was nothing, or [`Self::stop_merging`].
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

    /// Ends a merge under way within a moment; what it has written is removed at the next opening.
    pub fn stop_merging(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Tables that were not merged with others yet.
    pub fn unmerged(&self) -> usize {
        self.tree.l0_run_count()
    }
}

/// An identity that is looked up.
struct PendingLookup {
    key: [u8; 16],
    /// As the filters want it.
    hash: u64,
    /// Where its answer belongs.
    place: usize,
}

impl PendingLookup {
    /// Those without an answer, in the order of their keys.
    fn all(identities: &[u128], answers: &[Option<Entry>]) -> Vec<Self> {
        let places = 0..identities.len();
        let mut open: Vec<usize> = places.filter(|place| answers[*place].is_none()).collect();
        open.sort_unstable_by_key(|place| identities[*place]);
        let question = |place: usize| {
            let key = identities[place].to_be_bytes();
            let hash = Builder::get_hash(&key);
            Self { key, hash, place }
        };
        open.into_iter().map(question).collect()
    }

    /// Asks the one table of a run that may have it.
    fn ask(&self, table: Option<&Table>) -> lsm_tree::Result<Option<Entry>> {
        let Some(table) = table else {
            return Ok(None);
        };
        let found = table.get(&self.key, SeqNo::MAX, self.hash)?;
        found
            .map(|item| Entry::decode(&item.value).ok_or(lsm_tree::Error::Unrecoverable))
            .transpose()
    }
}

/// Whether the file that lists the tables is the one that was written. The tree writes its checksum into the file
/// `current`, behind its number, and does not look at it: a flaw there could take tables away without a word, or ask for
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

/// Whether the tree has one entry for each event up to its reach. What it has more are older seals.
fn is_whole(tree: &AnyTree, reach: i64) -> bool {
    let entries = usize::try_from(reach).unwrap_or(usize::MAX);
    let found = tree.approximate_len();
    (entries..=entries.saturating_add(tree.table_count())).contains(&found)
}

fn config(folder: &Path, sequences: SequenceNumberCounter, stop: Arc<AtomicBool>) -> Config {
    let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(FILTER_BITS));
    // Fingerprints are random: there is nothing to compress, and no part of an index or a filter is asked for more
    // often than another, so each is one piece and stays in memory.
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

/// The crate reports damage that it meets as an error, or panics where it did not think of it. Either is damage.
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

/// Ends merges: the crate's own signal is sent only when the tree is dropped, and then a merge looks at it rarely.
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
