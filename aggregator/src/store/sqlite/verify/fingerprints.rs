//! Sorts the fingerprints of all events in bounded memory. The order serves to detect identities that are stored twice, to
//! compare the dedup index, and to find the event with an identity.
//!
//! While the events are read, their fingerprints are written to temporary files by first byte; then each file is sorted. A
//! file with more records than are sorted in memory is first split by the next byte, so memory does not grow with the
//! store. This takes 32 bytes per event in the directory for temporary files, and reads the events once. The alternative,
//! several passes that each handle as many fingerprints as fit into memory, would take no disk space but read
//! everything in each pass.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::unix::fs::FileExt,
};

use super::temporary::{TemporaryDirectory, TemporaryError};

/// Files, one for each value of a byte.
const FILES: usize = 256;

/// Bytes buffered per file before they are written; all buffers together take 16 MiB.
const BUFFER: usize = 64 * 1024;

/// Records sorted in memory: 32 MiB.
const SORTED: usize = 1024 * 1024;

/// The maximum number of leading bytes of an identity by which files are split. More records agree in them only if one
/// identity is stored many times.
const SPLITS: usize = 4;

/// Records per read: 4 KiB.
const BLOCK: usize = 128;

/// Bytes of an encoded record.
const RECORD: usize = 32;

/// The number of prefixes of identities (16 bits) whose first record is remembered.
const PREFIXES: usize = 1 << 16;

/// The fingerprint of an event and its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub identity: u128,
    pub sequence: i64,
    pub content: u64,
}

/// Records in order of arrival.
#[derive(Debug)]
pub(super) struct Unsorted {
    directory: TemporaryDirectory,
    /// The byte of the identity by which the records are partitioned.
    byte: usize,
    /// The maximum number of records sorted in memory.
    most: usize,
    parts: Vec<Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    records: usize,
    buffer: Vec<u8>,
    file: Option<File>,
}

/// Records in order of identity, for lookups.
#[derive(Debug)]
pub(super) struct Sorted {
    directory: TemporaryDirectory,
    file: File,
    /// For each prefix of an identity, the index of the first record with this or a later prefix.
    firsts: Vec<u64>,
    records: u64,
}

impl Unsorted {
    pub fn new(directory: TemporaryDirectory) -> Self {
        Self::partitioned(directory, 0, SORTED)
    }

    fn partitioned(directory: TemporaryDirectory, byte: usize, most: usize) -> Self {
        Self {
            directory,
            byte,
            most,
            parts: (0..FILES).map(|_| Partition::default()).collect(),
        }
    }

    pub fn push(&mut self, record: Record) -> Result<(), TemporaryError> {
        let bytes = record.encode();
        let part = &mut self.parts[usize::from(bytes[self.byte])];
        part.records += 1;
        part.buffer.extend_from_slice(&bytes);
        if part.buffer.len() < BUFFER {
            return Ok(());
        }
        let file = match &mut part.file {
            Some(file) => file,
            none => none.insert(self.directory.file()?),
        };
        file.write_all(&part.buffer)
            .map_err(self.directory.failed())?;
        part.buffer.clear();
        Ok(())
    }

    /// Passes all records to `each` in order, one part at a time. Records with the same identity are always in the same part.
    pub fn in_order<E: From<TemporaryError>>(
        self,
        mut each: impl FnMut(&[Record]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pass_parts(&mut each)
    }

    fn pass_parts<E: From<TemporaryError>>(
        self,
        each: &mut dyn FnMut(&[Record]) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in self.parts {
            if part.records > self.most && self.byte + 1 < SPLITS {
                let mut split = Self::partitioned(self.directory.clone(), self.byte + 1, self.most);
                part.read(&self.directory, |record| split.push(record))?;
                split.pass_parts(each)?;
            } else {
                let mut records = Vec::with_capacity(part.records);
                part.read(&self.directory, |record| {
                    records.push(record);
                    Ok(())
                })?;
                records.sort_unstable();
                each(&records)?;
            }
        }
        Ok(())
    }
}

impl Partition {
    /// Reads the records and deletes the file.
    fn read(
        self,
        directory: &TemporaryDirectory,
        mut each: impl FnMut(Record) -> Result<(), TemporaryError>,
    ) -> Result<(), TemporaryError> {
        if let Some(mut file) = self.file {
            file.rewind().map_err(directory.failed())?;
            let mut bytes = vec![0; BUFFER];
            // The file was written in buffers of whole records.
            let mut left = self.records * RECORD - self.buffer.len();
            while left > 0 {
                let bytes = &mut bytes[..left.min(BUFFER)];
                file.read_exact(bytes).map_err(directory.failed())?;
                left -= bytes.len();
                bytes
                    .chunks_exact(RECORD)
                    .map(Record::decode)
                    .try_for_each(&mut each)?;
            }
        }
        let rest = self.buffer.chunks_exact(RECORD);
        rest.map(Record::decode).try_for_each(each)
    }
}

impl Sorted {
    pub fn new(directory: TemporaryDirectory) -> Result<Self, TemporaryError> {
        Ok(Self {
            file: directory.file()?,
            directory,
            firsts: Vec::with_capacity(PREFIXES),
            records: 0,
        })
    }

