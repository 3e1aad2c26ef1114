//! Blocks: a few entries in the order of their keys, encoded in the bytes of one row.
//!
//! Each entry is the length of the prefix that its key shares with the key before it, the length of the rest, the rest, the length
//! of the value, and the value. Lengths are variable-length integers as in Protocol Buffers.

use prost::encoding::{decode_varint, encode_varint};
use rusqlite::types::{FromSqlError, FromSqlResult};

use super::entries::Entry;

/// The size in bytes at which a block is full, by the size of the database's pages. A row of more than a quarter of a page needs a
/// page of its own, but blocks of this size seldom do.
pub(super) fn full(page_bytes: usize) -> usize {
    page_bytes / 4 - 124
}

/// A row's bytes are not a block.
#[derive(Debug, thiserror::Error)]
#[error("a block of topics is damaged")]
struct Damaged;

/// Encodes entries that are in the order of their keys, in blocks of at most `full` bytes and one entry more. Calls `write` with the
/// first key and the bytes of each block.
pub(super) fn encode<'a, E>(
    entries: impl Iterator<Item = Entry<'a>>,
    full: usize,
    mut write: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut block = Vec::with_capacity(2 * full);
    let mut first: &[u8] = &[];
    let mut before: &[u8] = &[];
    for (key, value) in entries {
        if block.is_empty() {
            (first, before) = (key, &[]);
        }
        let shared = before
            .iter()
            .zip(key)
            .take_while(|(one, other)| one == other)
            .count();
        let rest = &key[shared..];
        for length in [shared, rest.len()] {
            encode_varint(length as u64, &mut block);
        }
        block.extend_from_slice(rest);
        encode_varint(value.len() as u64, &mut block);
        block.extend_from_slice(value);
        before = key;
        if block.len() >= full {
            write(first, &block)?;
            block.clear();
        }
    }
    if block.is_empty() {
        return Ok(());
    }
    write(first, &block)
}

/// Decodes a block; returns whether `each` wanted all its entries.
pub(super) fn decode(
    mut block: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> bool,
) -> FromSqlResult<bool> {
    let mut key = Vec::new();
    while !block.is_empty() {
        let shared = length(&mut block)?;
        if shared > key.len() {
            return Err(damaged());
        }
        key.truncate(shared);
        key.extend_from_slice(text(&mut block)?);
        if !each(&key, text(&mut block)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The value of a key in a block.
pub(super) fn find(block: &[u8], key: &[u8]) -> FromSqlResult<Option<Vec<u8>>> {
    let mut found = None;
    decode(block, |other, value| {
        if other == key {
            found = Some(value.to_vec());
        }
        other < key
    })?;
    Ok(found)
}

fn length(block: &mut &[u8]) -> FromSqlResult<usize> {
    let length = decode_varint(block).map_err(|_| damaged())?;
    usize::try_from(length).map_err(|_| damaged())
}

/// Bytes with their length before them.
fn text<'a>(block: &mut &'a [u8]) -> FromSqlResult<&'a [u8]> {
    let length = length(block)?;
    let (text, rest) = block.split_at_checked(length).ok_or_else(damaged)?;
    *block = rest;
    Ok(text)
}

fn damaged() -> FromSqlError {
    FromSqlError::Other(Box::new(Damaged))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::sqlite::sorted_runs::Entries;

    fn blocks(entries: &Entries) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut blocks = Vec::new();
        let written: Result<(), ()> = encode(entries.iter(), full(4096), |first, block| {
            blocks.push((first.to_vec(), block.to_vec()));
            Ok(())
        });
        written.unwrap();
        blocks
    }

    proptest! {
        #[test]
        fn blocks_have_all_entries_and_begin_with_their_first_keys(
            pairs in prop::collection::btree_map("[ab]{0,9}", prop::collection::vec(any::<u8>(), 0..300), 0..60),
        ) {
            let mut entries = Entries::default();
            for (key, value) in &pairs {
                entries.push(key.as_bytes(), value);
            }
            let mut decoded = Entries::default();
            for (first, block) in blocks(&entries) {
                let before = decoded.len();
                let is_whole = decode(&block, |key, value| {
                    decoded.push(key, value);
                    true
                });
                prop_assert!(is_whole.unwrap());
                prop_assert_eq!(decoded.iter().nth(before).unwrap().0, first);
                for (key, value) in decoded.iter().skip(before) {
                    prop_assert_eq!(find(&block, key).unwrap(), Some(value.to_vec()));
                }
                prop_assert_eq!(find(&block, b"c").unwrap(), None);
            }
            prop_assert!(decoded.iter().eq(entries.iter()));
        }

        #[test]
        fn bytes_that_are_not_a_block_are_an_error_or_entries(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut found = 0;
            if decode(&bytes, |_, _| { found += 1; true }).is_err() {
                prop_assert!(found < bytes.len());
            }
        }
    }

    #[test]
    fn a_truncated_block_is_an_error() {
        let mut entries = Entries::default();
        entries.push(b"key", b"value");
        let block = blocks(&entries).pop().unwrap().1;
        for length in 1..block.len() {
            assert!(find(&block[..length], b"key").is_err(), "{length}");
        }
    }
}
