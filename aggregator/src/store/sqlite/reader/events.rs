//! Pages of events, and one event.

mod between;
mod identities;
mod topics;
mod walk;

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{OptionalExtension, Row, Transaction, params};

pub use self::topics::Resolved;
use self::walk::{Next, Over, Walk, Walked};
pub(super) use self::{
    between::{Between, Count},
    identities::Identities,
    topics::{is_many, is_scan},
};
use crate::store::{
    matcher::Candidate,
    query::{EventPage, EventQuery, Filter, Order, PageBounds, Sink, StoredEvent},
    sqlite::{gate::Inside, topics::StoredTopics},
};

/// Rows that a page scans if its events must match a filter; then it ends with what it has found.
pub const SCAN_ROWS: u64 = if cfg!(test) { 50 } else { 500_000 };

/// The columns that [`stored`] reads, which must be the first of the row: of a topic `t` and an event `e`.
pub(super) const COLUMNS: &str = "e.sequence, t.name, e.event_id, e.timestamp, e.source, e.payload, e.processed_at, e.previous, \
     e.timestamp_filled";

fn select(which: &str) -> String {
    format!("SELECT {COLUMNS} FROM events e JOIN topics t ON t.id = e.topic_id WHERE {which}")
}

pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        sequence: row.get(0)?,
        topic: row.get(1)?,
        event_id: row.get(2)?,
        timestamp: row.get(3)?,
        timestamp_filled: row.get(8)?,
        source: row.get(4)?,
        payload: row.get(5)?,
        processed_at: row.get(6)?,
    })
}

/// A page of events that is being read. It ends early if the sink has no room for an event, if reading takes too long, if the
/// gate closes, or if the caller no longer waits. If no row has been read by then, reading continues in another transaction:
/// committed events never change, and the page has the events of the commit at which it began.
pub(super) struct Paging<S> {
    query: Arc<EventQuery>,
    bounds: PageBounds,
    is_gone: Arc<AtomicBool>,
    identities: Identities,
    resolved: Resolved,
    walk: Option<Walk>,
    /// Whether the walk passes events of topics that are not visible.
    is_tested: bool,
    scanned: u64,
    page: EventPage<S>,
}

impl<S: Sink<StoredEvent>> Paging<S> {
    pub fn new(
        query: Arc<EventQuery>,
        bounds: PageBounds,
        sink: S,
        is_gone: Arc<AtomicBool>,
        identities: Identities,
        resolved: Resolved,
    ) -> Self {
        Self {
            query,
            bounds,
            is_gone,
            identities,
            resolved,
            walk: None,
            is_tested: false,
            scanned: 0,
            page: EventPage {
                events: sink,
                total: None,
                next: None,
                searched_to: None,
            },
        }
    }

    /// Continues reading and returns whether the page is complete.
    pub fn go(&mut self, read: &Transaction<'_>, inside: &Inside) -> rusqlite::Result<bool> {
        let walk = match &mut self.walk {
            Some(walk) => walk,
            none => {
                let range = range(read, &self.query, &self.bounds)?;
                let query = &self.query;
                let sequences = self.identities.sequences(read, query, &range)?;
                let (over, total) = if let Some(sequences) = sequences {
                    (Over::Sequences(sequences), None)
                } else {
                    let needs_total = query.is_counted() && self.bounds.last == i64::MAX;
                    self.resolved
                        .over((read, inside), query, &range, needs_total)?
                };
                self.page.total = total.filter(|_| self.query.is_counted());
                self.is_tested = !matches!(over, Over::Chains(_)) && !self.query.visible.is_every();
                none.insert(Walk::new(over, self.query.order, range))
            }
        };
        let matcher = self.query.filter.matcher();
        let visible = self.is_tested.then_some(&self.query.visible);
        let (page, scanned) = (&mut self.page, &mut self.scanned);
        // The sequence of the last row, and when it was stored.
        let mut last: Option<(i64, i64)> = None;
        let (mut found, mut is_late) = (0, false);
        let walked = walk.go(read, inside, |row| {
            let is_full = found >= self.bounds.limit || self.is_gone.load(Ordering::Relaxed);
            let is_spent = (matcher.is_some() || visible.is_some()) && *scanned >= SCAN_ROWS;
            if is_full || is_spent || !inside.has_time() {
                page.next = last.map(|(sequence, _)| sequence);
                if !is_full {
                    page.searched_to = last.map(|(_, stored_at)| stored_at);
                    is_late = !is_spent;
                }
                return Ok(Next::End);
            }
            *scanned += 1;
            let is_visible = match visible {
                Some(visible) => visible.includes(row.get_ref(1)?.as_str()?),
                None => true,
            };
            let is_match = is_visible
                && match &matcher {
                    Some(matcher) => matcher.is_match(Candidate {
                        event_id: row.get_ref(2)?.as_str()?,
                        timestamp: row.get_ref(3)?.as_str()?,
                        source: row.get_ref(4)?.as_str()?,
                        payload: row.get_ref(5)?.as_str()?,
                    }),
                    None => true,
                };
            if is_match {
                if !page.events.take(stored(row)?) {
                    page.next = last.map(|(sequence, _)| sequence);
                    return Ok(Next::End);
                }
                found += 1;
            }
            last = Some((row.get(0)?, row.get(6)?));
            Ok(Next::On)
        })?;
        if walked == Walked::OutOfTime {
            page.next = last.map(|(sequence, _)| sequence);
            if found < self.bounds.limit {
                page.searched_to = last.map(|(_, stored_at)| stored_at);
            }
            is_late = true;
        }
        Ok(!is_late || self.scanned > 0 || self.is_gone.load(Ordering::Relaxed))
    }

