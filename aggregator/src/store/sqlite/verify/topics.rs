//! The topics of a verification, with the recorded and the recounted values of each, in memory that does not grow with the
//! number of topics.
//!
//! All topics are in a temporary database; a cache in memory has those used since it was last emptied. When the cache is
//! full, its changes are written back and it is emptied. That costs a frequent topic one read, and a store with few topics
//! nothing.

use std::collections::{HashMap, hash_map::Entry};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::temporary::{TemporaryDirectory, TemporaryError};
use crate::store::sqlite::topics::{TopicState, digest::Digest};

/// The maximum number of topics in the cache. A name has at most 255 bytes, so they take at most 35 MiB, including the
/// write-back.
pub(super) const CACHED: usize = 65_536;

/// A topic that events refer to but the store does not have is a row with an id and counts, but without a name.
///
/// The transaction is never committed, so pages are written to the file only when they do not fit into SQLite's cache.
const SCHEMA: &str = "BEGIN; CREATE TABLE topics ( \
     id INTEGER PRIMARY KEY, name TEXT, unique_processed INTEGER, duplicate_dropped INTEGER, \
     digest BLOB, last_sequence INTEGER, \
     counted_unique INTEGER NOT NULL, counted_digest BLOB NOT NULL, \
     counted_last_sequence INTEGER NOT NULL, counted_received INTEGER NOT NULL)";

/// The digest has its final size from the start, so that rows hardly grow when counts are written back. A damaged table
/// may contain an id twice, which must not appear as an error of the temporary database.
const INSERT: &str =
    "INSERT OR IGNORE INTO topics VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, zeroblob(16), 0, 0)";

const SAVE: &str = "INSERT INTO topics \
     (id, counted_unique, counted_digest, counted_last_sequence, counted_received) \
     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET counted_unique = ?2, \
     counted_digest = ?3, counted_last_sequence = ?4, counted_received = ?5";

/// A topic as the store has it.
#[derive(Debug)]
pub(super) struct TopicRecord {
    pub name: String,
    pub unique: u64,
    pub duplicates: u64,
    pub digest: Digest,
    pub last_sequence: i64,
}

/// The recounted values of a topic.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub unique: u64,
    pub digest: Digest,
    pub last_sequence: i64,
    /// Its events in the compared messages, including duplicates.
    pub received: u64,
}

/// A topic in the cache.
#[derive(Debug)]
pub(super) struct Topic {
    /// `None` if the store does not have the topic.
    name: Option<Box<str>>,
    counted: Counted,
    /// Whether the count in the database is outdated.
    is_changed: bool,
}

/// All topics.
#[derive(Debug)]
pub(super) struct Topics {
    directory: TemporaryDirectory,
    file: Connection,
    recorded: u64,
    /// By id.
    cached: HashMap<i64, Topic>,
    most: usize,
}

impl TopicRecord {
    /// Its events, duplicates included.
    pub fn received(&self) -> u64 {
        self.unique + self.duplicates
    }

    /// Reads a row of the temporary database.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get(1)?,
            unique: row.get(2)?,
            duplicates: row.get(3)?,
            digest: Digest::from_bytes(row.get(4)?),
            last_sequence: row.get(5)?,
        })
    }
}

impl Counted {
    /// Reads a complete row of the temporary database.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            unique: row.get(6)?,
            digest: Digest::from_bytes(row.get(7)?),
            last_sequence: row.get(8)?,
            received: row.get(9)?,
        })
    }
}

impl Topic {
    /// The name, if the store has the topic.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The name for display, or the id if there is no name.
    pub fn label(&self, id: i64) -> String {
        match &self.name {
            Some(name) => format!("{name:?}"),
            None => format!("number {id}"),
        }
    }

    /// The counts, to be changed.
    pub fn count(&mut self) -> &mut Counted {
        self.is_changed = true;
        &mut self.counted
    }
}

impl Topics {
    /// Creates an empty set, which keeps at most `most` topics in the cache.
    pub fn new(directory: TemporaryDirectory, most: usize) -> Result<Self, TemporaryError> {
        let file = directory.database()?;
        file.execute_batch(SCHEMA).map_err(directory.failed())?;
        Ok(Self {
            directory,
            file,
            recorded: 0,
            cached: HashMap::new(),
            most,
        })
    }

    /// Adds a topic of the store.
    pub fn add(&mut self, topic: &TopicState, name: &str) -> Result<(), TemporaryError> {
        let insert = || {
            self.file.prepare_cached(INSERT)?.execute(params![
                topic.id,
                name,
                topic.unique,
                topic.duplicates,
                topic.digest.to_bytes(),
                topic.last_sequence,
            ])
        };
        let added = insert().map_err(self.directory.failed())?;
        self.recorded += added as u64;
        Ok(())
    }

    /// The number of topics in the store.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// A topic, which the store need not have.
    pub fn get(&mut self, id: i64) -> Result<&mut Topic, TemporaryError> {
        if self.cached.len() >= self.most && !self.cached.contains_key(&id) {
            self.write_back()?;
        }
        Ok(match self.cached.entry(id) {
            Entry::Occupied(cached) => cached.into_mut(),
            Entry::Vacant(vacant) => {
                let topic = read(&self.file, id).map_err(self.directory.failed())?;
                vacant.insert(topic)
            }
        })
    }

    /// Calls `each` for every topic of the store, in order of id.
    pub fn each(
        &mut self,
        mut each: impl FnMut(&TopicRecord, &Counted),
    ) -> Result<(), TemporaryError> {
        self.rows("name IS NOT NULL", |row| {
            each(&TopicRecord::read(row)?, &Counted::read(row)?);
            Ok(())
        })
    }

