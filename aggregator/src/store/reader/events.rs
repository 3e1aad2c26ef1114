//! Pages of events, and one event.

use rusqlite::{OptionalExtension, Row, Transaction, params};

/// A page ends before its limit where its events have this many bytes.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the order of storing.
    pub sequence: i64,
    /// As it came.
    pub topic: String,
    /// As it came.
    pub event_id: String,
    /// As it came.
    pub timestamp: String,
    /// As it came.
    pub source: String,
    /// The JSON object, byte for byte as it came.
    pub payload: String,
    /// When it was stored, in microseconds since 1970; never decreases with the sequence.
    pub processed_at: i64,
}

/// A page of events, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// How many there are in all, of the topic or of all topics.
    pub total: u64,
    /// The last event shown, where there are more: those before it are on the next page.
    pub next: Option<i64>,
}

/// What [`link`] reads, first in its row: of a topic `t` and an event `e`.
pub(super) const COLUMNS: &str =
    "e.sequence, t.name, e.event_id, e.timestamp, e.source, e.payload, e.processed_at, e.previous";

fn select(which: &str) -> String {
    format!("SELECT {COLUMNS} FROM events e JOIN topics t ON t.id = e.topic_id WHERE {which}")
}

/// An event in the chain of its topic.
pub(super) struct Link {
    pub event: StoredEvent,
    /// The sequence of the event before it, 0 where it is the first.
    previous: i64,
}

pub(super) fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link {
        event: StoredEvent {
            sequence: row.get(0)?,
            topic: row.get(1)?,
            event_id: row.get(2)?,
            timestamp: row.get(3)?,
            source: row.get(4)?,
            payload: row.get(5)?,
            processed_at: row.get(6)?,
        },
        previous: row.get(7)?,
    })
}

/// The page of all topics before the sequence `before`.
pub(super) fn newest(
    read: &Transaction<'_>,
    before: i64,
    limit: usize,
) -> rusqlite::Result<EventPage> {
    let total = read
        .prepare_cached("SELECT unique_processed FROM counters")?
        .query_row([], |row| row.get(0))?;
    let mut page = EventPage::new(total);
    let sql = select("e.sequence < ?1 ORDER BY e.sequence DESC LIMIT ?2");
    let mut statement = read.prepare_cached(&sql)?;
    // One more than asked for tells whether there is a next page.
    let mut rows = statement.query(params![before, limit + 1])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if page.is_full(limit, bytes) {
            page.end();
            break;
        }
        let event = link(row)?.event;
        bytes += event.payload.len();
        page.events.push(event);
    }
    Ok(page)
}

/// The page of one topic: along its chain, so that it costs as many rows as it shows.
pub(super) fn newest_of(
    read: &Transaction<'_>,
    topic: &str,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Option<EventPage>> {
    let found = read
        .prepare_cached("SELECT unique_processed, last_sequence FROM topics WHERE name = ?1")?
        .query_row([topic], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (total, last) = found.unwrap_or_default();
    let mut next: i64 = match before {
        None => last,
        Some(before) => {
            let sql = "SELECT e.previous FROM events e JOIN topics t ON t.id = e.topic_id \
                       WHERE e.sequence = ?1 AND t.name = ?2";
            let previous = read
                .prepare_cached(sql)?
                .query_row(params![before, topic], |row| row.get(0))
                .optional()?;
            let Some(previous) = previous else {
                return Ok(None);
            };
            previous
        }
    };
    let mut page = EventPage::new(total);
    let mut statement = read.prepare_cached(&select("e.sequence = ?1"))?;
    let mut bytes = 0;
    while next > 0 {
        if page.is_full(limit, bytes) {
            page.end();
            break;
        }
        let Link { event, previous } = statement.query_row([next], link)?;
        bytes += event.payload.len();
        page.events.push(event);
        next = previous;
    }
    Ok(Some(page))
}

impl EventPage {
    fn new(total: u64) -> Self {
        Self {
            events: Vec::new(),
            total,
            next: None,
        }
    }

    fn is_full(&self, limit: usize, bytes: usize) -> bool {
        self.events.len() == limit || bytes >= PAGE_BYTES
    }

    /// There is more: the next page begins after the last event of this one.
    fn end(&mut self) {
        self.next = self.events.last().map(|event| event.sequence);
    }
}

/// The event of a sequence, where it has the identity: two of them could share a fingerprint.
pub(super) fn at(
    read: &Transaction<'_>,
    sequence: i64,
    topic: &str,
    event_id: &str,
) -> rusqlite::Result<Option<StoredEvent>> {
    let sql = select("e.sequence = ?1 AND t.name = ?2 AND e.event_id = ?3");
    read.prepare_cached(&sql)?
        .query_row(params![sequence, topic, event_id], |row| {
            Ok(link(row)?.event)
        })
        .optional()
}
