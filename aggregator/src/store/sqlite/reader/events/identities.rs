//! Events by their `event_id`, found through the dedup index: asked once for each topic, it replaces a search of all events.

use std::{ops::RangeInclusive, sync::PoisonError};

use rusqlite::Transaction;

use crate::store::{
    query::EventQuery,
    sqlite::dedup::{fingerprint::Key, lookup::Slot},
};

/// Topics that the index is asked for. With more, the events are searched.
const TOPICS: usize = if cfg!(test) { 3 } else { 10_000 };

/// Identities looked up at once: meanwhile the writer cannot seal the index's table.
const LOOKUPS: usize = 256;

/// The identities of the stored events.
#[derive(Debug)]
pub(in crate::store::sqlite::reader) struct Identities {
    pub index: Slot,
    pub key: Key,
}

impl Identities {
    /// The sequences of the events with the `event_id` of a query, in its topics; `None` if the query has none, if it is no
    /// more work to test each event in the range, if there are too many topics, or while the index is not available. They may
    /// include events outside the range.
    pub(super) fn sequences(
        &self,
        read: &Transaction<'_>,
        query: &EventQuery,
        range: &RangeInclusive<i64>,
    ) -> rusqlite::Result<Option<Vec<i64>>> {
        let Some(event_id) = &query.filter.event_id else {
            return Ok(None);
        };
        let topics = if query.topics.is_empty() {
            count(read)?
        } else {
            query.topics.len()
        };
        // A tail reads only the few events that are new.
        let events = usize::try_from(range.end() - range.start() + 1).unwrap_or(0);
        if topics > TOPICS || topics >= events {
            return Ok(None);
        }
        let all;
        let topics = if query.topics.is_empty() {
            all = names(read)?;
            &all
        } else {
            &query.topics
        };
        let identity = |topic: &String| self.key.identity(topic, event_id);
        let identities: Vec<u128> = topics.iter().map(identity).collect();
        let mut sequences = Vec::new();
        for some in identities.chunks(LOOKUPS) {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            let found = index
                .as_ref()
                .and_then(|index| index.reader().find(some).ok());
            let Some(found) = found else {
                return Ok(None);
            };
            sequences.extend(found.into_iter().flatten().map(|entry| entry.sequence));
        }
        Ok(Some(sequences))
    }
}

fn count(read: &Transaction<'_>) -> rusqlite::Result<usize> {
    read.prepare_cached("SELECT topics FROM counters")?
        .query_row([], |row| row.get(0))
}

/// The names of all topics.
fn names(read: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    read.prepare_cached("SELECT name FROM topics")?
        .query_map([], |row| row.get(0))?
        .collect()
}
