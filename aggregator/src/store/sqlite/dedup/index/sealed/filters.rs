//! The filters of the tree's tables in memory: as many as fit, those of the upper levels first, because every lookup passes
//! them. Those of the other tables are read in parts, at each lookup, through the tree's block cache.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use lsm_tree::{
    AbstractTree, AnyTree, CompressionType, Table, TableId,
    table::{
        Block, BlockHandle, IndexBlock, block::BlockType,
        filter::standard_bloom::StandardBloomFilterReader,
    },
};

use super::lookup::Pending;
use crate::store::query::FilterSizes;

/// Filters by table.
pub(super) type Resident = HashMap<TableId, Arc<Filter>>;

/// The filters in memory.
pub(super) struct Filters {
    /// The bytes that they, and the block indexes that the tree keeps in memory, may take.
    most: u64,
    resident: RwLock<Arc<Resident>>,
    /// Held while they are exchanged.
    exchange: Mutex<()>,
}

/// The filter of a table: one part for each range of keys, or a single one in tables of earlier versions.
pub(super) struct Filter {
    /// The last key of each part.
    ends: Vec<u128>,
    /// Where each part begins, and the end of the last one.
    starts: Vec<usize>,
    bytes: Vec<u8>,
}

impl Filters {
    pub fn new(most: u64) -> Self {
        Self {
            most,
            resident: RwLock::default(),
            exchange: Mutex::default(),
        }
    }

    pub fn resident(&self) -> Arc<Resident> {
        let resident = self.resident.read();
        Arc::clone(&resident.unwrap_or_else(PoisonError::into_inner))
    }

    /// Drops the filters of tables that are no longer in the tree, and reads those that fit, from the top level on.
    pub fn refresh(&self, tree: &AnyTree) -> lsm_tree::Result<()> {
        let exchange = self.exchange.lock();
        let _exchange = exchange.unwrap_or_else(PoisonError::into_inner);
        let version = tree.current_version();
        let tables: Vec<&Table> = version.iter_tables().collect();
        let indexes = tables.iter().map(|table| table.pinned_block_index_size());
        let mut room = self.most.saturating_sub(indexes.sum::<usize>() as u64);
        let fitting = tables.iter().take_while(|table| {
            let is_fitting = size(table) <= room;
            room = room.saturating_sub(size(table));
            is_fitting
        });
        let fitting = &tables[..fitting.count()];
        // The others are dropped before further ones are read, so that both together are not above the limit.
        let old = self.resident();
        let kept = fitting.iter().filter_map(|table| {
            let filter = old.get(&table.id())?;
            Some((table.id(), Arc::clone(filter)))
        });
        let mut resident: Resident = kept.collect();
        self.exchange(&resident);
        drop(old);
        for table in fitting {
            if let Entry::Vacant(entry) = resident.entry(table.id()) {
                entry.insert(Arc::new(Filter::read(table)?));
            }
        }
        self.exchange(&resident);
        Ok(())
    }

    fn exchange(&self, resident: &Resident) {
        let mut slot = self
            .resident
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(resident.clone());
    }

    /// The size of all filters, and of those in memory.
    pub fn sizes(&self, tree: &AnyTree) -> FilterSizes {
        let resident = self.resident();
        FilterSizes {
            all: tree.current_version().iter_tables().map(size).sum(),
            in_memory: resident
                .values()
                .map(|filter| filter.bytes.len() as u64)
                .sum(),
        }
    }
}

fn size(table: &Table) -> u64 {
    table.filter_size().into()
}

impl Filter {
    /// Reads the filter of a table, and checks it against its checksums.
    fn read(table: &Table) -> lsm_tree::Result<Self> {
        let mut filter = Self {
            ends: Vec::new(),
            starts: vec![0],
            bytes: Vec::new(),
        };
        let Some(region) = table.regions.filter else {
            return Err(lsm_tree::Error::Unrecoverable);
        };
        let file = File::open(&*table.path)?;
        filter.bytes.reserve_exact(region.size() as usize);
        let Some(parts) = table.regions.filter_tli else {
            filter.add(u128::MAX, &file, region)?;
            return Ok(filter);
        };
        let parts = Block::from_file(&file, parts, CompressionType::None)?;
        expect(&parts, BlockType::Index)?;
        let parts = IndexBlock::new(parts);
        for part in parts.iter() {
            let end = &parts.as_slice()[part.end_key.0..part.end_key.1];
            // A part with nothing but the seal, whose key is shorter, has no fingerprints.
            if let Ok(end) = <[u8; 16]>::try_from(end) {
                let part = BlockHandle::new(part.offset, part.size);
                filter.add(u128::from_be_bytes(end), &file, part)?;
            }
        }
        Ok(filter)
    }

    fn add(&mut self, end: u128, file: &File, part: BlockHandle) -> lsm_tree::Result<()> {
        let part = Block::from_file(file, part, CompressionType::None)?;
        expect(&part, BlockType::Filter)?;
        self.bytes.extend_from_slice(&part.data);
        self.ends.push(end);
        self.starts.push(self.bytes.len());
        Ok(())
    }

    /// Calls `each` with those that the table may have; `pending` is in the order of the identities.
    pub fn each_possible<'a>(
        &self,
        mut pending: &'a [Pending],
        mut each: impl FnMut(&'a Pending),
    ) -> lsm_tree::Result<()> {
        while let Some(first) = pending.first() {
            let part = self.ends.partition_point(|end| *end < first.identity);
            let Some(end) = self.ends.get(part) else {
                break;
            };
            let in_part = pending.iter().take_while(|one| one.identity <= *end);
            let (in_part, others) = pending.split_at(in_part.count());
            let bytes = &self.bytes[self.starts[part]..self.starts[part + 1]];
            let filter = StandardBloomFilterReader::new(bytes)?;
            let possible = in_part.iter().filter(|one| filter.contains_hash(one.hash));
            possible.for_each(&mut each);
            pending = others;
        }
        Ok(())
    }
}

fn expect(block: &Block, kind: BlockType) -> lsm_tree::Result<()> {
    if block.header.block_type == kind {
        return Ok(());
    }
    Err(lsm_tree::Error::Unrecoverable)
}
