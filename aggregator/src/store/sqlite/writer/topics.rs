//! The writer's view of the topics: a cache of their states, so that a batch seldom reads those that it changes.

use hashlink::LruCache;
use rusqlite::Connection;
use shared::event::Topic;

use crate::store::sqlite::{
    sorted_runs::{Entries, writer::RunWriter},
    topics::{NAMES, STATES, StoredTopics, TopicState, push_name},
};

/// Bytes that a topic takes in the cache besides a long name: its entry of 128 bytes with two links, and its place in the hash
/// table.
const ENTRY_BYTES: u64 = 192;

/// Names up to this many bytes are within the entry.
const SHORT_NAME: usize = 24;

/// The topics as last committed. A transaction changes it; if that fails, it is dropped and loaded again.
#[derive(Debug)]
pub(in crate::store) struct Topics {
    cached: LruCache<Topic, TopicState>,
    /// The id of the last topic, which is also their number.
    last: i64,
    bytes: u64,
    max_bytes: u64,
    states: RunWriter,
    names: RunWriter,
}

/// A topic that a batch changes.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct ChangedTopic {
    /// Whether the store does not have it yet.
    pub is_new: bool,
    pub state: TopicState,
}

impl Topics {
    /// Reads as many topics as fit into a cache of `max_bytes`.
    pub fn load(connection: &Connection, max_bytes: u64) -> rusqlite::Result<Self> {
        let mut topics = Self {
            cached: LruCache::new_unbounded(),
            last: connection.query_row("SELECT topics FROM counters", [], |row| row.get(0))?,
            bytes: 0,
            max_bytes,
            states: RunWriter::load(connection, STATES)?,
            names: RunWriter::load(connection, NAMES)?,
        };
        StoredTopics::open(connection)?.after(0, |state, name| {
            if let Ok(name) = Topic::new(name) {
                topics.remember(name, *state);
            }
            Ok(topics.bytes < max_bytes)
        })?;
        Ok(topics)
    }

    /// The state of a topic that a batch changes, if the store has it.
    pub fn get(
        &mut self,
        connection: &Connection,
        topic: &Topic,
    ) -> rusqlite::Result<Option<TopicState>> {
        if let Some(state) = self.cached.get(topic) {
            return Ok(Some(*state));
        }
        self.peek(connection, topic)
    }

    /// The same, for a topic that is not about to change.
    pub fn peek(
        &self,
        connection: &Connection,
        topic: &Topic,
    ) -> rusqlite::Result<Option<TopicState>> {
        if let Some(state) = self.cached.peek(topic) {
            return Ok(Some(*state));
        }
        let has_all = i64::try_from(self.cached.len()) == Ok(self.last);
        if has_all {
            return Ok(None);
        }
        StoredTopics::open(connection)?.named(topic.as_str())
    }

    /// Writes changed topics, in the transaction that changes their events.
    pub fn save<'a>(
        &mut self,
        transaction: &Connection,
        changed: impl IntoIterator<Item = (&'a Topic, ChangedTopic)>,
    ) -> rusqlite::Result<Vec<(Topic, TopicState)>> {
        let mut changed: Vec<_> = changed.into_iter().collect();
        changed.sort_unstable_by_key(|(_, topic)| topic.state.id);
        let mut states = Entries::default();
        let mut names = Entries::default();
        let mut insert =
            transaction.prepare_cached("INSERT INTO topics (id, name) VALUES (?1, ?2)")?;
        for (name, ChangedTopic { is_new, state }) in &changed {
            state.push(&mut states);
            if *is_new {
                insert.execute((state.id, name.as_str()))?;
                push_name(&mut names, name.as_str(), state.id);
            }
        }
        names.sort();
        self.states.append(transaction, &states)?;
        self.names.append(transaction, &names)?;
        Ok(changed
            .into_iter()
            .map(|(name, topic)| (name.clone(), topic.state))
            .collect())
    }

    /// Remembers states that have been committed.
    pub fn enter(&mut self, changed: Vec<(Topic, TopicState)>) {
        for (name, state) in changed {
            self.last = self.last.max(state.id);
            self.remember(name, state);
        }
    }

    fn remember(&mut self, name: Topic, state: TopicState) {
        // It was used when the batch began to change it.
        if let Some(cached) = self.cached.peek_mut(&name) {
            *cached = state;
            return;
        }
        self.bytes += entry_bytes(&name);
        self.cached.insert(name, state);
        while self.bytes > self.max_bytes
            && let Some((oldest, _)) = self.cached.remove_lru()
        {
            self.bytes -= entry_bytes(&oldest);
        }
    }
}

fn entry_bytes(name: &Topic) -> u64 {
    let long = name.as_str().len();
    ENTRY_BYTES + if long > SHORT_NAME { long as u64 } else { 0 }
}
