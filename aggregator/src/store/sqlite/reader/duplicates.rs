//! The duplicates kept in memory, with topic and `event_id` read from the event rows.

use std::{collections::HashSet, vec};

use rusqlite::{OptionalExtension, Transaction};

use crate::store::{
    query::{Duplicate, Duplicates, RepeatedIdentity, Visible},
    sqlite::{
        gate::Inside,
        memory::duplicates,
        topics::{StoredTopics, visible::Among},
    },
};

/// A query in progress, which reads one identity at a time. Memory may have duplicates of events that were committed after
/// the transaction began: they are left out.
pub(super) struct Reading {
    known: duplicates::Duplicates,
    topic: Option<String>,
    visible: Visible,
    limit: usize,
    /// The topics that have duplicates, of which the visible ones are wanted.
    among: Option<Among>,
    partial: Option<Partial>,
}

/// The duplicates whose identities have not been read yet, and the result so far.
struct Partial {
    recent: vec::IntoIter<duplicates::RecentDuplicate>,
    often: vec::IntoIter<duplicates::RepeatCount>,
    result: Duplicates,
}

impl Reading {
    /// A query for one topic or all that are visible, with at most `limit` of each kind.
    pub fn new(
        known: duplicates::Duplicates,
        topic: Option<String>,
        visible: Visible,
        limit: usize,
    ) -> Self {
        Self {
            known,
            topic,
            visible,
            limit,
            among: None,
            partial: None,
        }
    }

    /// Continues reading. This may take several transactions: the identity of a stored event never changes.
    pub fn go(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
    ) -> rusqlite::Result<Option<Duplicates>> {
        if self.partial.is_none() {
            self.partial = self.begin(read, inside)?;
        }
        let Some(partial) = &mut self.partial else {
            return Ok(None);
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
                    most: often
                        .most
                        .min(partial.result.total.unwrap_or(u64::MAX))
                        .max(often.least),
                });
            }
        }
        let is_whole = partial.recent.as_slice().is_empty() && partial.often.as_slice().is_empty();
        Ok(is_whole.then(|| std::mem::take(&mut partial.result)))
    }

    /// The duplicates of the query's topics; `None` while there was no time to find these.
    fn begin(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
    ) -> rusqlite::Result<Option<Partial>> {
        let Some((topics, total)) = self.topics(read, inside)? else {
            return Ok(None);
        };
        let is_of = |topic| topics.includes(topic);
        Ok(Some(Partial {
            recent: self.known.recent(is_of, self.limit).into_iter(),
            often: self.known.most_repeated(is_of, self.limit).into_iter(),
            result: Duplicates {
                total,
                ..Duplicates::default()
            },
        }))
    }

    /// The topics of the query, and the number of their duplicates ever counted, unless there are too many topics to add it up.
    /// `None` while there was no time to find them.
    fn topics(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
    ) -> rusqlite::Result<Option<(Topics, Option<u64>)>> {
        if let Some(topic) = &self.topic {
            let topic = StoredTopics::open(read)?.named(topic)?;
            return Ok(Some(match topic {
                Some(topic) => (Topics::One(topic.id), Some(topic.duplicates)),
                None => (Topics::Some(HashSet::new()), Some(0)),
            }));
        }
        let Some(patterns) = self.visible.patterns() else {
            let total = read
                .prepare_cached("SELECT duplicate_dropped FROM counters")?
                .query_row([], |row| row.get(0))?;
            return Ok(Some((Topics::All, Some(total))));
        };
        let known = &self.known;
        let among = self.among.get_or_insert_with(|| Among::new(known.topics()));
        let Some(some) = among.go(read, patterns, inside)? else {
            return Ok(None);
        };
        let states = StoredTopics::open(read)?.visible(patterns, inside)?;
        let total = states.map(|states| states.iter().map(|topic| topic.duplicates).sum());
        Ok(Some((Topics::Some(some), total)))
    }
}

/// The topics of a query.
enum Topics {
    All,
    One(i64),
    /// Of those that have duplicates in memory.
    Some(HashSet<i64>),
}

impl Topics {
    fn includes(&self, topic: i64) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => *one == topic,
            Self::Some(some) => some.contains(&topic),
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
