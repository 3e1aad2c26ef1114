//! The duplicates kept in memory, with topic and `event_id` read from the event rows.

use std::vec;

use rusqlite::{OptionalExtension, Transaction};

use crate::store::{
    query::{Duplicate, Duplicates, RepeatedIdentity},
    sqlite::{gate::Inside, memory::duplicates, topics::StoredTopics},
};

/// A query in progress, which reads one identity at a time. Memory may have duplicates of events that were committed after
/// the transaction began: they are left out.
pub(super) struct Reading {
    known: duplicates::Duplicates,
    topic: Option<String>,
    limit: usize,
    partial: Option<Partial>,
}

/// The duplicates whose identities have not been read yet, and the result so far.
struct Partial {
    recent: vec::IntoIter<duplicates::RecentDuplicate>,
    often: vec::IntoIter<duplicates::RepeatCount>,
    result: Duplicates,
}

impl Reading {
    /// A query for one topic or all topics, with at most `limit` of each kind.
    pub fn new(known: duplicates::Duplicates, topic: Option<String>, limit: usize) -> Self {
        Self {
            known,
            topic,
            limit,
            partial: None,
        }
    }

    /// Continues reading. This may take several transactions: the identity of a stored event never changes.
    pub fn go(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
    ) -> rusqlite::Result<Option<Duplicates>> {
        let partial = match &mut self.partial {
            Some(partial) => partial,
            none => {
                let Some((topic, total)) = total(read, self.topic.as_deref())? else {
                    return Ok(Some(Duplicates::default()));
                };
                none.insert(Partial {
                    recent: self.known.recent(topic, self.limit).into_iter(),
                    often: self.known.most_repeated(topic, self.limit).into_iter(),
                    result: Duplicates {
                        total,
                        ..Duplicates::default()
                    },
                })
            }
        };
        while !partial.recent.as_slice().is_empty() && inside.has_time() {
            let Some(again) = partial.recent.next() else {
                break;
            };
            if let Some((topic, event_id)) = identity(read, again.stored)? {
                partial.result.recent.push(Duplicate {
                    topic,
                    event_id,
                    source: again.source.as_str().to_owned(),
                    is_conflict: again.is_conflict,
                    stored: again.stored,
                    stream_sequence: again.stream_sequence,
                    position: again.position as u64,
                    processed_at: again.processed_at,
                });
            }
        }
        while !partial.often.as_slice().is_empty() && inside.has_time() {
            let Some(often) = partial.often.next() else {
                break;
            };
            if let Some((topic, event_id)) = identity(read, often.stored)? {
                partial.result.often.push(RepeatedIdentity {
                    topic,
                    event_id,
                    stored: often.stored,
                    least: often.least,
                    // Not more than there are, unless these were read before the latest of them were committed.
                    most: often.most.min(partial.result.total).max(often.least),
                });
            }
        }
        let is_whole = partial.recent.as_slice().is_empty() && partial.often.as_slice().is_empty();
        Ok(is_whole.then(|| std::mem::take(&mut partial.result)))
    }
}

/// The id of the topic, if one is given, and the number of duplicates ever counted; `None` if the topic does not exist.
fn total(
    read: &Transaction<'_>,
    topic: Option<&str>,
) -> rusqlite::Result<Option<(Option<i64>, u64)>> {
    match topic {
        None => read
            .prepare_cached("SELECT duplicate_dropped FROM counters")?
            .query_row([], |row| Ok(Some((None, row.get(0)?)))),
        Some(topic) => {
            let topic = StoredTopics::open(read)?.named(topic)?;
            Ok(topic.map(|topic| (Some(topic.id), topic.duplicates)))
        }
    }
}

fn identity(read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<Option<(String, String)>> {
    let sql = "SELECT t.name, e.event_id FROM events e JOIN topics t ON t.id = e.topic_id \
               WHERE e.sequence = ?1";
    read.prepare_cached(sql)?
        .query_row([sequence], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
