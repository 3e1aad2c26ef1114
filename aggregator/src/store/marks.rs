//! Marks along the chains of topics: every so many-th event of a topic, with its number among them.
//!
//! A chain leads from a topic's last event to its first. With the marks it can be entered at any sequence, read in either
//! direction, and its events before any sequence be counted, for the price of one piece of it. They cost the writer a row
//! for [`EVERY`] events.

use rusqlite::{OptionalExtension, Transaction, params};

/// Events of a topic from one mark to the next.
const EVERY: u64 = if cfg!(test) { 4 } else { 128 };

/// Marks an event, the `ordinal`-th of its topic, if it is one of those that are marked.
pub(super) fn mark(
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
pub(super) fn is_marked(ordinal: u64) -> bool {
    ordinal.is_multiple_of(EVERY)
}

/// A topic's chain, as of one transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
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

    /// The latest event not after the sequence `upto`, 0 where there is none.
    pub fn latest(&self, read: &Transaction<'_>, upto: i64) -> rusqlite::Result<i64> {
        // Whoever reads on has an event of the chain before the bound, most often.
        let next = read
            .prepare_cached("SELECT previous FROM events WHERE sequence = ?1 AND topic_id = ?2")?
            .query_row(params![upto.saturating_add(1), self.topic_id], |row| {
                row.get(0)
            })
            .optional()?;
        match next {
            Some(previous) => Ok(previous),
            None => Ok(self.back_to(read, upto)?.0),
        }
    }

    /// The first events after the sequence `after`, up to the next mark, the latest of them first.
    pub fn following(&self, read: &Transaction<'_>, after: i64) -> rusqlite::Result<Vec<i64>> {
        let (mut sequence, _) = self.entry(read, after.saturating_add(1))?;
        let mut events = Vec::new();
        while sequence > after {
            events.push(sequence);
            sequence = previous(read, sequence)?;
        }
        Ok(events)
    }

    /// How many events are not after the sequence `upto`.
    pub fn count(&self, read: &Transaction<'_>, upto: i64) -> rusqlite::Result<u64> {
        Ok(self.back_to(read, upto)?.1)
    }

    /// The latest event not after `upto`, with its number.
    fn back_to(&self, read: &Transaction<'_>, upto: i64) -> rusqlite::Result<(i64, u64)> {
        let (mut sequence, mut ordinal) = self.entry(read, upto)?;
        while sequence > upto {
            sequence = previous(read, sequence)?;
            ordinal -= 1;
        }
        Ok((sequence, ordinal))
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

fn previous(read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<i64> {
    read.prepare_cached("SELECT previous FROM events WHERE sequence = ?1")?
        .query_row([sequence], |row| row.get(0))
}
