//! Marks along the chains of topics: every so many-th event of a topic, with its number among them.
//!
//! A chain leads from a topic's last event to its first. With the marks it can be entered at any sequence, read in either
//! direction, and its events before any sequence be counted, for the price of one piece of it. They cost the writer a row
//! for [`EVERY`] events.

use rusqlite::{OptionalExtension, Transaction, params};

use super::gate::Inside;

/// Events of a topic from one mark to the next.
const EVERY: u64 = if cfg!(test) { 4 } else { 128 };

/// Marks an event, the `ordinal`-th of its topic, if it is one of those that are marked.
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

/// A topic's chain, as of one transaction.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Chain {
    pub topic_id: i64,
    /// Events in it.
    pub length: u64,
    /// The last event's sequence, 0 where there is none.
    pub last: i64,
}

impl Chain {
    /// The chain of a topic, where it has events.
    pub fn of(read: &Transaction<'_>, topic: &str) -> rusqlite::Result<Option<Self>> {
        read.prepare_cached(
            "SELECT id, unique_processed, last_sequence FROM topics WHERE name = ?1",
        )?
        .query_row([topic], |row| {
            Ok(Self {
                topic_id: row.get(0)?,
                length: row.get(1)?,
                last: row.get(2)?,
            })
        })
        .optional()
    }

    /// The event of the chain before the one at this sequence; none where that is not one of the chain.
    pub fn before(&self, read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<Option<i64>> {
        read.prepare_cached("SELECT previous FROM events WHERE sequence = ?1 AND topic_id = ?2")?
            .query_row([sequence, self.topic_id], |row| row.get(0))
            .optional()
    }

    /// The way back to the latest event not after the sequence `upto`.
    pub fn back_to(self, upto: i64) -> Back {
        Back {
            chain: self,
            upto,
            at: None,
            passed: Vec::new(),
        }
    }

    /// The first marked event at `sequence` or after it, or the last one of all, with its number.
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

/// A way back along a chain, from the next mark. It may take several reads: a committed event stays where it is.
#[derive(Debug)]
pub(in crate::store) struct Back {
    chain: Chain,
    upto: i64,
    /// An event, with its number.
    at: Option<(i64, u64)>,
    /// Events after `upto`, the latest first.
    passed: Vec<i64>,
}

impl Back {
    /// Goes on; whether it has arrived.
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

    /// The event where it has arrived, 0 where there is none.
    pub fn latest(&self) -> i64 {
        self.at.map_or(0, |(sequence, _)| sequence)
    }

    /// How many events there are up to there.
    pub fn count(&self) -> u64 {
        self.at.map_or(0, |(_, ordinal)| ordinal)
    }

    /// The first events after it, up to the next mark, the latest of them first.
    pub fn following(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.passed)
    }
}

fn previous(read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<i64> {
    read.prepare_cached("SELECT previous FROM events WHERE sequence = ?1")?
        .query_row([sequence], |row| row.get(0))
}
