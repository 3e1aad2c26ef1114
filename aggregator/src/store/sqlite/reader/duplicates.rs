//! Duplicates that memory knows of, with the names that the rows have.

use std::vec;

use rusqlite::{OptionalExtension, Transaction};

use crate::store::{
    query::{Duplicate, Duplicates, Often},
    sqlite::{gate::Inside, memory::duplicates},
};

/// The answer as it is read, each name in its turn. Memory may know duplicates of events that were committed after the
/// transaction began: they are left out.
pub(super) struct Reading {
    known: duplicates::Duplicates,
    topic: Option<String>,
    limit: usize,
    begun: Option<Begun>,
}

/// What is to be named yet, and what is.
struct Begun {
    recent: vec::IntoIter<duplicates::RecentDuplicate>,
    often: vec::IntoIter<duplicates::RepeatCount>,
    named: Duplicates,
}

impl Reading {
    /// Of a topic or of all, at most `limit` of each kind.
    pub fn new(known: duplicates::Duplicates, topic: Option<String>, limit: usize) -> Self {
        Self {
            known,
            topic,
            limit,
            begun: None,
        }
    }

    /// Reads on, which may take several reads: the names of a stored event never change.
    pub fn go(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
    ) -> rusqlite::Result<Option<Duplicates>> {
        let begun = match &mut self.begun {
            Some(begun) => begun,
            none => {
                let Some((topic, total)) = total(read, self.topic.as_deref())? else {
                    return Ok(Some(Duplicates::default()));
                };
                none.insert(Begun {
                    recent: self.known.recent(topic, self.limit).into_iter(),
                    often: self.known.most_repeated(topic, self.limit).into_iter(),
                    named: Duplicates {
                        total,
                        ..Duplicates::default()
                    },
                })
            }
        };
        while !begun.recent.as_slice().is_empty() && inside.has_time() {
            let Some(again) = begun.recent.next() else {
                break;
            };
            if let Some((topic, event_id)) = identity(read, again.stored)? {
                begun.named.recent.push(Duplicate {
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
        while !begun.often.as_slice().is_empty() && inside.has_time() {
            let Some(often) = begun.often.next() else {
                break;
            };
            if let Some((topic, event_id)) = identity(read, often.stored)? {
                begun.named.often.push(Often {
                    topic,
                    event_id,
                    stored: often.stored,
                    least: often.least,
                    most: often.most,
                });
            }
        }
        let is_whole = begun.recent.as_slice().is_empty() && begun.often.as_slice().is_empty();
        Ok(is_whole.then(|| std::mem::take(&mut begun.named)))
    }
}

/// The id of the topic, if any, and how many duplicates there ever were; none where there is no such topic.
fn total(
    read: &Transaction<'_>,
    topic: Option<&str>,
) -> rusqlite::Result<Option<(Option<i64>, u64)>> {
    match topic {
        None => read
            .prepare_cached("SELECT duplicate_dropped FROM counters")?
            .query_row([], |row| Ok(Some((None, row.get(0)?)))),
        Some(topic) => read
            .prepare_cached("SELECT id, duplicate_dropped FROM topics WHERE name = ?1")?
            .query_row([topic], |row| Ok((Some(row.get(0)?), row.get(1)?)))
            .optional(),
    }
}

fn identity(read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<Option<(String, String)>> {
    let sql = "SELECT t.name, e.event_id FROM events e JOIN topics t ON t.id = e.topic_id \
               WHERE e.sequence = ?1";
    read.prepare_cached(sql)?
        .query_row([sequence], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
