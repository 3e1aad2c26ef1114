//! Compares the messages that the stream still has with the store. Every event of an applied message must be stored as
//! received, from this message or an earlier one, or be kept as rejected; and every row must originate from the message
//! that it names.

pub(super) mod bits;
mod recount;
mod rejected;
mod stored;

use std::collections::HashMap;

use rusqlite::{Row, types::ValueRef};
use shared::{
    event::Event,
    message::{Reason, Rejection},
};

use self::{bits::Bits, rejected::RejectedRow, stored::StoredRow};
use super::{TemporaryError, Verification, Verified, VerifyError, fingerprints::Sorted};
use crate::store::{
    Delivery,
    ranges::Ranges,
    verify::{Check, Report, recount::Recount},
};

/// A comparison in progress. It takes the retained messages in order of sequence.
#[derive(Debug)]
pub struct Retained {
    verification: Verification,
    sorted: Sorted,
    /// Events that may originate from a retained message and have not been found in one yet.
    unmatched: Bits,
    /// The incarnations that the stream's messages may belong to.
    incarnations: Vec<i64>,
    /// Sequences that have been read.
    read: Ranges,
    /// Sequences that have been read and are applied, by incarnation.
    applied: HashMap<i64, Ranges>,
    /// Messages up to this sequence were acked before the snapshot.
    acked: u64,
    arrivals: u64,
    accounted: u64,
    waiting: u64,
    own: u64,
    same: u64,
    messages: Check,
    rows: Check,
    recount: Recount,
}

impl Verified {
    /// Continues with the messages of the stream. Messages up to `acked` were acked before the verification began.
    ///
    /// # Errors
    /// The finished report, if the store has applied nothing from this stream.
    pub fn compare(self, acked: u64) -> Result<Retained, Report> {
        let Self {
            mut verification,
            sorted,
            candidates,
        } = self;
        let stream = verification.stream.as_ref();
        let rows = stream.map(|stream| verification.snapshot.incarnations_of(stream));
        let incarnations: Vec<_> = rows.iter().flatten().map(|row| row.id).collect();
        let Some(sorted) = sorted.filter(|_| !incarnations.is_empty()) else {
            let why =
                "the store has applied nothing from a stream with this name and creation time";
            verification.report.add(Check::left_out(MESSAGES, why));
            return Err(verification.report);
        };
        Ok(Retained {
            verification,
            sorted,
            unmatched: candidates,
            incarnations,
            read: Ranges::default(),
            applied: HashMap::new(),
            acked,
            arrivals: 0,
            accounted: 0,
            waiting: 0,
            own: 0,
            same: 0,
            messages: Check::new(MESSAGES),
            rows: Check::new("events, each as in its message"),
            recount: Recount::default(),
        })
    }
}

const MESSAGES: &str = "arrivals of retained messages";

impl Retained {
    /// The last sequence that must be read.
    #[must_use]
    pub fn last(&self) -> u64 {
        let incarnations = self
            .incarnations
            .iter()
            .filter_map(|id| self.verification.snapshot.incarnation(*id));
        let highest = incarnations.map(|row| row.applied.highest()).max();
        highest.unwrap_or(0).max(self.acked)
    }

    /// Takes the next messages.
    ///
    /// # Errors
    /// Fails if the store or a temporary file cannot be read.
    pub fn take(&mut self, deliveries: &[Delivery]) -> Result<(), VerifyError> {
        for delivery in deliveries {
            self.delivery(delivery)?;
        }
        Ok(())
    }

