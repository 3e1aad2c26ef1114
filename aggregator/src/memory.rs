//! The memory limit of the service, and its division into shares.
//!
//! What requests and batches need temporarily is bounded and set aside. The dedup index gets the rest: with less of it, filters
//! are read from the page cache or the disk instead, which is slower.

use shared::publish::MAX_UNCONFIRMED_BYTES;

use crate::machine::Machine;

const MIB: u64 = 1024 * 1024;

/// The least that can be divided.
pub const LEAST: u64 = 192 * MIB;

/// The highest default.
pub const MOST_BY_DEFAULT: u64 = 2048 * MIB;

/// What every process has: the program, its threads and connections, and what the allocator keeps.
const BASE: u64 = 48 * MIB;

/// Large responses in memory, which have a bound of their own.
const RESPONSES: u64 = 16 * MIB;

/// Batches of messages in memory: three in the store and the one that is gathered.
const BATCHES: u64 = 4;

/// Pull requests whose messages may be in memory.
const PULLS: u64 = 2;

/// Connections that read the store: four for queries, eight for the rows of conflicts.
const READERS: u64 = 12;

/// Bytes of a slot of a table of the dedup index; at most seven in eight slots are used.
const SLOT: u64 = 33;

/// The shares, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// The whole limit.
    pub total: u64,
    /// Request bodies in flight.
    pub bodies: u64,
    /// Messages of one batch, as they are encoded and decoded.
    pub batch: u64,
    /// Messages of one pull request.
    pub pull: u64,
    /// What the store takes.
    pub store: OfStore,
}

/// The shares of the store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfStore {
    /// The database pages that the writer caches.
    pub writer_pages: u64,
    /// The database pages that each reading connection caches.
    pub reader_pages: u64,
    /// The states of topics that the writer caches.
    pub topics: u64,
    /// The dedup index.
    pub index: OfIndex,
}

/// The shares of the dedup index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfIndex {
    /// Entries at which a table in memory is sealed. A batch of up to an eighth of the slots more does not double it.
    pub table_entries: usize,
    /// Full tables that may wait to be sealed before the writer waits.
    pub sealing: usize,
    /// The size of the tables on disk, in bytes.
    pub table_bytes: u64,
    /// Seals that are searched one by one before they are merged. More make merging cheaper and lookups more expensive; the
    /// smaller they are, the more of them are worthwhile.
    pub unmerged: u8,
    /// Blocks of tables that are cached, in bytes.
    pub blocks: u64,
    /// Filters and block indexes in memory, in bytes.
    pub filters: u64,
}

/// The limit by default: half of the machine's memory or of the limit of the process, within bounds.
#[must_use]
pub fn by_default(machine: &Machine) -> u64 {
    let limits = [machine.memory_bytes, machine.memory_limit_bytes];
    let least = limits.into_iter().flatten().min();
    least.map_or(MOST_BY_DEFAULT, |bytes| {
        (bytes / 2).clamp(LEAST, MOST_BY_DEFAULT)
    })
}

impl Shares {
    /// Divides `total` bytes, which are at least [`LEAST`].
    #[must_use]
    pub fn of(total: u64) -> Self {
        let share =
            |divisor: u64, least: u64, most: u64| (total / divisor).clamp(least * MIB, most * MIB);
        let (slots, sealing, table_bytes, unmerged) = match total / MIB {
            ..320 => (1 << 18, 1, 32 * MIB, 12),
            320..768 => (1 << 19, 2, 32 * MIB, 8),
            768.. => (1 << 20, 3, 64 * MIB, 4),
        };
        let mut shares = Self {
            total,
            bodies: share(12, 32, 64),
            batch: share(96, 2, 10),
            pull: share(48, 4, 8),
            store: OfStore {
                writer_pages: share(48, 4, 16),
                reader_pages: share(1024, 0, 2).max(MIB / 4),
                // Half a million topics take about 80 MiB.
                topics: (6 * MIB + (total - LEAST) / 8).min(256 * MIB),
                index: OfIndex {
                    table_entries: slots * 7 / 8 - slots / 64,
                    sealing,
                    table_bytes,
                    unmerged,
                    blocks: share(24, 8, 64),
                    filters: 0,
                },
            },
        };
        shares.store.index.filters = total.saturating_sub(shares.reserved());
        shares
    }

    /// Everything but the filters.
    fn reserved(&self) -> u64 {
        let Self {
            total: _,
            bodies,
            batch,
            pull,
            store:
                OfStore {
                    writer_pages,
                    reader_pages,
                    topics,
                    index,
                },
        } = *self;
        BASE + bodies
            + MAX_UNCONFIRMED_BYTES as u64
            + RESPONSES
            + BATCHES * batch
            + PULLS * pull
            + writer_pages
            + READERS * reader_pages
            + topics
            + index.tables()
            + index.blocks
    }
}

