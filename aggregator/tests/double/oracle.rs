//! What the store must contain in the end, derived from what the double confirmed and what is known to be applied.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use aggregator::store;
use rusqlite::{Connection, OpenFlags};

use super::{
    message::{Identity, payload},
    server::Server,
    stream::Record,
};

/// The content of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    pub counters: Counters,
    events: Vec<Event>,
    /// Stream sequence, position and body, in this order.
    rejected: Vec<(u64, usize, Vec<u8>)>,
    missing: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    pub unique: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub conflicts: u64,
    pub redelivered: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    identity: Identity,
    payload: String,
    stream_sequence: u64,
    position: usize,
}

impl Books {
    pub fn of(directory: &Path) -> Self {
        let file = directory.join(store::FILE);
        let file = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .expect("the store can be opened");
        let sql = "SELECT received, unique_processed, duplicate_dropped, rejected, conflicts, redelivered FROM counters";
        let counters = file.query_row(sql, [], |row| {
            Ok(Counters {
                received: row.get(0)?,
                unique: row.get(1)?,
                duplicates: row.get(2)?,
                rejected: row.get(3)?,
                conflicts: row.get(4)?,
                redelivered: row.get(5)?,
            })
        });
        let sql = "SELECT name, event_id, payload, stream_sequence, position \
                   FROM events JOIN topics ON topics.id = topic_id ORDER BY sequence";
        let events = rows(&file, sql, |row| {
            Ok(Event {
                identity: (row.get(0)?, row.get(1)?),
                payload: row.get(2)?,
                stream_sequence: row.get(3)?,
                position: row.get(4)?,
            })
        });
        let sql = "SELECT stream_sequence, position, body FROM rejected ORDER BY 1, 2, 3";
        let rejected = rows(&file, sql, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        });
        let sql = "SELECT ifnull(sum(last - first + 1), 0) FROM missing";
        let missing = file.query_row(sql, [], |row| row.get(0));
        let check: String = file
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("a check");
        assert_eq!(check, "ok");
        Self {
            counters: counters.expect("the counters"),
            events,
            rejected,
            missing: missing.expect("a number"),
        }
    }
}

fn rows<T>(
    file: &Connection,
    sql: &str,
    row: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = file.prepare(sql).expect("a query");
    let found = statement
        .query_map([], |found| row(found))
        .expect("the store can be queried");
    found.collect::<Result<_, _>>().expect("rows as expected")
}

/// Compares the store with all messages that are known to be applied. All that the stream still has must be.
pub fn check(server: &Server, books: &Books) {
    let known = || {
        server
            .stream
            .records
            .iter()
            .filter(|record| record.applied.is_some())
    };
    for record in server
        .stream
        .records
        .iter()
        .filter(|record| record.is_there)
    {
        assert!(record.applied.is_some(), "it was never applied: {record:?}");
    }
    let winners = winners(known, books);
    let mut expected = Counters {
        redelivered: books.counters.redelivered,
        unique: winners.len() as u64,
        ..Counters::default()
    };
    let mut events = 0;
    let mut rejected = Vec::new();
    for record in known() {
        let message = &record.message;
        expected.received += message.arrivals.len() as u64;
        for (position, arrival) in message.arrivals.iter().enumerate() {
            match message.event(position) {
                Some((identity, content)) => {
                    events += 1;
                    let stored = winners
                        .get(&identity)
                        .unwrap_or_else(|| panic!("{identity:?} of {record:?} is not stored"));
                    expected.conflicts += u64::from(payload(content) != stored.payload);
                }
                None => rejected.push((record.sequence, position, message.json(*arrival).to_vec())),
            }
        }
    }
    expected.duplicates = events - expected.unique;
    expected.rejected = rejected.len() as u64;
    rejected.sort();
    assert_eq!(books.counters, expected, "of {:#?}", server.stream.records);
    assert_eq!(books.rejected, rejected);
    assert_eq!(books.missing, 0, "nothing is missing");

    // Each ack answers a delivery that was applied or changed nothing, and no delivery is appended twice.
    let (applied, redelivered) = (known().count() as u64, books.counters.redelivered);
    let plausible = server.acks.saturating_sub(applied)..=server.deliveries - applied;
    assert!(
        plausible.contains(&redelivered),
        "{redelivered} redelivered, expected {plausible:?}"
    );
}

/// The stored events by identity. Each must be stored once, and come from a message that may have been the first.
fn winners<'a, I>(known: impl Fn() -> I, books: &Books) -> HashMap<Identity, &Event>
where
    I: Iterator<Item = &'a Record>,
{
    // Since when an identity is known to be stored with a content.
    let mut stored_since: BTreeMap<(Identity, u8), u64> = BTreeMap::new();
    for record in known() {
        for (_, identity, content) in record.message.events() {
            let since = record.applied.unwrap_or(u64::MAX);
            let earliest = stored_since.entry((identity, content)).or_insert(since);
            *earliest = since.min(*earliest);
        }
    }
    let mut winners = HashMap::new();
    for event in &books.events {
        let may_be_first = |record: &Record| {
            let Some((identity, content)) = record.message.event(event.position) else {
                return false;
            };
            let has_it = record.sequence == event.stream_sequence
                && identity == event.identity
                && payload(content) == event.payload;
            let delivered = record.delivered.unwrap_or(u64::MAX);
            let came_too_late = stored_since.iter().any(|((other, other_content), since)| {
                *other == identity && *other_content != content && *since < delivered
            });
            has_it && !came_too_late
        };
        assert!(
            known().any(may_be_first),
            "no message that was applied first has {event:?}"
        );
        let twice = winners.insert(event.identity.clone(), event);
        assert!(twice.is_none(), "{event:?} is stored twice");
    }
    winners
}
