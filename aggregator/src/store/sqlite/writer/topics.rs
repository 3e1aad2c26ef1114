//! The writer's topics: the states that the current batch changes, in a cache of those used lately, so that a batch seldom reads one.

use indexmap::IndexMap;
use rusqlite::Connection;
use shared::event::Topic;

use crate::store::sqlite::{
    dedup::lookup::LookupBatch,
    sorted_runs::{Entries, writer::RunWriter},
    topics::{NAMES, STATES, StoredTopics, TopicState, push_name},
};

/// Bytes that a topic takes in the cache besides a long name: its entry of 128 bytes, and its place in the hash table.
const ENTRY_BYTES: u64 = 160;

/// Names up to this many bytes are within the entry.
const SHORT_NAME: usize = 24;

/// Room for new topics of a batch, in addition to those that fit: nothing is dropped before its end. A batch with more makes the cache
/// larger until it has committed.
const BATCH: usize = 16 * 1024;

/// How often the room in the cache is doubled until all topics have room that fit.
const DOUBLINGS: u32 = 7;

/// The topics as of the current transaction. If that fails, they are dropped and loaded again.
#[derive(Debug)]
pub(in crate::store) struct Topics {
    cached: IndexMap<Topic, Cached>,
    /// Topics for which `cached` has room, doubled when it is full. With few topics the hash table stays small; and when it is doubled
    /// for the last time, the old and the new entries together are no more than those that fit.
    room: usize,
    /// The most topics for which it has room between batches.
    most: usize,
    /// The topics that the current batch changes: their ids, and their places in `cached`.
    changed: Vec<(i64, usize)>,
    /// The place in `cached` that is considered next when one has to be dropped.
    hand: usize,
    /// The id of the last topic, which is also their number.
    last: i64,
    bytes: u64,
    max_bytes: u64,
    states: RunWriter,
    names: RunWriter,
}

#[derive(Debug)]
struct Cached {
    state: TopicState,
    /// Whether the current batch changes it.
    is_changed: bool,
    /// Whether the current batch adds it to the store.
    is_new: bool,
    /// Whether it was changed since the hand last passed.
    is_recent: bool,
}

impl Topics {
    /// Reads as many topics as fit into a cache of `max_bytes`.
    pub fn load(connection: &Connection, max_bytes: u64) -> rusqlite::Result<Self> {
        let fitting = usize::try_from(max_bytes / ENTRY_BYTES).unwrap_or(usize::MAX);
        let room = (fitting.saturating_add(BATCH) >> DOUBLINGS) + 1;
        let mut topics = Self {
            cached: IndexMap::with_capacity(room),
            room,
            most: room << DOUBLINGS,
            changed: Vec::new(),
            hand: 0,
            last: connection.query_row("SELECT topics FROM counters", [], |row| row.get(0))?,
            bytes: 0,
            max_bytes,
            states: RunWriter::load(connection, STATES)?,
            names: RunWriter::load(connection, NAMES)?,
        };
        StoredTopics::open(connection)?.after(0, |state, name| {
            if let Ok(name) = Topic::new(name) {
                topics.insert(name, *state, false);
            }
            Ok(topics.bytes < max_bytes)
        })?;
        topics.keep_bounded();
        Ok(topics)
    }

    /// Notes the places of the topics of a batch that are in the cache. In one go: the processor then waits for memory for several of
    /// them at once.
    pub fn find_places(&self, batch: &mut LookupBatch) {
        for (event, lookup) in batch
            .batch
            .iter()
            .flat_map(|delivery| delivery.arrivals.iter().flatten())
            .zip(&mut batch.events)
        {
            lookup.topic_place = self.cached.get_index_of(&event.topic);
        }
    }

    /// The place of a topic in the cache, if the store has it.
    pub fn place(
        &mut self,
        connection: &Connection,
        topic: &Topic,
    ) -> rusqlite::Result<Option<usize>> {
        if let Some(place) = self.cached.get_index_of(topic) {
            return Ok(Some(place));
        }
        let stored = self.stored(connection, topic)?;
        Ok(stored.map(|state| self.insert(topic.clone(), state, false)))
    }

    /// Adds a topic that the store does not have; returns its place.
    pub fn add(&mut self, topic: &Topic, state: TopicState) -> usize {
        self.last = state.id;
        self.insert(topic.clone(), state, true)
    }

    /// The state at a place, to be changed, and whether the current batch has not changed it before.
    pub fn change(&mut self, place: usize) -> (&mut TopicState, bool) {
        let cached = &mut self.cached[place];
        let is_first = !std::mem::replace(&mut cached.is_changed, true);
        if is_first {
            self.changed.push((cached.state.id, place));
            cached.is_recent = true;
        }
        (&mut cached.state, is_first)
    }

    /// The state of a topic that is not about to change, if there is one.
    pub fn peek(
        &self,
        connection: &Connection,
        topic: &Topic,
    ) -> rusqlite::Result<Option<TopicState>> {
        match self.cached.get(topic) {
            Some(cached) => Ok(Some(cached.state)),
            None => self.stored(connection, topic),
        }
    }

    /// Reads the state of a topic that is not in the cache.
    fn stored(
        &self,
        connection: &Connection,
        topic: &Topic,
    ) -> rusqlite::Result<Option<TopicState>> {
        let has_all = i64::try_from(self.cached.len()) == Ok(self.last);
        if has_all {
            return Ok(None);
        }
        StoredTopics::open(connection)?.named(topic.as_str())
    }

