//! Duplicates that memory knows of, with the names that the rows have.

use rusqlite::{OptionalExtension, Transaction};

use crate::store::duplicates;

/// What is known of duplicates since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// All that ever came, of the topic or of all; this is counted exactly and kept.
    pub total: u64,
    /// The latest ones, those first.
    pub recent: Vec<Duplicate>,
    /// The identities that came again most often, those first.
    pub often: Vec<Often>,
}

/// A duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// Its topic.
    pub topic: String,
    /// Its `event_id`.
    pub event_id: String,
    /// Who sent it.
    pub source: String,
    /// Whether it differs from what is stored.
    pub is_conflict: bool,
    /// The event that was there first.
    pub stored: i64,
    /// The sequence of its message in the stream.
    pub stream_sequence: u64,
    /// Its place in the message, from 0.
    pub position: u64,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
}

/// An identity and how often it came again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Often {
    /// Its topic.
    pub topic: String,
    /// Its `event_id`.
    pub event_id: String,
    /// The event that has it.
    pub stored: i64,
    /// At least so often.
    pub least: u64,
    /// At most so often.
    pub most: u64,
}

/// Memory may know duplicates of events that were committed after this transaction began: they are left out.
pub(super) fn read(
    read: &Transaction<'_>,
    known: &duplicates::Duplicates,
    topic: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Duplicates> {
    let topic = match topic {
        None => None,
        Some(topic) => {
            let sql = "SELECT id, duplicate_dropped FROM topics WHERE name = ?1";
            let row = read
                .prepare_cached(sql)?
                .query_row([topic], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some(row) = row else {
                return Ok(Duplicates::default());
            };
            Some(row)
        }
    };
    let total = match topic {
        Some((_, total)) => total,
        None => read
            .prepare_cached("SELECT duplicate_dropped FROM counters")?
            .query_row([], |row| row.get(0))?,
    };
    let topic_id = topic.map(|(id, _)| id);
    let recent = known.recent(topic_id, limit).into_iter().map(|again| {
        let identity = identity(read, again.stored)?;
        Ok(identity.map(|(topic, event_id)| Duplicate {
            topic,
            event_id,
            source: again.source.as_str().to_owned(),
            is_conflict: again.is_conflict,
            stored: again.stored,
            stream_sequence: again.stream_sequence,
            position: again.position as u64,
            processed_at: again.processed_at,
        }))
    });
    let often = known.often(topic_id, limit).into_iter().map(|often| {
        let identity = identity(read, often.stored)?;
        Ok(identity.map(|(topic, event_id)| Often {
            topic,
            event_id,
            stored: often.stored,
            least: often.least,
            most: often.most,
        }))
    });
    Ok(Duplicates {
        total,
        recent: recent
            .filter_map(Result::transpose)
            .collect::<rusqlite::Result<_>>()?,
        often: often
            .filter_map(Result::transpose)
            .collect::<rusqlite::Result<_>>()?,
    })
}

fn identity(read: &Transaction<'_>, sequence: i64) -> rusqlite::Result<Option<(String, String)>> {
    let sql = "SELECT t.name, e.event_id FROM events e JOIN topics t ON t.id = e.topic_id \
               WHERE e.sequence = ?1";
    read.prepare_cached(sql)?
        .query_row([sequence], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
