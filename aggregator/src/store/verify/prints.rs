//! The fingerprints of all events, sorted, in little memory: whether an identity is stored twice, whether the dedup index
//! has exactly these, and where an identity is stored.
//!
//! They are written to temporary files by their first byte while the events are read, then sorted file by file.
//! Fingerprints are uniform, so each file has one in 256 of them, 125 MiB at a thousand million events. This takes 32
//! bytes of room for each event in the directory for temporary files, and reads the events once; passes over them
//! for as many fingerprints as memory holds would take no room, and read everything again for each pass.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::fs::FileExt,
};

/// Files, one for each first byte.
const FILES: usize = 256;

/// Bytes gathered before they are written; the files' buffers are 16 MiB in all.
const GATHERED: usize = 64 * 1024;

/// Records of one read when an identity is looked up: 4 KiB.
const BLOCK: usize = 128;

const RECORD: usize = 32;

/// What is known of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub identity: u128,
    pub sequence: i64,
    pub content: u64,
}

/// Records as they come.
#[derive(Debug)]
pub(super) struct Unsorted(Vec<Part>);

#[derive(Debug, Default)]
struct Part {
    gathered: Vec<u8>,
    file: Option<File>,
}

/// Records in the order of their identities, for looking up.
#[derive(Debug)]
pub(super) struct Sorted {
    file: File,
    /// The first identity of each block.
    firsts: Vec<u128>,
    records: usize,
}

impl Unsorted {
    pub fn new() -> Self {
        Self((0..FILES).map(|_| Part::default()).collect())
    }

    pub fn push(&mut self, record: Record) -> io::Result<()> {
        let bytes = record.encode();
        let part = &mut self.0[usize::from(bytes[0])];
        part.gathered.extend_from_slice(&bytes);
        if part.gathered.len() < GATHERED {
            return Ok(());
        }
        let file = match &mut part.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.write_all(&part.gathered)?;
        part.gathered.clear();
        Ok(())
    }

    /// Hands on all of them in order, a part at a time. Records of one identity are always in one part.
    pub fn in_order<E: From<io::Error>>(
        self,
        mut each: impl FnMut(&[Record]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = Vec::new();
        let mut records: Vec<Record> = Vec::new();
        for part in self.0 {
            bytes.clear();
            if let Some(mut file) = part.file {
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
            }
            bytes.extend_from_slice(&part.gathered);
            records.clear();
            records.extend(bytes.chunks_exact(RECORD).map(Record::decode));
            records.sort_unstable();
            each(&records)?;
        }
        Ok(())
    }
}

impl Sorted {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile()?,
            firsts: Vec::new(),
            records: 0,
        })
    }

    /// Adds records that come after all that are there.
    pub fn extend(&mut self, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD);
        for record in records {
            if self.records.is_multiple_of(BLOCK) {
                self.firsts.push(record.identity);
            }
            self.records += 1;
            bytes.extend_from_slice(&record.encode());
        }
        self.file.write_all(&bytes)
    }

    /// All records of an identity.
    pub fn find(&self, identity: u128) -> io::Result<Vec<Record>> {
        let mut found = Vec::new();
        // The block before may end with it.
        let mut block = self.firsts.partition_point(|first| *first < identity);
        block = block.saturating_sub(1);
        while self
            .firsts
            .get(block)
            .is_some_and(|first| *first <= identity)
        {
            let from = block * BLOCK;
            let count = BLOCK.min(self.records - from);
            let mut bytes = [0; BLOCK * RECORD];
            let bytes = &mut bytes[..count * RECORD];
            self.file.read_exact_at(bytes, (from * RECORD) as u64)?;
            let key = identity.to_be_bytes();
            let mut low = 0;
            let mut high = count;
            while low < high {
                let middle = usize::midpoint(low, high);
                if bytes[middle * RECORD..][..16] < key[..] {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            let records = bytes[low * RECORD..].chunks_exact(RECORD);
            let records = records.map(Record::decode);
            found.extend(records.take_while(|record| record.identity == identity));
            block += 1;
        }
        Ok(found)
    }
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
    use super::*;

    /// Distinct numbers in every part of the range, and some of them often.
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

    #[test]
    fn they_come_back_in_order_from_memory_and_from_files() {
        for count in [0, 1, 1_000, 600_000] {
            let mut expected = records(count);
            let mut unsorted = Unsorted::new();
            for record in &expected {
                unsorted.push(*record).unwrap();
            }
            expected.sort_unstable();
            let mut found = Vec::new();
            let take = |records: &[Record]| {
                found.extend_from_slice(records);
                Ok::<_, io::Error>(())
            };
            unsorted.in_order(take).unwrap();
            assert!(found == expected, "{count}");
        }
    }

    #[test]
    fn each_is_found_however_many_share_an_identity_and_others_are_not() {
        let mut all = records(2_000);
        all.sort_unstable();
        let mut sorted = Sorted::new().unwrap();
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
}
