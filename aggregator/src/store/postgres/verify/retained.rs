//! Compares the messages that the stream still has with the store. Every event of an applied message must be stored as
//! received, from this message or an earlier one, or be kept as rejected; and every row must originate from the message
//! of its place.

mod rows;

use std::{collections::HashMap, fmt::Display};

use shared::{
    event::Event,
    message::{Reason, Rejection},
    stream::StreamState,
};

use self::rows::{Own, Window};
use super::{connection, opened, record::Record, share};
use crate::store::{
    Delivery, StoreError,
    fingerprint::{Fingerprint, Key},
    postgres::{
        connect::{Address, Pool},
        lives::signed,
        place,
    },
    ranges::Ranges,
    verify::{
        Check, Report,
        recount::{self, Recount},
    },
};

/// Bytes of topics up to which the messages are counted by topic.
const TOPICS: u64 = 64 * 1024 * 1024;

const MESSAGES: &str = "arrivals of retained messages";

/// A comparison in progress. It takes the retained messages in order of sequence.
#[derive(Debug)]
pub struct Retained {
    pool: Pool,
    key: Key,
    store_id: String,
    /// The record, read after the state of the stream.
    record: Record,
    /// Whether the record has all topics.
    has_topics: bool,
    stream: (String, i64),
    acked: u64,
    /// Sequences that have been read.
    read: Ranges,
    arrivals: u64,
    accounted: u64,
    waiting: u64,
    own: u64,
    same: u64,
    /// Received events by topic.
    topics: HashMap<Box<[u8]>, u64>,
    messages: Check,
    rows: Check,
    recount: Recount,
}

/// A message of a window, with what it may be in the store.
struct Message<'a> {
    delivery: &'a Delivery,
    /// Its events with their hashes, and its rejected arrivals, by position.
    arrivals: Vec<Result<(&'a Event, Fingerprint), &'a Rejection>>,
    /// The lives that have applied it: the id, and the base + the sequence. One, as a rule.
    lives: Vec<(i64, i64)>,
}

impl Message<'_> {
    fn places(&self, position: usize) -> impl Iterator<Item = i64> {
        let lives = self.lives.iter();
        lives.map(move |(_, message)| place::of(*message, position))
    }
}

