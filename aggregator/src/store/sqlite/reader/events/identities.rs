//! Events by their `event_id`, found through the dedup index: asked once for each topic, it replaces a search of all events.

use std::sync::PoisonError;

use rusqlite::Transaction;

use crate::store::{
    query::EventQuery,
    sqlite::dedup::{fingerprint::Key, lookup::Slot},
};

/// Topics that the index is asked for. With more, the events are searched.
const TOPICS: usize = if cfg!(test) { 3 } else { 10_000 };

/// The identities of the stored events.
#[derive(Debug)]
pub(in crate::store::sqlite::reader) struct Identities {
    pub index: Slot,
    pub key: Key,
}

impl Identities {
    /// The sequences of the events with the `event_id` of a query, in its topics; `None` if the query has none, if there are
    /// too many topics, or while the index is not available. They may include events that this read does not see yet.
    pub(super) fn sequences(
        &self,
        read: &Transaction<'_>,
        query: &EventQuery,
    ) -> rusqlite::Result<Option<Vec<i64>>> {
        let Some(event_id) = &query.filter.event_id else {
            return Ok(None);
        };
        let all;
        let topics = if query.topics.is_empty() {
            all = names(read)?;
            &all
        } else {
            &query.topics
        };
        if topics.len() > TOPICS {
            return Ok(None);
        }
        let identity = |topic: &String| self.key.identity(topic, event_id);
        let identities: Vec<u128> = topics.iter().map(identity).collect();
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let found = index
            .as_ref()
            .and_then(|index| index.reader().find(&identities).ok());
        Ok(found.map(|entries| {
            let found = entries.into_iter().flatten();
            found.map(|entry| entry.sequence).collect()
        }))
    }
}

/// The names of the topics, at most one more than the index is asked for.
fn names(read: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    read.prepare_cached("SELECT name FROM topics LIMIT ?1")?
        .query_map([TOPICS + 1], |row| row.get(0))?
        .collect()
}