impl OfIndex {
    /// Without filters and with hardly any cache, for reading everything once.
    pub const FOR_SCANS: Self = Self {
        table_entries: 0,
        sealing: 0,
        table_bytes: 64 * MIB,
        unmerged: 4,
        blocks: MIB,
        filters: 0,
    };

    /// The bytes of the tables in memory: the one that is filled, those that wait, and an eighth of one while it is sorted.
    fn tables(&self) -> u64 {
        let table = (self.table_entries as u64 * 8 / 7).next_power_of_two() * SLOT;
        (1 + self.sealing as u64) * table + table / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(memory: Option<u64>, limit: Option<u64>) -> Machine {
        Machine {
            system: String::new(),
            cpus: None,
            memory_bytes: memory,
            memory_limit_bytes: limit,
            resident_bytes: None,
        }
    }

    #[test]
    fn half_of_the_smaller_limit_is_taken_within_bounds() {
        let gib = 1024 * MIB;
        for (memory, limit, expected) in [
            (Some(8 * gib), Some(512 * MIB), 256 * MIB),
            (Some(gib), None, 512 * MIB),
            (Some(gib), Some(64 * gib), 512 * MIB),
            (Some(256 * MIB), None, LEAST),
            (Some(64 * gib), None, 2 * gib),
            (None, None, 2 * gib),
        ] {
            assert_eq!(by_default(&machine(memory, limit)), expected);
        }
    }

    #[test]
    fn all_of_it_is_divided_and_more_never_makes_a_share_smaller() {
        let mut before = Shares::of(LEAST);
        for total in (LEAST / MIB..4096).map(|mebibytes| mebibytes * MIB) {
            let shares = Shares::of(total);
            let filters = shares.store.index.filters;
            assert_eq!(shares.reserved() + filters, total);
            assert!(filters >= 4 * MIB, "{shares:?}");
            let OfStore {
                writer_pages,
                reader_pages,
                topics,
                index,
            } = shares.store;
            let OfIndex {
                table_entries,
                sealing,
                table_bytes,
                unmerged: _,
                blocks,
                filters: _,
            } = index;
            assert!(shares.bodies >= before.bodies && shares.batch >= before.batch);
            assert!(shares.pull >= before.pull && topics >= before.store.topics);
            assert!(writer_pages >= before.store.writer_pages);
            assert!(reader_pages >= before.store.reader_pages);
            let smaller = before.store.index;
            assert!(table_entries >= smaller.table_entries && sealing >= smaller.sealing);
            assert!(table_bytes >= smaller.table_bytes && blocks >= smaller.blocks);
            before = shares;
        }
    }

    #[test]
    fn the_readme_shows_the_shares() {
        let readme = include_str!("../README.md");
        let columns = [192, 384, 1024, 2048].map(|mebibytes| Shares::of(mebibytes * MIB));
        let row = |name: &str, share: &dyn Fn(&Shares) -> u64| {
            let figures = columns.each_ref().map(|shares| {
                let tenths = share(shares) * 10 / MIB;
                format!(" {}.{} |", tenths / 10, tenths % 10).replace(".0 |", " |")
            });
            format!("| {name} |{}", figures.concat())
        };
        let rows = [
            row("the program, its threads and connections", &|_| BASE),
            row("request bodies in flight", &|shares| shares.bodies),
            row("unconfirmed publishes", &|_| MAX_UNCONFIRMED_BYTES as u64),
            row("messages pulled ahead, and batches", &|shares| {
                PULLS * shares.pull + BATCHES * shares.batch
            }),
            row("large responses", &|_| RESPONSES),
            row("pages of the database", &|shares| {
                shares.store.writer_pages + READERS * shares.store.reader_pages
            }),
            row("topics", &|shares| shares.store.topics),
            row("dedup index: recent entries", &|shares| {
                shares.store.index.tables()
            }),
            row("dedup index: blocks of its tables", &|shares| {
                shares.store.index.blocks
            }),
            row("dedup index: filters", &|shares| shares.store.index.filters),
        ];
        for row in rows {
            assert!(readme.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_table_has_room_for_a_large_batch_beyond_its_entries() {
        for total in [LEAST, 384 * MIB, 1024 * MIB] {
            let index = Shares::of(total).store.index;
            let slots = (index.table_entries as u64 * 8 / 7).next_power_of_two();
            assert!(slots * 7 / 8 - index.table_entries as u64 >= 4_000);
        }
    }
}
