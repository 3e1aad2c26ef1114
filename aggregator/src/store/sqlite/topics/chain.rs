//! Marks along the chains of topics: every [`EVERY`]th event of a topic, with its ordinal in the topic.
//!
//! A chain links a topic's events from the last to the first. With the marks it can be entered at any sequence, read in either
//! direction, and its events before any sequence can be counted, at the cost of one section between marks. They cost the writer
//! one row per [`EVERY`] events.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{StoredTopics, TopicState};
use crate::store::sqlite::gate::Inside;

/// Events of a topic from one mark to the next.
const EVERY: u64 = if cfg!(test) { 4 } else { 128 };

/// Inserts a mark for an event, the `ordinal`-th of its topic, if it is to have one.
pub(in crate::store) fn mark(
    transaction: &Transaction<'_>,
    topic_id: i64,
    sequence: i64,
    ordinal: u64,
) -> rusqlite::Result<()> {
    if is_marked(ordinal) {
        transaction
            .prepare_cached("INSERT INTO marks (topic_id, sequence, ordinal) VALUES (?1, ?2, ?3)")?
            .execute(params![topic_id, sequence, ordinal])?;
    }
    Ok(())
}

/// Whether the `ordinal`-th event of a topic has a mark.
pub(in crate::store) fn is_marked(ordinal: u64) -> bool {
    ordinal.is_multiple_of(EVERY)
}

/// A topic's chain as of one transaction.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Chain {
    pub topic_id: i64,
    /// Events in it.
    pub length: u64,
    /// The last event's sequence, or 0 if there is none.
    pub last: i64,
}

impl Chain {
    /// The chain of a topic, if it has events.
    pub fn of(read: &Transaction<'_>, topic: &str) -> rusqlite::Result<Option<Self>> {
        let topic = StoredTopics::open(read)?.named(topic)?;
        Ok(topic.as_ref().map(Self::of_state))
    }

    /// The chain of a topic in this state.
    pub fn of_state(topic: &TopicState) -> Self {
        Self {
            topic_id: topic.id,
            length: topic.unique,
            last: topic.last_sequence,
        }
    }

    /// The event of the chain before the one at this sequence; `None` if that event is not in the chain.
    pub fn before(&self, read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<Option<i64>> {
        read.prepare_cached("SELECT previous FROM events WHERE sequence = ?1 AND topic_id = ?2")?
            .query_row([sequence, self.topic_id], |row| row.get(0))
            .optional()
    }

    /// A walk back to the latest event not after the sequence `upto`.
    pub fn back_to(self, upto: i64) -> Back {
        Back {
            chain: self,
            upto,
            at: None,
            passed: Vec::new(),
        }
    }

    /// The first marked event at `sequence` or after it, or else the last event, with its ordinal.
    fn entry(&self, read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<(i64, u64)> {
        let mark = read
            .prepare_cached(
                "SELECT sequence, ordinal FROM marks WHERE topic_id = ?1 AND sequence >= ?2 \
                 ORDER BY sequence LIMIT 1",
            )?
            .query_row(params![self.topic_id, sequence], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        Ok(mark.unwrap_or((self.last, self.length)))
    }
}

/// A walk back along a chain from the next mark. It may take several reads, because committed events do not change.
#[derive(Debug)]
pub(in crate::store) struct Back {
    chain: Chain,
    upto: i64,
    /// The current event, with its ordinal.
    at: Option<(i64, u64)>,
    /// Events after `upto` that were passed, the latest first.
    passed: Vec<i64>,
}

impl Back {
    /// Continues the walk; returns whether it has arrived.
    pub fn go(&mut self, read: &Transaction<'_>, inside: &Inside) -> rusqlite::Result<bool> {
        loop {
            let next = match self.at {
                Some((sequence, _)) if sequence <= self.upto => return Ok(true),
                _ if !inside.has_time() => return Ok(false),
                None => self.chain.entry(read, self.upto.saturating_add(1))?,
                Some((sequence, ordinal)) => (previous(read, sequence)?, ordinal - 1),
            };
            if next.0 > self.upto {
                self.passed.push(next.0);
            }
            self.at = Some(next);
        }
    }

    /// The event at which it has arrived, or 0 if there is none.
    pub fn latest(&self) -> i64 {
        self.at.map_or(0, |(sequence, _)| sequence)
    }

    /// The number of events up to that event.
    pub fn count(&self) -> u64 {
        self.at.map_or(0, |(_, ordinal)| ordinal)
    }

    /// The events between it and the next mark, the latest first.
    pub fn following(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.passed)
    }
}

fn previous(read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<i64> {
    read.prepare_cached("SELECT previous FROM events WHERE sequence = ?1")?
        .query_row([sequence], |row| row.get(0))
}