    /// The page as read.
    pub fn into_page(self) -> EventPage<S> {
        self.page
    }
}

fn count_all(read: &Transaction<'_>) -> rusqlite::Result<u64> {
    read.prepare_cached("SELECT unique_processed FROM counters")?
        .query_row([], |row| row.get(0))
}

/// The range of sequences that a page may contain.
fn range(
    read: &Transaction<'_>,
    query: &EventQuery,
    bounds: &PageBounds,
) -> rusqlite::Result<RangeInclusive<i64>> {
    let last: i64 = read
        .prepare_cached("SELECT ifnull(max(sequence), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    let (mut first, mut last) = (bounds.after.saturating_add(1), last.min(bounds.last));
    if let Some(since) = query.since {
        first = first.max(first_at(read, since, last)?);
    }
    if let Some(until) = query.until {
        last = first_at(read, until, last)? - 1;
    }
    match (query.order, bounds.from) {
        (Order::NewestFirst, Some(from)) => last = last.min(from - 1),
        (Order::OldestFirst, Some(from)) => first = first.max(from.saturating_add(1)),
        (_, None) => {}
    }
    Ok(first..=last)
}

/// The sequence of the first event stored at `time` or later, or the one after `last`. Times never decrease with the sequence.
fn first_at(read: &Transaction<'_>, time: i64, last: i64) -> rusqlite::Result<i64> {
    let mut statement =
        read.prepare_cached("SELECT processed_at FROM events WHERE sequence = ?1")?;
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if statement.query_row([middle], |row| row.get::<_, i64>(0))? < time {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// An event with its place in the stream.
pub(super) struct PlacedEvent {
    pub event: StoredEvent,
    pub stream_sequence: u64,
    /// Its position in the message, from 0.
    pub position: u64,
    /// The duplicates of its topic.
    pub topic_duplicates: u64,
}

/// The event with a sequence, if it has the identity (two identities could share a fingerprint).
pub(super) fn at(
    read: &Transaction<'_>,
    sequence: i64,
    topic: &str,
    event_id: &str,
) -> rusqlite::Result<Option<PlacedEvent>> {
    let sql = format!(
        "SELECT {COLUMNS}, e.stream_sequence, e.position \
         FROM events e JOIN topics t ON t.id = e.topic_id \
         WHERE e.sequence = ?1 AND t.name = ?2 AND e.event_id = ?3"
    );
    let Some(counts) = StoredTopics::open(read)?.named(topic)? else {
        return Ok(None);
    };
    read.prepare_cached(&sql)?
        .query_row(params![sequence, topic, event_id], |row| {
            Ok(PlacedEvent {
                event: stored(row)?,
                stream_sequence: row.get(9)?,
                position: row.get(10)?,
                topic_duplicates: counts.duplicates,
            })
        })
        .optional()
}

impl EventQuery {
    /// Whether the store has a count of the events that the query selects.
    fn is_counted(&self) -> bool {
        let Self {
            topics: _,
            since,
            until,
            order: _,
            filter,
            visible: _,
        } = self;
        since.is_none() && until.is_none() && *filter == Filter::default()
    }
}
