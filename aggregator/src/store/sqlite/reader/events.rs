//! Pages of events, and one event.

mod filter;
mod identities;
mod walk;

use std::{
    ops::RangeInclusive,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{OptionalExtension, Row, Transaction, params};

pub(super) use self::identities::Identities;
use self::{
    filter::Candidate,
    walk::{Next, Over, Walk, Walked},
};
use crate::{
    access::{Patterns, Span},
    store::{
        query::{EventPage, EventQuery, Filter, Order, PageBounds, Sink, StoredEvent},
        sqlite::{
            gate::Inside,
            topics::{
                StoredTopics,
                chain::{Back, Chain},
            },
        },
    },
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
                let (over, total) = match self.identities.sequences(read, &self.query, &range)? {
                    Some(sequences) => (Over::Sequences(sequences), None),
                    None => {
                        let needs_total = self.query.is_counted() && self.bounds.last == i64::MAX;
                        over(
                            (read, inside),
                            &self.query,
                            &range,
                            needs_total,
                            &self.resolved,
                        )?
                    }
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

/// Events that are read and tested rather than found by the chains of the visible topics.
const FEW: i64 = if cfg!(test) { 3 } else { 10_000 };

/// Topics whose chains are merged however many events they hold. To find the place of the first event in each of more chains costs
/// more than to read the events between, if those are not many.
const FEW_TOPICS: usize = if cfg!(test) { 2 } else { 100 };

/// If the chains of more topics hold one event in so many or more, the events are read and tested.
const DENSE: u64 = 10;

/// The chains of the visible topics, if there are not too many, once they are known. The pages of an export share them: up to a
/// sequence that the store has reached, chains do not change.
#[derive(Debug, Clone, Default)]
pub struct Resolved(Arc<OnceLock<Option<Vec<Chain>>>>);

/// Whether a page may read many events that are not in it: those that a filter excludes, and those of topics that are not visible.
pub(super) fn is_scan(
    query: &EventQuery,
    bounds: &PageBounds,
    newest: i64,
    resolved: &Resolved,
) -> bool {
    let (mut first, mut last) = (bounds.after, newest.min(bounds.last));
    match (query.order, bounds.from) {
        (Order::NewestFirst, Some(from)) => last = last.min(from - 1),
        (Order::OldestFirst, Some(from)) => first = first.max(from),
        (_, None) => {}
    }
    let are_chains = matches!(resolved.0.get(), Some(Some(chains)) if chains.len() <= FEW_TOPICS);
    query.filter != Filter::default() || !are_chains && is_many(query, last.saturating_sub(first))
}

/// Whether a query by visible topics reads many events or chains, in a range of this many sequences.
pub(super) fn is_many(query: &EventQuery, sequences: i64) -> bool {
    query.topics.is_empty()
        && sequences > FEW
        && query
            .visible
            .patterns()
            .is_some_and(|patterns| !is_named(patterns))
}

/// Whether patterns are the names of few topics.
fn is_named(patterns: &Patterns) -> bool {
    let spans = patterns.spans();
    spans.len() <= FEW_TOPICS && spans.iter().all(|span| matches!(span, Span::One(_)))
}

/// The events to walk over, and the number of all that are visible, if it is known. They may be of topics that are not visible,
/// unless they are chains.
fn over(
    (read, inside): (&Transaction<'_>, &Inside),
    query: &EventQuery,
    range: &RangeInclusive<i64>,
    needs_total: bool,
    resolved: &Resolved,
) -> rusqlite::Result<(Over, Option<u64>)> {
    if let Some(chains) = chains(read, &query.topics)? {
        let total = held(&chains);
        return Ok((Over::Chains(chains), Some(total)));
    }
    let Some(patterns) = query.visible.patterns() else {
        return Ok((Over::All, Some(count_all(read)?)));
    };
    // A tail reads only the few events that are new.
    if !needs_total && range.end() - range.start() < FEW {
        return Ok((Over::All, None));
    }
    let Some(chains) = resolve((read, inside), patterns, resolved)? else {
        return Ok((Over::All, None));
    };
    let total = held(&chains);
    let is_dense = chains.len() > FEW_TOPICS && total.saturating_mul(DENSE) >= count_all(read)?;
    let over = if is_dense {
        Over::All
    } else {
        Over::Chains(chains)
    };
    Ok((over, Some(total)))
}

/// The number of events in chains.
fn held(chains: &[Chain]) -> u64 {
    chains.iter().map(|chain| chain.length).sum()
}

/// The chains of the topics of patterns; `None` if these cannot be found in time.
fn resolve(
    (read, inside): (&Transaction<'_>, &Inside),
    patterns: &Patterns,
    resolved: &Resolved,
) -> rusqlite::Result<Option<Vec<Chain>>> {
    if let Some(known) = resolved.0.get() {
        return Ok(known.clone());
    }
    let topics = StoredTopics::open(read)?.visible(patterns, inside)?;
    let chains = topics.map(|topics| topics.iter().map(Chain::of_state).collect());
    Ok(resolved.0.get_or_init(|| chains).clone())
}

/// The chains of those topics that have events; `None` if the query selects all topics.
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

/// Counts the events of the query's topics, or of all that are visible, after one sequence and up to another.
#[derive(Debug)]
pub(super) struct Between {
    query: Arc<EventQuery>,
    after: i64,
    upto: i64,
    /// For each topic, the walks back to `after` and to `upto`.
    walks: Option<Vec<[Back; 2]>>,
    /// Events counted one by one, up to `after`.
    counted: u64,
}

impl Between {
    pub fn new(query: Arc<EventQuery>, after: i64, upto: i64) -> Self {
        Self {
            query,
            after,
            upto,
            walks: None,
            counted: 0,
        }
    }

    /// Continues counting, which may take several transactions; returns the number when it is complete, or that it is not known
    /// because too many events would have to be read.
    pub fn go(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
    ) -> rusqlite::Result<Option<Option<u64>>> {
        let walks = match &mut self.walks {
            Some(walks) => walks,
            none => {
                let length = self.upto - self.after;
                let of_topics = chains(read, &self.query.topics)?;
                let chains = match (of_topics, self.query.visible.patterns()) {
                    (Some(chains), _) => Some(chains),
                    (None, None) => return Ok(Some(Some(u64::try_from(length).unwrap_or(0)))),
                    (None, Some(_)) if length <= FEW => return self.each(read, inside),
                    (None, Some(patterns)) => {
                        resolve((read, inside), patterns, &Resolved::default())?
                    }
                };
                let Some(chains) = chains else {
                    return Ok(Some(None));
                };
                let both = [self.after, self.upto];
                let walks = chains.iter().map(|chain| both.map(|to| chain.back_to(to)));
                none.insert(walks.collect())
            }
        };
        for walk in walks.iter_mut().flatten() {
            if !walk.go(read, inside)? {
                return Ok(None);
            }
        }
        let counts = walks
            .iter()
            .map(|[after, upto]| upto.count().saturating_sub(after.count()));
        Ok(Some(Some(counts.sum())))
    }

    /// Continues counting the visible ones by reading all, which are few.
    fn each(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
    ) -> rusqlite::Result<Option<Option<u64>>> {
        let sql = "SELECT e.sequence, t.name FROM events e JOIN topics t ON t.id = e.topic_id \
                   WHERE e.sequence > ?1 AND e.sequence <= ?2 ORDER BY e.sequence";
        let mut statement = read.prepare_cached(sql)?;
        let mut rows = statement.query([self.after, self.upto])?;
        while let Some(row) = rows.next()? {
            if !inside.has_time() {
                return Ok(None);
            }
            let is_visible = self.query.visible.includes(row.get_ref(1)?.as_str()?);
            self.counted += u64::from(is_visible);
            self.after = row.get(0)?;
        }
        Ok(Some(Some(self.counted)))
    }
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
