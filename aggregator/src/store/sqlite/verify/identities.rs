//! Checks of identities: none is stored twice, and the dedup index contains exactly those of the events.

use std::iter::Peekable;

use rusqlite::{Connection, OptionalExtension};

use super::{VerifyError, fingerprints::Record, topics::Topics};
use crate::store::{
    sqlite::dedup::index::{Audit, Entry, IndexError},
    verify::Check,
};

/// Checks that no identity is stored twice. Takes the records in order.
pub(super) struct Uniqueness<'a> {
    connection: &'a Connection,
    topics: &'a mut Topics,
    last: Option<Record>,
    events: u64,
    identities: u64,
    check: Check,
}

impl<'a> Uniqueness<'a> {
    pub fn new(connection: &'a Connection, topics: &'a mut Topics) -> Self {
        Self {
            connection,
            topics,
            last: None,
            events: 0,
            identities: 0,
            check: Check::new("identities, each stored once"),
        }
    }

    /// Takes the next record.
    pub fn record(&mut self, record: Record) -> Result<(), VerifyError> {
        self.events += 1;
        let before = self.last.replace(record);
        let Some(before) = before.filter(|before| before.identity == record.identity) else {
            self.identities += 1;
            return Ok(());
        };
        let (one, other) = (self.identity(before)?, self.identity(record)?);
        // Two different identities may have the same fingerprint.
        if one != other {
            self.identities += 1;
            return Ok(());
        }
        if let Some((topic, event_id)) = one {
            let topic = self.topics.get(topic)?.label(topic);
            let (before, sequence) = (before.sequence, record.sequence);
            self.check.differs(|| {
                format!("events {before} and {sequence} have the same identity: {event_id:?} of topic {topic}")
            });
        }
        Ok(())
    }

    fn identity(&self, record: Record) -> rusqlite::Result<Option<(i64, String)>> {
        self.connection
            .prepare_cached("SELECT topic_id, event_id FROM events WHERE sequence = ?1")?
            .query_row([record.sequence], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
    }

    pub fn finish(mut self) -> Check {
        self.check.show(self.events, self.identities);
        self.check
    }
}

type Entries = Box<dyn Iterator<Item = Result<(u128, Entry), IndexError>>>;

/// Compares the dedup index with the events in both directions. Both arrive in order of their fingerprints.
pub(super) struct IndexComparison {
    entries: Peekable<Entries>,
    reach: i64,
    last: Option<u128>,
    wanted: u64,
    found: u64,
    /// Why the index cannot be read further.
    damage: Option<IndexError>,
    check: Check,
}

impl IndexComparison {
    pub fn new(audit: &Audit) -> Self {
        let entries: Entries = Box::new(audit.entries());
        Self {
            entries: entries.peekable(),
            reach: audit.reach,
            last: None,
            wanted: 0,
            found: 0,
            damage: None,
            check: Check::new(INDEX),
        }
    }

    /// Takes the record of the next event.
    pub fn record(&mut self, record: Record) {
        // `Uniqueness` reports identities that are stored twice.
        if self.last.replace(record.identity) == Some(record.identity) {
            return;
        }
        while let Some(entry) = self.next_if(|identity| identity < record.identity) {
            self.stray(entry);
        }
        // Events that are not sealed yet are read again at every start.
        let is_sealed = record.sequence <= self.reach;
        self.wanted += u64::from(is_sealed);
        let sequence = record.sequence;
        let entry = self.next_if(|identity| identity == record.identity);
        let check = &mut self.check;
        match entry {
            None if is_sealed && self.damage.is_none() => {
                check.differs(|| format!("event {sequence} is not in the dedup index"));
            }
            Some(entry) if entry.sequence != sequence => check.differs(|| {
                format!("event {sequence} is event {} in the dedup index", entry.sequence)
            }),
            Some(entry) if !entry.has_content(record.content) => check.differs(|| {
                format!(
                    "the timestamp, source or payload of event {sequence} does not match the dedup index"
                )
            }),
            None | Some(_) => {}
        }
    }

    fn next_if(&mut self, is_wanted: impl Fn(u128) -> bool) -> Option<Entry> {
        if self.damage.is_some() {
            return None;
        }
        let matches = |item: &Result<(u128, Entry), IndexError>| match item {
            Ok((identity, _)) => is_wanted(*identity),
            Err(_) => true,
        };
        match self.entries.next_if(matches)? {
            Ok((_, entry)) => {
                self.found += 1;
                Some(entry)
            }
            Err(err) => {
                self.damage = Some(err);
                None
            }
        }
    }

    fn stray(&mut self, entry: Entry) {
        let sequence = entry.sequence;
        self.check.differs(|| {
            format!("the dedup index has event {sequence}, under an identity that is not stored")
        });
    }

    pub fn finish(mut self) -> Check {
        while let Some(entry) = self.next_if(|_| true) {
            self.stray(entry);
        }
        if let Some(err) = self.damage {
            self.check.leave_out(format!(
                "{err}; the aggregator rebuilds the index when it finds the damage"
            ));
        } else {
            self.check.show(self.wanted, self.found);
        }
        self.check
    }
}

/// The name of the check of the index, also when it is left out.
pub(super) const INDEX: &str = "dedup index, both ways";
