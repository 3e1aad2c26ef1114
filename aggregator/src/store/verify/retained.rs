//! The messages that the stream still has, against the store: every event of an applied message is stored, as it came,
//! by this message or by an earlier one, or is kept as rejected; and every row is of the message that it names.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};
use shared::{
    event::Event,
    message::{Reason, Rejection},
};

use super::{
    Bits, Verification, Verified, VerifyError,
    prints::Sorted,
    recount::Recount,
    report::{Check, Report},
};
use crate::store::{Delivery, fingerprint::Fields, ranges::Ranges};

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

/// A stored event, where its identity is that of an arrival.
struct Stored {
    sequence: i64,
    timestamp: String,
    source: String,
    payload: String,
    incarnation: i64,
    stream_sequence: u64,
    position: u64,
}

/// A row of `rejected`.
struct RejectedRow {
    id: i64,
    position: u64,
    reason: String,
    body: Vec<u8>,
}

impl Verified {
    /// Goes on with the messages of the stream, of which those up to `acked` were acked before the verification began.
    /// None where the store has applied nothing of this stream, which is said in the report.
    ///
    /// # Errors
    /// Where the store cannot be read.
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
        let mut rejected = self.rejected(&owners, sequence)?;
        for (position, arrival) in (0..).zip(&delivery.arrivals) {
            self.arrivals += 1;
            self.recount.received += 1;
            let is_accounted = match arrival {
                Ok(event) => self.event(event, &owners, sequence, position, &mut rejected)?,
                Err(rejection) => {
                    self.recount.rejected += 1;
                    self.rejection(rejection, &owners, sequence, position, &mut rejected)?
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

    fn event(
        &mut self,
        event: &Event,
        owners: &[i64],
        sequence: u64,
        position: u64,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<bool, VerifyError> {
        let stored = self.stored(event)?;
        let is_own = |stored: &&Stored| {
            owners.contains(&stored.incarnation)
                && (stored.stream_sequence, stored.position) == (sequence, position)
        };
        if stored.is_empty() {
            let place = rejected.iter().position(|row| {
                row.position == position && row.reason == Reason::Collision.as_str()
            });
            let is_kept = place.map(|place| rejected.remove(place)).is_some();
            if is_kept || self.is_evicted(owners, sequence)? {
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
        }
        *self
            .recount
            .topics
            .entry(event.topic.as_str().to_owned())
            .or_default() += 1;
        let mut own = stored.iter().filter(is_own).peekable();
        if own.peek().is_none() {
            self.recount.duplicates += 1;
            let is_conflict = stored
                .iter()
                .all(|stored| stored.differing(event).is_some());
            self.recount.conflicts += u64::from(is_conflict);
            return Ok(true);
        }
        for stored in own {
            self.own += 1;
            self.unmet.clear(stored.sequence);
            match stored.differing(event) {
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
        if self.is_evicted(owners, sequence)? {
            return Ok(true);
        }
        self.messages.differs(|| {
            format!(
                "message {sequence} is applied, and what it has at position {position} ({reason}) is not kept as rejected"
            )
        });
        Ok(false)
    }

    /// The events with the identity of this one: one, or none, in an order that is right.
    fn stored(&self, event: &Event) -> Result<Vec<Stored>, VerifyError> {
        let snapshot = &self.verification.snapshot;
        let identity = snapshot
            .key
            .identity(event.topic.as_str(), event.event_id.as_str());
        let mut statement = self.verification.connection.prepare_cached(
            "SELECT topic_id, event_id, timestamp, source, payload, incarnation, stream_sequence, \
             position FROM events WHERE sequence = ?1",
        )?;
        let mut stored = Vec::with_capacity(1);
        for record in self.sorted.find(identity)? {
            let row = statement
                .query_row([record.sequence], |row| {
                    let topic = snapshot.topics.get(&row.get(0)?);
                    let is_identity = topic.is_some_and(|topic| topic.name == event.topic.as_str())
                        && row.get_ref(1)?.as_str()? == event.event_id.as_str();
                    if !is_identity {
                        return Ok(None);
                    }
                    Ok(Some(Stored {
                        sequence: record.sequence,
                        timestamp: row.get(2)?,
                        source: row.get(3)?,
                        payload: row.get(4)?,
                        incarnation: row.get(5)?,
                        stream_sequence: row.get(6)?,
                        position: row.get(7)?,
                    }))
                })
                .optional()?;
            stored.extend(row.flatten());
        }
        Ok(stored)
    }

    fn rejected(&self, owners: &[i64], sequence: u64) -> Result<Vec<RejectedRow>, VerifyError> {
        let mut statement = self.verification.connection.prepare_cached(
            "SELECT id, position, reason, body FROM rejected \
             WHERE incarnation = ?1 AND stream_sequence = ?2",
        )?;
        let mut all = Vec::new();
        for owner in owners {
            let rows = statement.query_map(params![owner, sequence], |row| {
                Ok(RejectedRow {
                    id: row.get(0)?,
                    position: row.get(1)?,
                    reason: row.get(2)?,
                    body: row.get(3)?,
                })
            })?;
            for row in rows {
                all.push(row?);
            }
        }
        Ok(all)
    }

    /// Whether rejected rows of this message may have gone. Asked after a row was not found, for it may go at any time.
    fn is_evicted(&self, owners: &[i64], sequence: u64) -> Result<bool, VerifyError> {
        let sql = "SELECT evicted_to >= ?2 FROM incarnations WHERE id = ?1";
        let mut statement = self.verification.connection.prepare_cached(sql)?;
        for owner in owners {
            if statement.query_row(params![owner, sequence], |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What was found, once all messages up to [`Self::last`] were read.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn finish(mut self) -> Result<Report, VerifyError> {
        let strays = self.strays()?;
        self.messages.show(self.arrivals, self.accounted);
        self.rows.show(self.own + strays, self.same);
        if self.waiting > 0 {
            let waiting = self.waiting;
            self.messages.note(format!(
                "{waiting} messages up to the latest applied are not applied yet"
            ));
        }
        let read: u64 = self.read.iter().map(|(first, last)| last + 1 - first).sum();
        self.messages.note(format!("{read} messages were compared"));
        let recount = self.recounted();
        let mut report = self.verification.report;
        report.add(self.messages);
        report.add(self.rows);
        report.add(recount);
        Ok(report)
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

    fn recounted(&self) -> Check {
        let snapshot = &self.verification.snapshot;
        if snapshot.lives.len() > 1 {
            return Recount::left_out("messages of earlier incarnations of the stream are gone");
        }
        // What is not applied is not counted, so it may be anything.
        let last = self.last();
        if self.read.absent_within(1, last) > 0 {
            return Recount::left_out(
                "the stream was trimmed: it does not have all messages any more",
            );
        }
        self.recount.check(snapshot)
    }
}

impl Stored {
    /// The first field that is not the event's, byte for byte.
    fn differing(&self, event: &Event) -> Option<&'static str> {
        let other = Fields::from(event);
        let fields = [
            (
                "timestamp",
                self.timestamp.as_bytes(),
                other.timestamp.as_bytes(),
            ),
            ("source", self.source.as_bytes(), other.source.as_bytes()),
            ("payload", self.payload.as_bytes(), other.payload),
        ];
        let differs = |(_, own, other): &(&str, &[u8], &[u8])| own != other;
        fields.into_iter().find(differs).map(|(name, _, _)| name)
    }
}