    /// Appends records, which must not be less than those already present.
    pub fn extend(&mut self, records: &[Record]) -> Result<(), TemporaryError> {
        for records in records.chunks(BUFFER / RECORD) {
            let mut bytes = Vec::with_capacity(BUFFER);
            for record in records {
                let prefix = prefix(record.identity);
                while self.firsts.len() <= prefix {
                    self.firsts.push(self.records);
                }
                self.records += 1;
                bytes.extend_from_slice(&record.encode());
            }
            self.file
                .write_all(&bytes)
                .map_err(self.directory.failed())?;
        }
        Ok(())
    }

    /// All records with an identity.
    pub fn find(&self, identity: u128) -> Result<Vec<Record>, TemporaryError> {
        let first = |prefix| self.firsts.get(prefix).copied().unwrap_or(self.records);
        let prefix = prefix(identity);
        let (mut low, mut high) = (first(prefix), first(prefix + 1));
        // Records before `low` are less than `identity`; records from `high` on are not.
        while high - low > BLOCK as u64 {
            let middle = u64::midpoint(low, high);
            let record = self.read(middle, 1)?.next();
            if record.is_some_and(|record| record.identity < identity) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found = Vec::new();
        while low < self.records {
            for record in self.read(low, BLOCK)? {
                if record.identity > identity {
                    return Ok(found);
                }
                if record.identity == identity {
                    found.push(record);
                }
            }
            low += BLOCK as u64;
        }
        Ok(found)
    }

    /// Reads at most `most` records starting at index `from`.
    fn read(&self, from: u64, most: usize) -> Result<impl Iterator<Item = Record>, TemporaryError> {
        let left = usize::try_from(self.records - from).unwrap_or(usize::MAX);
        let mut bytes = [0; BLOCK * RECORD];
        let count = most.min(left);
        self.file
            .read_exact_at(&mut bytes[..count * RECORD], from * RECORD as u64)
            .map_err(self.directory.failed())?;
        Ok((0..count).map(move |at| Record::decode(&bytes[at * RECORD..])))
    }
}

fn prefix(identity: u128) -> usize {
    usize::from((identity >> 112) as u16)
}

impl Record {
    fn encode(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..16].copy_from_slice(&self.identity.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..].copy_from_slice(&self.content.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let part = |from: usize| {
            bytes[from..]
                .first_chunk::<8>()
                .copied()
                .unwrap_or_default()
        };
        let identity = bytes.first_chunk::<16>().copied().unwrap_or_default();
        Self {
            identity: u128::from_be_bytes(identity),
            sequence: i64::from_be_bytes(part(16)),
            content: u64::from_be_bytes(part(24)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Records with distinct identities all over the range, and some identities that repeat.
    fn records(count: u64) -> Vec<Record> {
        let identity =
            |n: u64| u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let record = |n: u64| Record {
            identity: identity(if n.is_multiple_of(5) { n % 3 } else { n }),
            sequence: i64::try_from(n).unwrap(),
            content: n,
        };
        (1..=count).map(record).collect()
    }

    fn directory() -> TemporaryDirectory {
        TemporaryDirectory::choose(Some(std::env::temp_dir()), Path::new(""))
    }

    #[test]
    fn records_are_returned_in_order_from_memory_and_from_files() {
        for count in [0, 1, 1_000, 600_000] {
            let mut expected = records(count);
            let mut unsorted = Unsorted::new(directory());
            for record in &expected {
                unsorted.push(*record).unwrap();
            }
            expected.sort_unstable();
            let mut found = Vec::new();
            let take = |records: &[Record]| {
                found.extend_from_slice(records);
                Ok::<_, TemporaryError>(())
            };
            unsorted.in_order(take).unwrap();
            assert!(found == expected, "{count}");
        }
    }

    #[test]
    fn all_records_of_an_identity_are_found_and_no_others() {
        let mut all = records(2_000);
        all.sort_unstable();
        let mut sorted = Sorted::new(directory()).unwrap();
        for part in all.chunks(300) {
            sorted.extend(part).unwrap();
        }
        for record in &all {
            let same = all.iter().filter(|other| other.identity == record.identity);
            let found = sorted.find(record.identity).unwrap();
            assert!(found.iter().eq(same), "{record:?}");
            assert_eq!(sorted.find(record.identity + 1).unwrap(), []);
        }
    }

    #[test]
    fn parts_stay_within_the_memory_limit_for_any_number_of_records() {
        let most = 100;
        for count in [1_000, 100_000] {
            let mut expected: Vec<_> = records(count)
                .into_iter()
                .filter(|record| record.sequence % 5 != 0)
                .collect();
            let mut unsorted = Unsorted::partitioned(directory(), 0, most);
            for record in &expected {
                unsorted.push(*record).unwrap();
            }
            expected.sort_unstable();
            let mut found = Vec::new();
            let take = |records: &[Record]| {
                assert!(records.len() <= most);
                found.extend_from_slice(records);
                Ok::<_, TemporaryError>(())
            };
            unsorted.in_order(take).unwrap();
            assert!(found == expected, "{count}");
        }
    }
}