impl Retained {
    /// Reads the record for a comparison with this stream, whose state was read before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin(address: &Address, stream: &StreamState) -> Result<Self, StoreError> {
        let pool = Pool::of(address);
        let client = connection(&pool).await?;
        let identity = opened(&client).await?;
        let has_topics = share::shares(&client, TOPICS).await? == 1;
        drop(client);
        let part = share::Share::whole(has_topics);
        Ok(Self {
            record: Record::read(&pool, &identity.key, part).await?,
            has_topics,
            pool,
            key: identity.key,
            store_id: identity.store_id,
            stream: (stream.name.clone(), stream.created),
            acked: 0,
            read: Ranges::default(),
            arrivals: 0,
            accounted: 0,
            waiting: 0,
            own: 0,
            same: 0,
            topics: HashMap::new(),
            messages: Check::new(MESSAGES),
            rows: Check::new("events, each as in its message"),
            recount: Recount::default(),
        })
    }

    /// The store's own id.
    #[must_use]
    pub fn store_id(&self) -> &str {
        &self.store_id
    }

    /// Messages up to this sequence were acked before the verification began.
    pub fn acked(&mut self, sequence: u64) {
        self.acked = sequence;
    }

    /// The last sequence that must be read; `None` if the store has applied nothing from this stream.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        let lives = self.record.lives.of_stream(&self.stream);
        let highest = lives.map(super::lives::Life::highest_applied).max()?;
        Some(highest.max(self.acked))
    }

    /// Takes the next messages.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn take(&mut self, deliveries: &[Delivery]) -> Result<(), StoreError> {
        let messages = self.applied(deliveries);
        let client = connection(&self.pool).await?;
        let mut window = Window::read(&client, &messages).await?;
        for message in &messages {
            for (position, arrival) in message.arrivals.iter().enumerate() {
                self.arrivals += 1;
                self.recount.received += 1;
                let is_accounted = match arrival {
                    Ok(event) => self.event(message, position, *event, &mut window),
                    Err(rejection) => {
                        self.recount.rejected += 1;
                        self.rejection(message, position, rejection, &mut window)
                    }
                };
                self.accounted += u64::from(is_accounted);
            }
        }
        for (place, sequence) in window.stray_rejected() {
            self.messages.differs(|| {
                format!("rejected row {place} is from message {sequence}, which has no such arrival at its position")
            });
        }
        for (place, sequence) in window.stray_events() {
            self.own += 1;
            self.rows
                .differs(|| format!("event {place} does not match message {sequence}"));
        }
        Ok(())
    }

    /// Those of the messages that are applied.
    fn applied<'a>(&mut self, deliveries: &'a [Delivery]) -> Vec<Message<'a>> {
        let mut messages = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let sequence = delivery.sequence;
            self.read.insert(sequence, sequence);
            let lives = self.record.lives.of_stream(&self.stream);
            // A reused sequence has a later time than every message that was applied before.
            let lives: Vec<_> = lives
                .filter(|life| life.has_applied(signed(sequence)) && delivery.time <= life.latest)
                .map(|life| (life.id, life.base + signed(sequence)))
                .collect();
            if !lives.is_empty() {
                let arrivals = delivery.arrivals.iter().map(|arrival| {
                    let event = arrival.as_ref()?;
                    Ok((event, self.key.fingerprint(&event.into())))
                });
                messages.push(Message {
                    delivery,
                    arrivals: arrivals.collect(),
                    lives,
                });
            } else if sequence <= self.acked {
                self.messages.differs(|| {
                    format!(
                        "message {sequence} was acked but is not recorded as applied; if the database was restored from a \
                         backup, the message will be redelivered at the next start"
                    )
                });
            } else {
                self.waiting += 1;
            }
        }
        messages
    }

    fn event(
        &mut self,
        message: &Message<'_>,
        position: usize,
        (event, fingerprint): (&Event, Fingerprint),
        window: &mut Window,
    ) -> bool {
        let sequence = message.delivery.sequence;
        let collision = message
            .places(position)
            .find(|place| window.reason(*place) == Some(Reason::Collision.as_str()));
        if let Some(place) = collision {
            window.take_rejected(place);
            self.recount.rejected += 1;
            return true;
        }
        let own = message
            .places(position)
            .find_map(|place| window.take_own(place, fingerprint.identity));
        if let Some((place, own)) = own {
            self.count_topic(event);
            self.own += 1;
            if is_same(&own, event, fingerprint) {
                self.same += 1;
            } else {
                self.rows.differs(|| {
                    format!(
                        "event {place} ({:?} of topic {:?}) has a different timestamp, source or payload than message {sequence} at position {position}",
                        event.event_id.as_str(),
                        event.topic.as_str()
                    )
                });
            }
            return true;
        }
        if let Some(is_conflict) = window.compare(event, fingerprint) {
            self.count_topic(event);
            self.recount.duplicates += 1;
            self.recount.conflicts += u64::from(is_conflict);
            return true;
        }
        if window.is_evicted(message) {
            self.recount.rejected += 1;
            return true;
        }
        self.messages.differs(|| {
            format!(
                "message {sequence} is applied, but its event {:?} of topic {:?} at position {position} is not stored",
                event.event_id.as_str(),
                event.topic.as_str()
            )
        });
        false
    }

    fn rejection(
        &mut self,
        message: &Message<'_>,
        position: usize,
        rejection: &Rejection,
        window: &mut Window,
    ) -> bool {
        let sequence = message.delivery.sequence;
        let reason = rejection.reason.as_str();
        let kept = message
            .places(position)
            .find_map(|place| Some((place, window.take_rejected(place)?)));
        if let Some((place, row)) = kept {
            if row.reason != reason || row.body != rejection.body {
                self.messages.differs(|| {
                    format!("rejected row {place} does not match message {sequence} at position {position}")
                });
            }
            return true;
        }
        if window.is_evicted(message) {
            return true;
        }
        self.messages.differs(|| {
            format!(
                "message {sequence} is applied, but its arrival at position {position} ({reason}) is not kept as rejected"
            )
        });
        false
    }

    fn count_topic(&mut self, event: &Event) {
        if !self.has_topics {
            return;
        }
        let name = event.topic.as_str().as_bytes();
        match self.topics.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.topics.insert(name.into(), 1);
            }
        }
    }

    /// Adds the checks to a report, after all messages up to [`Self::last`] have been taken, or after reading or comparing them
    /// failed with `failure`.
    pub fn finish(mut self, failure: Option<&dyn Display>, report: &mut Report) {
        let recount = match failure {
            None => self.recounted(),
            Some(reason) => {
                let last = self.read.highest();
                self.messages
                    .differs(|| format!("the comparison stopped after message {last}: {reason}"));
                Recount::left_out("not all messages were compared")
            }
        };
        self.messages.show(self.arrivals, self.accounted);
        self.rows.show(self.own, self.same);
        if self.waiting > 0 {
            let waiting = self.waiting;
            self.messages.note(format!(
                "{waiting} messages before the latest applied are not applied yet"
            ));
        }
        let read: u64 = self.read.iter().map(|(first, last)| last + 1 - first).sum();
        self.messages.note(format!("{read} messages were compared"));
        report.add(self.messages);
        report.add(self.rows);
        report.add(recount);
    }

    fn recounted(&mut self) -> Check {
        if self.record.lives.len() > 1 {
            return Recount::left_out("messages of earlier incarnations of the stream are gone");
        }
        if self.read.absent_within(1, self.last().unwrap_or(0)) > 0 {
            return Recount::left_out("the stream was trimmed and no longer has all messages");
        }
        let mut check = self.recount.check(&self.record.counts);
        if !self.has_topics {
            check.note("there are more topics than fit into memory, so they are not counted from the messages");
            return check;
        }
        let mut names: Vec<_> = self.record.topics.keys().collect();
        names.sort_unstable();
        for name in names {
            let recorded = &self.record.topics[name];
            let found = self.topics.get(name).copied().unwrap_or(0);
            let name = String::from_utf8_lossy(name);
            recount::topic(&mut check, &name, recorded.received, found);
        }
        check
    }
}

/// The check if the store has applied nothing from the stream.
#[must_use]
pub fn nothing_applied() -> Check {
    Check::left_out(
        MESSAGES,
        "the store has applied nothing from a stream with this name and creation time",
    )
}

/// Whether a row is what its message has: its hash leaves out a timestamp that was filled in, which must be the same text.
fn is_same(own: &Own, event: &Event, fingerprint: Fingerprint) -> bool {
    own.content == fingerprint.content
        && own.timestamp_filled == event.timestamp.is_filled()
        && own.timestamp == event.timestamp.as_str()
}
