//! Scans the rows of `events` once, in order and in short transactions.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::{
    StoreError, TemporaryError, VerifyError,
    snapshot::Snapshot,
    topics::{Topic, Topics},
};
use crate::store::{
    ranges::Ranges,
    sqlite::{
        dedup::fingerprint::{Fields, Fingerprint},
        topics::chain,
    },
    verify::{Check, Report, Verdict, topics::TopicChecks},
};

/// Rows per read. Each read is a transaction of its own, so that a running store can restart its WAL in between.
const CHUNK: usize = 10_000;

const SELECT: &str = "SELECT sequence, topic_id, previous, event_id, \
     iif(timestamp_filled, '', timestamp), source, payload, \
     processed_at, incarnation, stream_sequence, position FROM events \
     WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3";

/// The mark of an event. Marks of events in the snapshot never change afterwards.
const MARK: &str = "SELECT ordinal FROM marks WHERE topic_id = ?1 AND sequence = ?2";

/// The parts of a scanned row that other checks need.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScannedEvent {
    pub sequence: i64,
    pub fingerprint: Fingerprint,
    pub incarnation: i64,
    pub stream_sequence: u64,
}

/// A scan in progress, with the checks of the rows.
pub(super) struct EventScan<'a> {
    snapshot: &'a Snapshot,
    topics: &'a mut Topics,
    applied: HashMap<i64, &'a Ranges>,
    rows: u64,
    last: i64,
    processed_at: i64,
    readable: Check,
    order: Check,
    chain: Check,
    origins: Check,
    /// Marks of events that must have one.
    marks: u64,
    marked: Check,
}

impl<'a> EventScan<'a> {
    pub fn new(snapshot: &'a Snapshot, topics: &'a mut Topics) -> Self {
        let incarnations = snapshot.incarnations.iter();
        Self {
            snapshot,
            topics,
            applied: incarnations.map(|row| (row.id, &row.applied)).collect(),
            rows: 0,
            last: 0,
            processed_at: 0,
            readable: Check::new("events"),
            order: Check::new("order of sequences and times"),
            chain: Check::new("chains of topics"),
            origins: Check::new("events of applied messages"),
            marks: 0,
            marked: Check::new("marks along the chains"),
        }
    }

