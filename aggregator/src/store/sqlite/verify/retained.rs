//! The messages that the stream still has, against the store: every event of an applied message is stored, as it came,
//! by this message or by an earlier one, or is kept as rejected; and every row is of the message that it names.

mod rejected;
mod stored;

use std::collections::HashMap;

use rusqlite::{Row, types::ValueRef};
use shared::{
    event::Event,
    message::{Reason, Rejection},
};

use self::{rejected::RejectedRow, stored::Stored};
use super::{
    Bits, TemporaryError, Verification, Verified, VerifyError,
    fingerprints::Sorted,
    recount::Recount,
    report::{Check, Report},
};
use crate::store::{Delivery, ranges::Ranges};

/// The comparison. It is given the retained messages in the order of their sequences.
#[derive(Debug)]
pub struct Retained {
    verification: Verification,
    sorted: Sorted,
    /// Events that may be of a retained message, and were not met in it yet.
    unmet: Bits,
    /// The incarnations that the stream's messages may be of.
    lives: Vec<i64>,
    /// Sequences that were read.
    read: Ranges,
    /// Those of them that are applied, by incarnation.
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
    /// Goes on with the messages of the stream, of which those up to `acked` were acked before the verification began.
    ///
    /// # Errors
    /// The finished report, where the store has applied nothing of this stream.
    pub fn compare(self, acked: u64) -> Result<Retained, Report> {
        let Self {
            mut verification,
            sorted,
            candidates,
        } = self;
        let stream = verification.stream.as_ref();
        let lives = stream.map(|stream| verification.snapshot.lives_of(stream));
        let lives: Vec<_> = lives.iter().flatten().map(|life| life.id).collect();
        let Some(sorted) = sorted.filter(|_| !lives.is_empty()) else {
            let why = "the store has applied nothing of this stream, by its name and creation time";
            verification.report.add(Check::left_out(MESSAGES, why));
            return Err(verification.report);
        };
        Ok(Retained {
            verification,
            sorted,
            unmet: candidates,
            lives,
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
    /// The last sequence that has to be read.
    #[must_use]
    pub fn last(&self) -> u64 {
        let lives = self
            .lives
            .iter()
            .filter_map(|id| self.verification.snapshot.life(*id));
        let highest = lives.map(|life| life.applied.highest()).max();
        highest.unwrap_or(0).max(self.acked)
    }

    /// Takes in the next messages.
    ///
    /// # Errors
    /// Where the store cannot be read.
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
        let lives = self.lives.iter().filter_map(|id| snapshot.life(*id));
        // A number that was given out again has a later time than all that was applied before.
        let owners = lives
            .filter(|life| life.applied.contains(sequence) && delivery.time <= life.latest_time);
        let owners: Vec<i64> = owners.map(|life| life.id).collect();
        if owners.is_empty() {
            if sequence <= self.acked {
                self.messages.differs(|| {
                    format!(
                        "message {sequence} was acked, and is not recorded as applied; where the store was restored from a \
                         backup, the next start has it delivered again"
                    )
                });
            } else {
                self.waiting += 1;
            }
            return Ok(());
        }
        for owner in &owners {
            let applied = self.applied.entry(*owner).or_default();
            applied.insert(sequence, sequence);
        }
        let mut rejected = rejected::rows(&self.verification.connection, &owners, sequence)?;
        for (position, arrival) in (0..).zip(&delivery.arrivals) {
            self.arrivals += 1;
            self.recount.received += 1;
            let is_accounted = match arrival {
                Ok(event) => self.event(event, &owners, sequence, position, &mut rejected)?,
                Err(rejection) => {
                    let is_kept = rejected.iter().any(|row| row.position == position);
                    let earlier = rejection.earlier_event(&delivery.subject, delivery.time);
                    match earlier.filter(|_| !is_kept) {
                        Some(event) if self.is_stored(&event)? => {
                            self.event(&event, &owners, sequence, position, &mut rejected)?
                        }
                        _ => {
                            self.recount.rejected += 1;
                            self.rejection(rejection, &owners, sequence, position, &mut rejected)?
                        }
                    }
                }
            };
            self.accounted += u64::from(is_accounted);
        }
        for row in rejected {
            self.messages.differs(|| {
                format!(
                    "rejected row {} is of message {sequence}, which has no such arrival at position {}",
                    row.id, row.position
                )
            });
        }
        Ok(())
    }

    fn is_stored(&mut self, event: &Event) -> Result<bool, VerifyError> {
        let stored = Stored::find(&mut self.verification, &self.sorted, event)?;
        Ok(!stored.is_empty())
    }

    fn event(
        &mut self,
        event: &Event,
        owners: &[i64],
        sequence: u64,
        position: u64,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<bool, VerifyError> {
        let stored = Stored::find(&mut self.verification, &self.sorted, event)?;
        let is_own = |stored: &&Stored| {
            owners.contains(&stored.incarnation)
                && (stored.stream_sequence, stored.position) == (sequence, position)
        };
        let Some(first) = stored.first() else {
            let place = rejected.iter().position(|row| {
                row.position == position && row.reason == Reason::Collision.as_str()
            });
            let is_kept = place.map(|place| rejected.remove(place)).is_some();
            if is_kept || rejected::is_evicted(&self.verification.connection, owners, sequence)? {
                self.recount.rejected += 1;
                return Ok(true);
            }
            self.messages.differs(|| {
                format!(
                    "message {sequence} is applied, and its event {:?} of topic {:?} at position {position} is not stored",
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
            self.unmet.clear(stored.sequence);
            match stored.differing_own(event) {
                None => self.same += 1,
                Some(field) => self.rows.differs(|| {
                    format!(
                        "event {} ({:?} of topic {:?}) has another {field} than message {sequence} at position {position}",
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
        owners: &[i64],
        sequence: u64,
        position: u64,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<bool, VerifyError> {
        let reason = rejection.reason.as_str();
        if let Some(place) = rejected.iter().position(|row| row.position == position) {
            let row = rejected.remove(place);
            if row.reason != reason || row.body != rejection.body {
                let id = row.id;
                self.messages.differs(|| {
                    format!("rejected row {id} is not what message {sequence} has at position {position}")
                });
            }
            return Ok(true);
        }
        if rejected::is_evicted(&self.verification.connection, owners, sequence)? {
            return Ok(true);
        }
        self.messages.differs(|| {
            format!(
                "message {sequence} is applied, and what it has at position {position} ({reason}) is not kept as rejected"
            )
        });
        Ok(false)
    }

    /// What was found, once all messages up to [`Self::last`] were read, or reading or comparing them broke off.
    #[must_use]
    pub fn finish(mut self, broken: Option<&dyn std::fmt::Display>) -> Report {
        let ended = match broken {
            Some(broken) => Err(broken.to_string()),
            None => self.ended().map_err(|err| err.to_string()),
        };
        self.messages.show(self.arrivals, self.accounted);
        let recount = match ended {
            Ok((strays, recount)) => {
                self.rows.show(self.own + strays, self.same);
                recount
            }
            Err(reason) => {
                let last = self.read.highest();
                self.messages
                    .differs(|| format!("comparing broke off after message {last}: {reason}"));
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

    /// What is known only after all messages were compared: stray rows, and the recount.
    fn ended(&mut self) -> Result<(u64, Check), VerifyError> {
        Ok((self.strays()?, self.recounted()?))
    }

    /// Rows that name a retained message which does not have them.
    fn strays(&mut self) -> Result<u64, VerifyError> {
        let sql = "SELECT incarnation, stream_sequence, position FROM events WHERE sequence = ?1";
        let mut statement = self.verification.connection.prepare_cached(sql)?;
        let mut strays = 0;
        for sequence in self.unmet.iter() {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let (life, message, position): (i64, u64, u64) =
                statement.query_row([sequence], row)?;
            // It was trimmed meanwhile, or lost by the broker.
            if !self
                .applied
                .get(&life)
                .is_some_and(|applied| applied.contains(message))
            {
                continue;
            }
            strays += 1;
            self.rows.differs(|| {
                format!("event {sequence} is not what message {message} has at position {position}")
            });
        }
        Ok(strays)
    }

    fn recounted(&mut self) -> Result<Check, TemporaryError> {
        if self.verification.snapshot.lives.len() > 1 {
            let why = "messages of earlier incarnations of the stream are gone";
            return Ok(Recount::left_out(why));
        }
        // What is not applied is not counted, so it may be anything.
        let last = self.last();
        if self.read.absent_within(1, last) > 0 {
            let why = "the stream was trimmed: it does not have all messages any more";
            return Ok(Recount::left_out(why));
        }
        let Verification {
            snapshot, topics, ..
        } = &mut self.verification;
        self.recount.check(snapshot, topics)
    }
}

/// The bytes of a column, whatever its type: somebody may have written there by hand.
fn column(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        ValueRef::Integer(number) => number.to_string().into_bytes(),
        ValueRef::Real(number) => number.to_string().into_bytes(),
        ValueRef::Null => Vec::new(),
    })
}