    /// Calls `each` for every topic that was counted but is not in the store, in order of id.
    pub fn each_absent(
        &mut self,
        mut each: impl FnMut(i64, &Counted),
    ) -> Result<(), TemporaryError> {
        self.rows("name IS NULL", |row| {
            each(row.get(0)?, &Counted::read(row)?);
            Ok(())
        })
    }

    fn rows(
        &mut self,
        filter: &str,
        mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), TemporaryError> {
        self.write_back()?;
        let sql = format!("SELECT * FROM topics WHERE {filter} ORDER BY id");
        let mut read = || {
            let mut statement = self.file.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(row)?;
            }
            Ok(())
        };
        read().map_err(self.directory.failed::<rusqlite::Error>())
    }

    /// Writes changes back and empties the cache. Rows are written in order of id, so that each page is changed once.
    fn write_back(&mut self) -> Result<(), TemporaryError> {
        let changed = self.cached.iter().filter(|(_, topic)| topic.is_changed);
        let mut changed: Vec<_> = changed.map(|(id, topic)| (*id, topic.counted)).collect();
        changed.sort_unstable_by_key(|(id, _)| *id);
        let save = || {
            let mut statement = self.file.prepare_cached(SAVE)?;
            for (id, counted) in &changed {
                statement.execute(params![
                    id,
                    counted.unique,
                    counted.digest.to_bytes(),
                    counted.last_sequence,
                    counted.received,
                ])?;
            }
            Ok(())
        };
        save().map_err(self.directory.failed::<rusqlite::Error>())?;
        self.cached.clear();
        Ok(())
    }
}

fn read(file: &Connection, id: i64) -> rusqlite::Result<Topic> {
    let mut statement = file.prepare_cached("SELECT * FROM topics WHERE id = ?1")?;
    let found = statement.query_row([id], |row| Ok((row.get(1)?, Counted::read(row)?)));
    let (name, counted) = found.optional()?.unwrap_or_default();
    Ok(Topic {
        name,
        counted,
        is_changed: false,
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;

    const RECORDED: i64 = 100;

    fn topics(most: usize) -> Topics {
        let directory = TemporaryDirectory::choose(Some(std::env::temp_dir()), Path::new(""));
        Topics::new(directory, most).unwrap()
    }

    fn state(id: i64) -> TopicState {
        let number = id.unsigned_abs();
        TopicState {
            unique: number + 1,
            duplicates: number + 2,
            digest: Digest::from_bytes([7; 16]),
            last_sequence: id + 3,
            ..TopicState::new(id, 0)
        }
    }

    fn add(topics: &mut Topics, id: i64) -> Result<(), TemporaryError> {
        topics.add(&state(id), &format!("t{id}"))
    }

    #[test]
    fn counts_survive_any_order_of_topics_while_the_cache_stays_within_its_bound() {
        let most = 10;
        let mut topics = topics(most);
        for id in 1..=RECORDED {
            add(&mut topics, id).unwrap();
        }
        add(&mut topics, 7).unwrap();
        let mut counted = BTreeMap::new();
        for step in 1..10_000_i64 {
            let id = step * step % 131 - 10;
            let topic = topics.get(id).unwrap();
            let is_recorded = (1..=RECORDED).contains(&id);
            let name = is_recorded.then(|| format!("t{id}"));
            assert_eq!(topic.name(), name.as_deref());
            // A topic that is only read is not written back.
            if step % 3 == 0 {
                let count = topic.count();
                count.unique += 1;
                count.received += 2;
                count.last_sequence = step;
                count.digest = Digest::from_bytes(i128::from(step).to_le_bytes());
                let expected: &mut (u64, i64) = counted.entry(id).or_default();
                *expected = (expected.0 + 1, step);
            }
            assert!(topics.cached.len() <= most);
        }
        assert_eq!(topics.recorded(), RECORDED.unsigned_abs());
        let is_right = |found: &Counted, (unique, step): (u64, i64)| {
            let digest = Digest::from_bytes(i128::from(step).to_le_bytes());
            (found.unique, found.received) == (unique, 2 * unique)
                && (found.last_sequence, found.digest) == (step, digest)
        };
        let mut next = 1;
        let each = |found: &TopicRecord, count: &Counted| {
            let expected = state(next);
            assert_eq!(found.name, format!("t{next}"));
            assert_eq!(
                (found.unique, found.duplicates),
                (expected.unique, expected.duplicates)
            );
            assert_eq!(
                (found.digest, found.last_sequence),
                (expected.digest, expected.last_sequence)
            );
            assert!(is_right(count, counted.remove(&next).unwrap_or_default()));
            next += 1;
        };
        topics.each(each).unwrap();
        assert_eq!(next, RECORDED + 1);
        assert!(counted.len() > 1);
        let each = |id, count: &Counted| {
            let (first, expected) = counted.pop_first().unwrap();
            assert_eq!(id, first);
            assert!(is_right(count, expected));
        };
        topics.each_absent(each).unwrap();
        assert_eq!(counted, BTreeMap::new());
    }

    #[test]
    fn a_full_disk_names_the_directory_and_tmpdir() {
        let mut topics = topics(1);
        topics
            .file
            .pragma_update(None, "max_page_count", 3)
            .unwrap();
        let failed = (1..1_000).find_map(|id| add(&mut topics, id).err());
        let text = failed.unwrap().to_string();
        let directory = std::env::temp_dir().display().to_string();
        for part in [&*directory, "TMPDIR", "full"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