    /// Reads the next rows and passes each to `each`; returns false after the last one.
    pub fn read(
        &mut self,
        connection: &Connection,
        after: &mut i64,
        mut each: impl FnMut(&ScannedEvent) -> Result<(), TemporaryError>,
    ) -> Result<bool, VerifyError> {
        let mut statement = connection.prepare_cached(SELECT)?;
        let mut mark = connection.prepare_cached(MARK)?;
        let mut rows = statement.query(params![*after, self.snapshot.last_event, CHUNK])?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            read += 1;
            *after = row.get(0)?;
            match self.row(*after, row, &mut mark) {
                Ok(scanned) => each(&scanned)?,
                Err(VerifyError::Store(StoreError::Sqlite(err))) => {
                    let sequence = *after;
                    self.readable
                        .differs(|| format!("event {sequence} cannot be read: {err}"));
                }
                Err(err) => return Err(err),
            }
        }
        Ok(read == CHUNK)
    }

    /// Records that reading failed before the last row.
    pub fn read_failed(&mut self, err: &rusqlite::Error) {
        let last = self.last;
        self.readable
            .differs(|| format!("nothing can be read after event {last}: {err}"));
    }

    /// The number of rows read so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn row(
        &mut self,
        sequence: i64,
        row: &Row<'_>,
        mark: &mut Statement<'_>,
    ) -> Result<ScannedEvent, VerifyError> {
        self.rows += 1;
        self.follow(sequence, row.get(7)?);
        let topic_id = row.get(1)?;
        let topic = self.topics.get(topic_id)?;
        let scanned = ScannedEvent {
            sequence,
            fingerprint: self.snapshot.key.fingerprint(&fields(topic, row)?),
            incarnation: row.get(8)?,
            stream_sequence: row.get(9)?,
        };
        let previous: i64 = row.get(2)?;
        let counted = topic.count();
        counted.unique += 1;
        counted.digest.add(&self.snapshot.key, scanned.fingerprint);
        let ordinal = counted.unique;
        let last = std::mem::replace(&mut counted.last_sequence, sequence);
        if chain::is_marked(ordinal) {
            let marked = mark.query_row(params![topic_id, sequence], |row| row.get(0));
            let marked: Option<u64> = marked.optional()?;
            self.marks += u64::from(marked.is_some());
            if marked != Some(ordinal) {
                self.marked.differs(|| {
                    format!("event {sequence} has no mark as event number {ordinal} of its topic")
                });
            }
        }
        if previous != last {
            self.chain.differs(|| {
                format!(
                    "event {sequence} names event {previous} as the previous one in topic {}, but that is event {last}",
                    topic.label(topic_id)
                )
            });
        }
        let applied = self.applied.get(&scanned.incarnation);
        if !applied.is_some_and(|applied| applied.contains(scanned.stream_sequence)) {
            self.origins.differs(|| {
                format!(
                    "event {sequence} is from message {} of incarnation {}, which is not recorded as applied",
                    scanned.stream_sequence, scanned.incarnation
                )
            });
        }
        Ok(scanned)
    }

    /// Checks that sequences have no gaps and that times never decrease.
    fn follow(&mut self, sequence: i64, processed_at: i64) {
        let expected = self.last + 1;
        if sequence != expected {
            let last = sequence - 1;
            self.order.differs(|| match (sequence, last) {
                (..=0, _) => format!("event {sequence} precedes the first"),
                (_, last) if last == expected => format!("event {expected} is missing"),
                _ => format!("events {expected} to {last} are missing"),
            });
        }
        self.last = sequence;
        if processed_at < self.processed_at {
            let before = self.processed_at;
            self.order.differs(|| {
                format!("event {sequence} was stored at {processed_at}, an earlier one at {before}")
            });
        }
        self.processed_at = self.processed_at.max(processed_at);
    }

    /// Finds extra marks, after all rows have been read.
    fn stray_marks(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let last = self.snapshot.last_event;
        let all: u64 = connection.query_row(
            "SELECT count(*) FROM marks WHERE sequence <= ?1",
            [last],
            |row| row.get(0),
        )?;
        let stray = all.saturating_sub(self.marks);
        if stray == 0 {
            return Ok(());
        }
        let sql = "SELECT sequence FROM marks WHERE sequence <= ?1 AND NOT EXISTS (SELECT 1 FROM events \
                   WHERE events.sequence = marks.sequence AND events.topic_id = marks.topic_id) LIMIT 1";
        let foreign: Option<i64> = connection
            .query_row(sql, [last], |row| row.get(0))
            .optional()?;
        self.marked.differs(|| match foreign {
            Some(sequence) => {
                format!("there are {stray} extra marks; one is for event {sequence}, which is not in its topic")
            }
            None => format!("{stray} marks belong to events that should have none"),
        });
        Ok(())
    }

    /// Compares the counts of the rows with the record and adds the checks.
    pub fn finish(
        mut self,
        connection: &Connection,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        // The marks of rows that cannot be read were not counted.
        if self.readable.verdict == Verdict::Ok {
            self.stray_marks(connection)?;
        }
        let counters = &self.snapshot.counters;
        self.readable.compare(counters.unique_processed, self.rows);
        if self.processed_at > counters.processed_at {
            let (found, recorded) = (self.processed_at, counters.processed_at);
            self.order.differs(|| {
                format!(
                    "an event was stored at {found}, later than the latest recorded, {recorded}"
                )
            });
        }
        let (unique, digests) = self.by_topic()?;
        report.add(self.readable);
        report.add(unique);
        report.add(digests);
        report.add(self.order);
        report.add(self.chain);
        report.add(self.marked);
        report.add(self.origins);
        Ok(())
    }

    fn by_topic(&mut self) -> Result<(Check, Check), TemporaryError> {
        let mut checks = TopicChecks::new();
        let chain = &mut self.chain;
        self.topics.each(|recorded, found| {
            checks.topic(
                &recorded.name,
                (recorded.unique, Some(recorded.digest)),
                (found.unique, found.digest),
            );
            if found.last_sequence != recorded.last_sequence {
                let (name, found, recorded) =
                    (&recorded.name, found.last_sequence, recorded.last_sequence);
                chain.differs(|| {
                    format!("topic {name:?}: its last event is {found}, recorded {recorded}")
                });
            }
        })?;
        self.topics
            .each_absent(|id, found| checks.absent(&format!("number {id}"), found.unique))?;
        Ok(checks.finish())
    }
}

fn fields<'r>(topic: &'r Topic, row: &'r Row<'_>) -> rusqlite::Result<Fields<'r>> {
    let text = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)?.as_str()?);
    Ok(Fields {
        topic: topic.name().unwrap_or(""),
        event_id: text(3)?,
        timestamp: text(4)?,
        source: text(5)?,
        payload: text(6)?.as_bytes(),
    })
}
