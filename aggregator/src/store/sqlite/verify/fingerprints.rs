//! The fingerprints of all events, sorted, in little memory: whether an identity is stored twice, whether the dedup index
//! has exactly these, and where an identity is stored.
//!
//! They are written to temporary files by their first byte while the events are read, then sorted file by file. A file
//! with more of them than are sorted at once is first split by the next byte, so that memory does not grow with the store.
//! This takes 32 bytes of room for each event in the directory for temporary files, and reads the events once; passes over
//! them for as many fingerprints as memory holds would take no room, and read everything again for each pass.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::unix::fs::FileExt,
};

use super::place::{Place, TemporaryError};

/// Files, one for each value of a byte.
const FILES: usize = 256;

/// Bytes gathered before they are written; the files' buffers are 16 MiB in all.
const GATHERED: usize = 64 * 1024;

/// Records that are sorted at once: 32 MiB.
const SORTED: usize = 1024 * 1024;

/// Bytes of an identity that files are split by, at most. More of them are equal only where an identity is stored often.
const SPLITS: usize = 4;

/// Records of one read: 4 KiB.
const BLOCK: usize = 128;

const RECORD: usize = 32;

/// Beginnings of identities whose places are remembered when they are sorted.
const PREFIXES: usize = 1 << 16;

/// What is known of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub identity: u128,
    pub sequence: i64,
    pub content: u64,
}

/// Records as they come.
#[derive(Debug)]
pub(super) struct Unsorted {
    place: Place,
    /// The byte of the identity by which they are parted.
    byte: usize,
    /// How many are sorted at once.
    most: usize,
    parts: Vec<Part>,
}

#[derive(Debug, Default)]
struct Part {
    records: usize,
    gathered: Vec<u8>,
    file: Option<File>,
}

/// Records in the order of their identities, for looking up.
#[derive(Debug)]
pub(super) struct Sorted {
    place: Place,
    file: File,
    /// For each beginning of an identity the number of the first record with it, or with a later one.
    firsts: Vec<u64>,
    records: u64,
}

impl Unsorted {
    pub fn new(place: Place) -> Self {
        Self::parted(place, 0, SORTED)
    }

    fn parted(place: Place, byte: usize, most: usize) -> Self {
        Self {
            place,
            byte,
            most,
            parts: (0..FILES).map(|_| Part::default()).collect(),
        }
    }

    pub fn push(&mut self, record: Record) -> Result<(), TemporaryError> {
        let bytes = record.encode();
        let part = &mut self.parts[usize::from(bytes[self.byte])];
        part.records += 1;
        part.gathered.extend_from_slice(&bytes);
        if part.gathered.len() < GATHERED {
            return Ok(());
        }
        let file = match &mut part.file {
            Some(file) => file,
            none => none.insert(self.place.file()?),
        };
        file.write_all(&part.gathered)
            .map_err(self.place.failed())?;
        part.gathered.clear();
        Ok(())
    }

    /// Hands on all of them in order, a part at a time. Records of one identity are always in one part.
    pub fn in_order<E: From<TemporaryError>>(
        self,
        mut each: impl FnMut(&[Record]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.hand_on(&mut each)
    }

    fn hand_on<E: From<TemporaryError>>(
        self,
        each: &mut dyn FnMut(&[Record]) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in self.parts {
            if part.records > self.most && self.byte + 1 < SPLITS {
                let mut split = Self::parted(self.place.clone(), self.byte + 1, self.most);
                part.read(&self.place, |record| split.push(record))?;
                split.hand_on(each)?;
            } else {
                let mut records = Vec::with_capacity(part.records);
                part.read(&self.place, |record| {
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

impl Part {
    /// Reads it once; its file is gone then.
    fn read(
        self,
        place: &Place,
        mut each: impl FnMut(Record) -> Result<(), TemporaryError>,
    ) -> Result<(), TemporaryError> {
        if let Some(mut file) = self.file {
            file.rewind().map_err(place.failed())?;
            let mut bytes = vec![0; GATHERED];
            // It was written in whole pieces, of which each has whole records.
            let mut left = self.records * RECORD - self.gathered.len();
            while left > 0 {
                let bytes = &mut bytes[..left.min(GATHERED)];
                file.read_exact(bytes).map_err(place.failed())?;
                left -= bytes.len();
                bytes
                    .chunks_exact(RECORD)
                    .map(Record::decode)
                    .try_for_each(&mut each)?;
            }
        }
        let rest = self.gathered.chunks_exact(RECORD);
        rest.map(Record::decode).try_for_each(each)
    }
}

impl Sorted {
    pub fn new(place: Place) -> Result<Self, TemporaryError> {
        Ok(Self {
            file: place.file()?,
            place,
            firsts: Vec::with_capacity(PREFIXES),
            records: 0,
        })
    }

    /// Adds records that come after all that are there.
    pub fn extend(&mut self, records: &[Record]) -> Result<(), TemporaryError> {
        for records in records.chunks(GATHERED / RECORD) {
            let mut bytes = Vec::with_capacity(GATHERED);
            for record in records {
                let prefix = prefix(record.identity);
                while self.firsts.len() <= prefix {
                    self.firsts.push(self.records);
                }
                self.records += 1;
                bytes.extend_from_slice(&record.encode());
            }
            self.file.write_all(&bytes).map_err(self.place.failed())?;
        }
        Ok(())
    }

    /// All records of an identity.
    pub fn find(&self, identity: u128) -> Result<Vec<Record>, TemporaryError> {
        let first = |prefix| self.firsts.get(prefix).copied().unwrap_or(self.records);
        let prefix = prefix(identity);
        let (mut low, mut high) = (first(prefix), first(prefix + 1));
        // What is before `low` is less; what is from `high` on is not.
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

    /// So many records at most.
    fn read(&self, from: u64, most: usize) -> Result<impl Iterator<Item = Record>, TemporaryError> {
        let left = usize::try_from(self.records - from).unwrap_or(usize::MAX);
        let mut bytes = [0; BLOCK * RECORD];
        let count = most.min(left);
        self.file
            .read_exact_at(&mut bytes[..count * RECORD], from * RECORD as u64)
            .map_err(self.place.failed())?;
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

    fn place() -> Place {
        Place::choose(Some(std::env::temp_dir()), Path::new(""))
    }

    #[test]
    fn they_come_back_in_order_from_memory_and_from_files() {
        for count in [0, 1, 1_000, 600_000] {
            let mut expected = records(count);
            let mut unsorted = Unsorted::new(place());
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
    fn each_is_found_however_many_share_an_identity_and_others_are_not() {
        let mut all = records(2_000);
        all.sort_unstable();
        let mut sorted = Sorted::new(place()).unwrap();
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
    fn no_more_are_sorted_at_once_than_memory_is_given_however_many_there_are() {
        let most = 100;
        for count in [1_000, 100_000] {
            let mut expected: Vec<_> = records(count)
                .into_iter()
                .filter(|record| record.sequence % 5 != 0)
                .collect();
            let mut unsorted = Unsorted::parted(place(), 0, most);
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