    fn delivery(&mut self, delivery: &Delivery) -> Result<(), VerifyError> {
        let sequence = delivery.sequence;
        self.read.insert(sequence, sequence);
        let snapshot = &self.verification.snapshot;
        let rows = self
            .incarnations
            .iter()
            .filter_map(|id| snapshot.incarnation(*id));
        // A reused sequence has a later time than every message that was applied before.
        let incarnations =
            rows.filter(|row| row.applied.contains(sequence) && delivery.time <= row.latest_time);
        let incarnations: Vec<i64> = incarnations.map(|row| row.id).collect();
        if incarnations.is_empty() {
            if sequence <= self.acked {
                self.messages.differs(|| {
                    format!(
                        "message {sequence} was acked but is not recorded as applied; if the store was restored from a \
                         backup, the message will be redelivered at the next start"
                    )
                });
            } else {
                self.waiting += 1;
            }
            return Ok(());
        }
        for incarnation in &incarnations {
            let applied = self.applied.entry(*incarnation).or_default();
            applied.insert(sequence, sequence);
        }
        let mut rejected = rejected::rows(&self.verification.connection, &incarnations, sequence)?;
        for (position, arrival) in (0..).zip(&delivery.arrivals) {
            self.arrivals += 1;
            self.recount.received += 1;
            let is_accounted = match arrival {
                Ok(event) => self.event(event, &incarnations, sequence, position, &mut rejected)?,
                Err(rejection) => {
                    let is_kept = rejected.iter().any(|row| row.position == position);
                    let earlier = rejection.earlier_event(&delivery.subject, delivery.time);
                    match earlier.filter(|_| !is_kept) {
                        Some(event) if self.is_stored(&event)? => {
                            self.event(&event, &incarnations, sequence, position, &mut rejected)?
                        }
                        _ => {
                            self.recount.rejected += 1;
                            self.rejection(
                                rejection,
                                &incarnations,
                                sequence,
                                position,
                                &mut rejected,
                            )?
                        }
                    }
                }
            };
            self.accounted += u64::from(is_accounted);
        }
        for row in rejected {
            self.messages.differs(|| {
                format!(
                    "rejected row {} is from message {sequence}, which has no such arrival at position {}",
                    row.id, row.position
                )
            });
        }
        Ok(())
    }

    fn is_stored(&mut self, event: &Event) -> Result<bool, VerifyError> {
        let stored = StoredRow::find(&mut self.verification, &self.sorted, event)?;
        Ok(!stored.is_empty())
    }