    /// Writes the changed topics, in the transaction that changes their events.
    pub fn save(&mut self, transaction: &Connection) -> rusqlite::Result<()> {
        self.changed.sort_unstable();
        let mut states = Entries::default();
        let mut names = Entries::default();
        let mut insert =
            transaction.prepare_cached("INSERT INTO topics (id, name) VALUES (?1, ?2)")?;
        for (name, Cached { state, is_new, .. }) in self.entries() {
            state.push(&mut states);
            if *is_new {
                insert.execute((state.id, name.as_str()))?;
                push_name(&mut names, name.as_str(), state.id);
            }
        }
        names.sort();
        self.states.append(transaction, &states)?;
        self.names.append(transaction, &names)
    }

    /// The topics that the current batch changes.
    pub fn changed(&self) -> impl Iterator<Item = (&str, &TopicState)> {
        self.entries()
            .map(|(name, cached)| (name.as_str(), &cached.state))
    }

    fn entries(&self) -> impl Iterator<Item = (&Topic, &Cached)> {
        let entry = |(_, place): &(i64, usize)| self.cached.get_index(*place);
        self.changed.iter().filter_map(entry)
    }

    /// Ends the batch, which has committed.
    pub fn committed(&mut self) {
        for (_, place) in self.changed.drain(..) {
            let cached = &mut self.cached[place];
            (cached.is_changed, cached.is_new) = (false, false);
        }
        self.keep_bounded();
        if self.room > self.most {
            self.cached.shrink_to(self.most);
            self.room = self.most;
        }
    }

    fn insert(&mut self, name: Topic, state: TopicState, is_new: bool) -> usize {
        if self.cached.len() >= self.room {
            self.cached.reserve_exact(self.room);
            self.room *= 2;
        }
        self.bytes += entry_bytes(&name);
        let cached = Cached {
            state,
            is_changed: false,
            is_new,
            is_recent: false,
        };
        self.cached.insert_full(name, cached).0
    }

    /// Drops topics until those that are left fit: one that was changed since the hand last passed is passed once more.
    fn keep_bounded(&mut self) {
        while self.bytes > self.max_bytes {
            if self.hand >= self.cached.len() {
                self.hand = 0;
            }
            let Some((_, cached)) = self.cached.get_index_mut(self.hand) else {
                return;
            };
            if std::mem::take(&mut cached.is_recent) {
                self.hand += 1;
            } else if let Some((name, _)) = self.cached.swap_remove_index(self.hand) {
                self.bytes -= entry_bytes(&name);
            }
        }
    }
}

fn entry_bytes(name: &Topic) -> u64 {
    let long = name.as_str().len();
    ENTRY_BYTES + if long > SHORT_NAME { long as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{file::schema, options::Options};

    #[test]
    fn an_entry_takes_the_bytes_that_are_counted_for_it() {
        // With its hash, and in the table at most two places of eight bytes and one.
        let entry = 8 + size_of::<Topic>() + size_of::<Cached>();
        assert!(entry as u64 + 2 * 9 <= ENTRY_BYTES, "{entry}");
    }

    #[test]
    fn topics_that_were_not_changed_lately_are_dropped_first_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection =
            schema::open_or_make(&directory.path().join("store.db"), 0, &Options::default())
                .unwrap();
        let transaction = connection.transaction().unwrap();
        let mut topics = Topics::load(&transaction, 10 * ENTRY_BYTES).unwrap();
        let name = |id: i64| Topic::new(&format!("t{id}")).unwrap();
        let mut batch = |ids: std::ops::RangeInclusive<i64>| {
            for id in ids {
                let place = topics.place(&transaction, &name(id)).unwrap();
                let place = place.unwrap_or_else(|| topics.add(&name(id), TopicState::new(id, 0)));
                topics.change(place).0.unique += 1;
            }
            topics.save(&transaction).unwrap();
            topics.committed();
            let cached = |id| topics.cached.contains_key(&name(id));
            assert!(topics.bytes <= topics.max_bytes);
            (1..=30).filter(|id| cached(*id)).collect::<Vec<_>>()
        };
        assert_eq!(batch(1..=8), [1, 2, 3, 4, 5, 6, 7, 8]);
        // More than fit.
        assert_eq!(batch(9..=28).len(), 10);
        assert_eq!(batch(1..=2)[..2], [1, 2]);
        // The least recent ones are dropped for those that follow.
        let left = batch(29..=30);
        assert!(
            [1, 2, 29, 30].iter().all(|id| left.contains(id)),
            "{left:?}"
        );
        let stored = StoredTopics::open(&transaction).unwrap();
        for id in 1..=30 {
            let unique = if id <= 2 { 2 } else { 1 };
            let state = topics.peek(&transaction, &name(id)).unwrap().unwrap();
            assert_eq!((state.id, state.unique), (id, unique));
            assert_eq!(stored.state(id).unwrap(), Some(state));
        }
        assert_eq!(topics.peek(&transaction, &name(31)).unwrap(), None);
    }

    #[test]
    fn a_batch_with_very_many_topics_leaves_the_cache_as_small_as_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection =
            schema::open_or_make(&directory.path().join("store.db"), 0, &Options::default())
                .unwrap();
        let transaction = connection.transaction().unwrap();
        let mut topics = Topics::load(&transaction, 10 * ENTRY_BYTES).unwrap();
        for id in 1..=40_000 {
            let place = topics.add(
                &Topic::new(&format!("t{id}")).unwrap(),
                TopicState::new(id, 0),
            );
            topics.change(place);
        }
        assert!(topics.cached.capacity() >= 40_000);
        topics.save(&transaction).unwrap();
        topics.committed();
        let capacity = topics.cached.capacity();
        assert!(capacity < 20_000, "{capacity}");
        assert_eq!(topics.cached.len(), 10);
    }
}
