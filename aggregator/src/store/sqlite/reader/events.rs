//! Pages of events, and one event.

mod filter;
mod walk;

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{OptionalExtension, Row, Transaction, params};

use self::walk::{Step, Walk, Walked};
use crate::store::{
    query::{EventPage, EventQuery, Filter, Order, PageBounds, Sink, StoredEvent},
    sqlite::{
        gate::Inside,
        topic_chain::{Back, Chain},
    },
};

/// Rows that a page looks at where the events have to match; then it ends with what it found.
pub const SCAN_ROWS: u64 = if cfg!(test) { 50 } else { 500_000 };

/// What [`stored`] reads, first in its row: of a topic `t` and an event `e`.
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

/// A page of the events that a question is about, as it is read. It ends early where there is no room for an event, where
/// it has looked for long or the gate closes, and where nobody waits for it any more. Where it has no event by then, it
/// is read on: committed events stay as they are, and it has those of the commit at which it was begun.
pub(super) struct Paging<S> {
    question: Arc<EventQuery>,
    extent: PageBounds,
    is_gone: Arc<AtomicBool>,
    walk: Option<Walk>,
    looked: u64,
    page: EventPage<S>,
}

impl<S: Sink<StoredEvent>> Paging<S> {
    pub fn new(
        question: Arc<EventQuery>,
        extent: PageBounds,
        sink: S,
        is_gone: Arc<AtomicBool>,
    ) -> Self {
        Self {
            question,
            extent,
            is_gone,
            walk: None,
            looked: 0,
            page: EventPage {
                events: sink,
                total: None,
                next: None,
            },
        }
    }

    /// Reads on; whether the page is at its end.
    pub fn go(&mut self, read: &Transaction<'_>, inside: &Inside) -> rusqlite::Result<bool> {
        let walk = match &mut self.walk {
            Some(walk) => walk,
            none => {
                let chains = chains(read, &self.question.topics)?;
                self.page.total = match &chains {
                    _ if !self.question.is_counted() => None,
                    Some(chains) => Some(chains.iter().map(|chain| chain.length).sum()),
                    None => Some(count_all(read)?),
                };
                let range = range(read, &self.question, &self.extent)?;
                none.insert(Walk::new(chains, self.question.order, range))
            }
        };
        let matcher = self.question.filter.matcher();
        let (page, looked) = (&mut self.page, &mut self.looked);
        let (mut found, mut last, mut is_late) = (0, None, false);
        let walked = walk.go(read, inside, |row| {
            let is_full = found >= self.extent.limit
                || matcher.is_some() && *looked >= SCAN_ROWS
                || self.is_gone.load(Ordering::Relaxed);
            if is_full || !inside.has_time() {
                page.next = last;
                is_late = !is_full;
                return Ok(Step::End);
            }
            *looked += 1;
            let is_match = match &matcher {
                Some(matcher) => {
                    matcher.is_match(row.get_ref(4)?.as_str()?, row.get_ref(5)?.as_str()?)
                }
                None => true,
            };
            if is_match {
                if !page.events.take(stored(row)?) {
                    page.next = last;
                    return Ok(Step::End);
                }
                found += 1;
            }
            last = Some(row.get(0)?);
            Ok(Step::On)
        })?;
        if walked == Walked::OutOfTime {
            page.next = last;
            is_late = true;
        }
        Ok(!is_late || self.looked > 0 || self.is_gone.load(Ordering::Relaxed))
    }

    /// What was read.
    pub fn into_page(self) -> EventPage<S> {
        self.page
    }
}

/// The chains of the topics that have events; none where the question is about all.
fn chains(read: &Transaction<'_>, topics: &[String]) -> rusqlite::Result<Option<Vec<Chain>>> {
    if topics.is_empty() {
        return Ok(None);
    }
    let chains = topics.iter().map(|topic| Chain::of(read, topic));
    let chains: Vec<_> = chains.collect::<Result<_, _>>()?;
    Ok(Some(chains.into_iter().flatten().collect()))
}

fn count_all(read: &Transaction<'_>) -> rusqlite::Result<u64> {
    read.prepare_cached("SELECT unique_processed FROM counters")?
        .query_row([], |row| row.get(0))
}

/// The sequences that a page may be of.
fn range(
    read: &Transaction<'_>,
    question: &EventQuery,
    extent: &PageBounds,
) -> rusqlite::Result<RangeInclusive<i64>> {
    let last: i64 = read
        .prepare_cached("SELECT ifnull(max(sequence), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    let (mut first, mut last) = (1, last.min(extent.last));
    if let Some(since) = question.since {
        first = first_at(read, since, last)?;
    }
    if let Some(until) = question.until {
        last = first_at(read, until, last)? - 1;
    }
    match (question.order, extent.from) {
        (Order::NewestFirst, Some(from)) => last = last.min(from - 1),
        (Order::OldestFirst, Some(from)) => first = first.max(from.saturating_add(1)),
        (_, None) => {}
    }
    Ok(first..=last)
}

/// The first event that was stored at `time` or later, or the one after the last: times follow the sequence.
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

/// How many events of the topics, or of all, lie between two sequences: after the first, and not after the second.
#[derive(Debug)]
pub(super) struct Between {
    question: Arc<EventQuery>,
    after: i64,
    upto: i64,
    /// For each of the topics the ways to both.
    ways: Option<Vec<[Back; 2]>>,
}

impl Between {
    pub fn new(question: Arc<EventQuery>, after: i64, upto: i64) -> Self {
        Self {
            question,
            after,
            upto,
            ways: None,
        }
    }

    /// Counts on, which may take several reads; tells the number at last.
    pub fn go(&mut self, read: &Transaction<'_>, inside: &Inside) -> rusqlite::Result<Option<u64>> {
        if self.question.topics.is_empty() {
            return Ok(Some(u64::try_from(self.upto - self.after).unwrap_or(0)));
        }
        let ways = match &mut self.ways {
            Some(ways) => ways,
            none => {
                let chains = chains(read, &self.question.topics)?.unwrap_or_default();
                let both = [self.after, self.upto];
                let ways = chains.iter().map(|chain| both.map(|to| chain.back_to(to)));
                none.insert(ways.collect())
            }
        };
        for way in ways.iter_mut().flatten() {
            if !way.go(read, inside)? {
                return Ok(None);
            }
        }
        let counts = ways
            .iter()
            .map(|[after, upto]| upto.count().saturating_sub(after.count()));
        Ok(Some(counts.sum()))
    }
}

/// The event of a sequence, where it has the identity: two of them could share a fingerprint. With it where it stands in
/// the stream.
pub(super) fn at(
    read: &Transaction<'_>,
    sequence: i64,
    topic: &str,
    event_id: &str,
) -> rusqlite::Result<Option<(StoredEvent, u64, u64)>> {
    let sql = format!(
        "SELECT {COLUMNS}, e.stream_sequence, e.position FROM events e JOIN topics t ON t.id = e.topic_id \
         WHERE e.sequence = ?1 AND t.name = ?2 AND e.event_id = ?3"
    );
    read.prepare_cached(&sql)?
        .query_row(params![sequence, topic, event_id], |row| {
            Ok((stored(row)?, row.get(9)?, row.get(10)?))
        })
        .optional()
}

impl EventQuery {
    /// Whether the store knows how many events it is about.
    fn is_counted(&self) -> bool {
        let Self {
            topics: _,
            since,
            until,
            order: _,
            filter,
        } = self;
        since.is_none() && until.is_none() && *filter == Filter::default()
    }
}