    fn event(
        &mut self,
        event: &Event,
        incarnations: &[i64],
        sequence: u64,
        position: u64,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<bool, VerifyError> {
        let stored = StoredRow::find(&mut self.verification, &self.sorted, event)?;
        let is_own = |stored: &&StoredRow| {
            incarnations.contains(&stored.incarnation)
                && (stored.stream_sequence, stored.position) == (sequence, position)
        };
        let Some(first) = stored.first() else {
            let index = rejected.iter().position(|row| {
                row.position == position && row.reason == Reason::Collision.as_str()
            });
            let is_kept = index.map(|index| rejected.remove(index)).is_some();
            if is_kept
                || rejected::is_evicted(&self.verification.connection, incarnations, sequence)?
            {
                self.recount.rejected += 1;
                return Ok(true);
            }
            self.messages.differs(|| {
                format!(
                    "message {sequence} is applied, but its event {:?} of topic {:?} at position {position} is not stored",
                    event.event_id.as_str(),
                    event.topic.as_str()
                )
            });
            return Ok(false);
        };
        let topic = self.verification.topics.get(first.topic_id)?;
        topic.count().received += 1;
        let mut own = stored.iter().filter(is_own).peekable();
        if own.peek().is_none() {
            self.recount.duplicates += 1;
            let is_conflict = stored
                .iter()
                .all(|stored| stored.differing(event).is_some());
            let is_reworded = stored.iter().all(|stored| stored.is_reworded(event));
            self.recount.conflicts += u64::from(is_conflict);
            self.recount.reworded += u64::from(is_reworded && !is_conflict);
            return Ok(true);
        }
        for stored in own {
            self.own += 1;
            self.unmatched.clear(stored.sequence);
            match stored.differing_own(event) {
                None => self.same += 1,
                Some(field) => self.rows.differs(|| {
                    format!(
                        "event {} ({:?} of topic {:?}) has a different {field} than message {sequence} at position {position}",
                        stored.sequence,
                        event.event_id.as_str(),
                        event.topic.as_str()
                    )
                }),
            }
        }
        Ok(true)
    }

    fn rejection(
        &mut self,
        rejection: &Rejection,
        incarnations: &[i64],
        sequence: u64,
        position: u64,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<bool, VerifyError> {
        let reason = rejection.reason.as_str();
        if let Some(index) = rejected.iter().position(|row| row.position == position) {
            let row = rejected.remove(index);
            if row.reason != reason || row.body != rejection.body {
                let id = row.id;
                self.messages.differs(|| {
                    format!(
                        "rejected row {id} does not match message {sequence} at position {position}"
                    )
                });
            }
            return Ok(true);
        }
        if rejected::is_evicted(&self.verification.connection, incarnations, sequence)? {
            return Ok(true);
        }
        self.messages.differs(|| {
            format!(
                "message {sequence} is applied, but its arrival at position {position} ({reason}) is not kept as rejected"
            )
        });
        Ok(false)
    }

    /// The report, after all messages up to [`Self::last`] have been taken, or after reading or comparing them failed with
    /// `failure`.
    #[must_use]
    pub fn finish(mut self, failure: Option<&dyn std::fmt::Display>) -> Report {
        let outcome = match failure {
            Some(failure) => Err(failure.to_string()),
            None => self.conclude().map_err(|err| err.to_string()),
        };
        self.messages.show(self.arrivals, self.accounted);
        let recount = match outcome {
            Ok((strays, recount)) => {
                self.rows.show(self.own + strays, self.same);
                recount
            }
            Err(reason) => {
                let last = self.read.highest();
                self.messages
                    .differs(|| format!("the comparison stopped after message {last}: {reason}"));
                self.rows.show(self.own, self.same);
                Recount::left_out("not all messages were compared")
            }
        };
        if self.waiting > 0 {
            let waiting = self.waiting;
            self.messages.note(format!(
                "{waiting} messages before the latest applied are not applied yet"
            ));
        }
        let read: u64 = self.read.iter().map(|(first, last)| last + 1 - first).sum();
        self.messages.note(format!("{read} messages were compared"));
        let mut report = self.verification.report;
        report.add(self.messages);
        report.add(self.rows);
        report.add(recount);
        report
    }

    /// The checks that require all messages to have been compared: stray rows, and the recount.
    fn conclude(&mut self) -> Result<(u64, Check), VerifyError> {
        Ok((self.strays()?, self.recounted()?))
    }

    /// Counts rows that name a retained message which does not contain them.
    fn strays(&mut self) -> Result<u64, VerifyError> {
        let sql = "SELECT incarnation, stream_sequence, position FROM events WHERE sequence = ?1";
        let mut statement = self.verification.connection.prepare_cached(sql)?;
        let mut strays = 0;
        for sequence in self.unmatched.iter() {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let (incarnation, message, position): (i64, u64, u64) =
                statement.query_row([sequence], row)?;
            // The message was trimmed in the meantime, or lost by the broker.
            if !self
                .applied
                .get(&incarnation)
                .is_some_and(|applied| applied.contains(message))
            {
                continue;
            }
            strays += 1;
            self.rows.differs(|| {
                format!("event {sequence} does not match message {message} at position {position}")
            });
        }
        Ok(strays)
    }

    fn recounted(&mut self) -> Result<Check, TemporaryError> {
        if self.verification.snapshot.incarnations.len() > 1 {
            let why = "messages of earlier incarnations of the stream are gone";
            return Ok(Recount::left_out(why));
        }
        // Messages that are not applied are not counted, so they do not matter here.
        let last = self.last();
        if self.read.absent_within(1, last) > 0 {
            let why = "the stream was trimmed and no longer has all messages";
            return Ok(Recount::left_out(why));
        }
        let Verification {
            snapshot, topics, ..
        } = &mut self.verification;
        recount::check(&self.recount, snapshot, topics)
    }
}

/// The bytes of a column of any type, because the row may have been edited by hand.
fn column(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        ValueRef::Integer(number) => number.to_string().into_bytes(),
        ValueRef::Real(number) => number.to_string().into_bytes(),
        ValueRef::Null => Vec::new(),
    })
}
