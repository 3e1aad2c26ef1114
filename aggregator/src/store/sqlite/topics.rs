//! The topics in the file: their names, and the counts, times and digest of each, its state.
//!
//! Names are rows in the order of their ids, which are consecutive from 1. The ids by name, and the states by id, change with every
//! batch in many places, so they are in sorted runs.

pub mod chain;
pub mod visible;

use prost::encoding::{decode_varint, encode_varint};
use rusqlite::{
    Connection, OptionalExtension,
    fallible_streaming_iterator::FallibleStreamingIterator,
    types::{FromSqlError, FromSqlResult},
};

use self::digest::Digest;
use super::sorted_runs::{Entries, SortedRuns, Tree};
pub(in crate::store) use crate::store::digest;

/// The states by id.
pub(in crate::store) const STATES: Tree = Tree("topic_states");

/// The ids by name.
pub(in crate::store) const NAMES: Tree = Tree("topic_names");

/// The counts, times and digest of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct TopicState {
    pub id: i64,
    pub unique: u64,
    pub duplicates: u64,
    pub digest: Digest,
    /// When its first event was applied.
    pub first_at: i64,
    /// When its latest event was applied, duplicates included.
    pub last_at: i64,
    /// The sequence of its last event, or 0: where the chain of `previous` begins.
    pub last_sequence: i64,
}

/// The bytes of a tree are not those of a topic.
#[derive(Debug, thiserror::Error)]
#[error("the state of a topic is damaged")]
struct Damaged;

impl TopicState {
    /// A topic before its first event.
    pub fn new(id: i64, now: i64) -> Self {
        Self {
            id,
            unique: 0,
            duplicates: 0,
            digest: Digest::default(),
            first_at: now,
            last_at: now,
            last_sequence: 0,
        }
    }

    /// Its events, duplicates included.
    pub fn received(&self) -> u64 {
        self.unique + self.duplicates
    }

    /// Adds the entry of the tree of states.
    pub fn push(&self, entries: &mut Entries) {
        let Self {
            id,
            unique,
            duplicates,
            digest,
            first_at,
            last_at,
            last_sequence,
        } = self;
        entries.push_with(&id_key(*id), |bytes| {
            bytes.extend_from_slice(&digest.to_bytes());
            let times = [first_at, last_at, last_sequence].map(|time| time.cast_unsigned());
            for number in [*unique, *duplicates].into_iter().chain(times) {
                encode_varint(number, bytes);
            }
        });
    }

    fn decode(key: &[u8], mut value: &[u8]) -> FromSqlResult<Self> {
        let id = i64::from_be_bytes(key.try_into().map_err(|_| damaged())?);
        let (digest, rest) = value.split_first_chunk().ok_or_else(damaged)?;
        value = rest;
        let mut number = || decode_varint(&mut value).map_err(|_| damaged());
        let state = Self {
            id,
            digest: Digest::from_bytes(*digest),
            unique: number()?,
            duplicates: number()?,
            first_at: number()?.cast_signed(),
            last_at: number()?.cast_signed(),
            last_sequence: number()?.cast_signed(),
        };
        if !value.is_empty() {
            return Err(damaged());
        }
        Ok(state)
    }
}

/// Adds the entry of the tree of names.
pub(in crate::store) fn push_name(entries: &mut Entries, name: &str, id: i64) {
    entries.push_with(name.as_bytes(), |bytes| {
        encode_varint(id.cast_unsigned(), bytes);
    });
}

/// The topics as of one transaction.
#[derive(Debug)]
pub(in crate::store) struct StoredTopics<'a> {
    read: &'a Connection,
    names: SortedRuns<'a>,
    states: SortedRuns<'a>,
}

impl<'a> StoredTopics<'a> {
    /// The topics as of the connection's current transaction.
    pub fn open(read: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            read,
            names: SortedRuns::open(read, NAMES)?,
            states: SortedRuns::open(read, STATES)?,
        })
    }

    /// The topic with a name.
    pub fn named(&self, name: &str) -> rusqlite::Result<Option<TopicState>> {
        match self.names.get(name.as_bytes())? {
            Some(id) => self.state(decode_id(&id)?),
            None => Ok(None),
        }
    }

    /// The topic with an id.
    pub fn state(&self, id: i64) -> rusqlite::Result<Option<TopicState>> {
        let key = id_key(id);
        let state = self.states.get(&key)?;
        Ok(state
            .map(|state| TopicState::decode(&key, &state))
            .transpose()?)
    }

    /// The name of the topic with an id.
    pub fn name(&self, id: i64) -> rusqlite::Result<Option<String>> {
        self.read
            .prepare_cached("SELECT name FROM topics WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()
    }

    /// Calls `each` for the topics after an id, in the order of their ids, until it returns that it wants no more.
    pub fn after(
        &self,
        id: i64,
        mut each: impl FnMut(&TopicState, &str) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let mut names = self
            .read
            .prepare_cached("SELECT id, name FROM topics WHERE id > ?1 ORDER BY id")?;
        let mut names = names.query([id])?;
        names.advance()?;
        self.states.ascending(&id_key(id + 1), |key, value| {
            let state = TopicState::decode(key, value)?;
            while let Some(row) = names.get() {
                let id: i64 = row.get(0)?;
                if id == state.id {
                    return each(&state, row.get_ref(1)?.as_str()?);
                }
                if id > state.id {
                    break;
                }
                names.advance()?;
            }
            // In a store that is not damaged, each topic has a name and a state.
            Ok(true)
        })
    }

    /// Calls `each` for the names after another one, in order, with the ids of the topics, until it returns that it wants no more.
    pub fn names_after(
        &self,
        name: &str,
        each: impl FnMut(&str, i64) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let mut from = name.as_bytes().to_vec();
        // The next larger one.
        from.push(0);
        self.names_from(&from, each)
    }

    fn names_from(
        &self,
        from: &[u8],
        mut each: impl FnMut(&str, i64) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        self.names
            .ascending(from, |name, id| each(decode_name(name)?, decode_id(id)?))
    }

    /// The same for all names, in reverse order.
    pub fn names_descending(
        &self,
        mut each: impl FnMut(&str, i64) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        self.names
            .descending(|name, id| each(decode_name(name)?, decode_id(id)?))
    }
}

/// Big-endian, so that the keys are in the order of the ids.
fn id_key(id: i64) -> [u8; 8] {
    id.to_be_bytes()
}

fn decode_id(mut value: &[u8]) -> FromSqlResult<i64> {
    let id = decode_varint(&mut value).map_err(|_| damaged())?;
    Ok(id.cast_signed())
}

fn decode_name(key: &[u8]) -> FromSqlResult<&str> {
    std::str::from_utf8(key).map_err(|_| damaged())
}

fn damaged() -> FromSqlError {
    FromSqlError::Other(Box::new(Damaged))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_state_is_read_as_it_was_written(
            id in 1..i64::MAX,
            counts in any::<[u64; 2]>(),
            times in any::<[i64; 3]>(),
            digest in any::<[u8; 16]>(),
        ) {
            let state = TopicState {
                id,
                unique: counts[0],
                duplicates: counts[1],
                digest: Digest::from_bytes(digest),
                first_at: times[0],
                last_at: times[1],
                last_sequence: times[2],
            };
            let mut entries = Entries::default();
            state.push(&mut entries);
            let (key, value) = entries.iter().next().unwrap();
            prop_assert_eq!(TopicState::decode(key, value).unwrap(), state);
            for length in 0..value.len() {
                prop_assert!(TopicState::decode(key, &value[..length]).is_err());
            }
        }
    }
}
