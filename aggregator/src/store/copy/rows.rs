//! The rows that are copied, as neither engine stores them: one engine reads them, the other one writes them and reads them back.

use super::minutes::Minute;
use crate::store::fingerprint::{Fields, Fingerprint, Key};

/// A part of a store with rows of one kind, copied in the order of a number that each row has in the store that is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Part {
    Events,
    Topics,
    Rejected,
    Conflicts,
    /// The counts of topics over time.
    OverTime,
    /// Which events were repeated.
    Repeats,
}

impl Part {
    pub const ALL: [Self; 6] = [
        Self::Events,
        Self::Topics,
        Self::Rejected,
        Self::Conflicts,
        Self::OverTime,
        Self::Repeats,
    ];

    /// The name, as the database has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Topics => "topics",
            Self::Rejected => "rejected",
            Self::Conflicts => "conflicts",
            Self::OverTime => "topic_minutes",
            Self::Repeats => "repeats",
        }
    }
}

/// Where an arrival is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Origin {
    /// The life of the stream, as it is numbered in the copy.
    pub life: i64,
    /// The sequence of its message in the stream.
    pub sequence: u64,
    /// The sum of the sequence and the base of the life.
    pub message: i64,
    /// The position in the message, from 0.
    pub position: u64,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct EventRow {
    pub message: i64,
    pub position: u64,
    pub topic: String,
    pub event_id: String,
    pub timestamp: String,
    pub timestamp_filled: bool,
    pub source: String,
    pub payload: String,
    pub processed_at: i64,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct TopicRow {
    pub name: String,
    pub unique: u64,
    pub duplicates: u64,
    /// The sum of the summands of its events, modulo 2^128.
    pub digest: u128,
    pub first_at: i64,
    pub last_at: i64,
}

/// A rejected arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct RejectedRow {
    pub origin: Origin,
    pub reason: String,
    pub detail: String,
    pub subject: String,
    pub processed_at: i64,
    pub requeued_at: Option<i64>,
    pub body: Vec<u8>,
    pub sent_by: Option<String>,
}

/// A conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct ConflictRow {
    pub origin: Origin,
    /// The fingerprint of the stored event's identity.
    pub identity: u128,
    pub timestamp: String,
    pub timestamp_filled: bool,
    pub source: String,
    pub payload: String,
    pub subject: String,
    pub processed_at: i64,
    pub sent_by: Option<String>,
}

/// The counts over time of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct OverTimeRow {
    /// Its number among the topics that are counted.
    pub number: i64,
    pub topic: String,
    /// In order of time, without those in which nothing was counted.
    pub minutes: Vec<Minute>,
}

/// The duplicates of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct RepeatsRow {
    /// The number of the row, in the order of batches.
    pub id: i64,
    /// When the last event before it was stored.
    pub processed_at: i64,
    /// Of duplicates.
    pub number: u64,
    /// The event that each of them repeats: its topic, the sum of its message's sequence and base, and its position; in this order. `None` if
    /// they are not known.
    pub events: Option<Vec<(String, i64, u64)>>,
}

/// Rows of one part.
#[derive(Debug)]
pub(in crate::store) enum Rows {
    Events(Vec<EventRow>),
    Topics(Vec<TopicRow>),
    Rejected(Vec<RejectedRow>),
    Conflicts(Vec<ConflictRow>),
    OverTime(Vec<OverTimeRow>),
    Repeats(Vec<RepeatsRow>),
}

/// Sums over rows, which do not depend on their order, modulo 2^128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Sums {
    pub rows: u64,
    /// Of the keyed hashes of the rows.
    pub hashes: u128,
    /// Of what the rows add to the digests of topics.
    pub digests: u128,
}

/// A row that can be hashed, to compare it with its copy.
pub(in crate::store) trait Hashed {
    /// The sums of this row alone.
    fn sums(&self, key: &Key) -> Sums;
}

impl Sums {
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.hashes = self.hashes.wrapping_add(other.hashes);
        self.digests = self.digests.wrapping_add(other.digests);
    }

    pub fn of<T: Hashed>(rows: &[T], key: &Key) -> Self {
        let mut sums = Self::default();
        for row in rows {
            sums.add(row.sums(key));
        }
        sums
    }

    fn one(hashes: u128, digests: u128) -> Self {
        Self {
            rows: 1,
            hashes,
            digests,
        }
    }
}

impl Rows {
    /// The sums over the rows.
    pub fn sums(&self, key: &Key) -> Sums {
        match self {
            Self::Events(rows) => Sums::of(rows, key),
            Self::Topics(rows) => Sums::of(rows, key),
            Self::Rejected(rows) => Sums::of(rows, key),
            Self::Conflicts(rows) => Sums::of(rows, key),
            Self::OverTime(rows) => Sums::of(rows, key),
            Self::Repeats(rows) => Sums::of(rows, key),
        }
    }
}

impl EventRow {
    pub fn fingerprint(&self, key: &Key) -> Fingerprint {
        key.fingerprint(&Fields {
            topic: &self.topic,
            event_id: &self.event_id,
            timestamp: if self.timestamp_filled {
                ""
            } else {
                &self.timestamp
            },
            source: &self.source,
            payload: self.payload.as_bytes(),
        })
    }
}

impl Hashed for EventRow {
    fn sums(&self, key: &Key) -> Sums {
        let fingerprint = self.fingerprint(key);
        let Self {
            message,
            position,
            timestamp,
            timestamp_filled,
            processed_at,
            // In the fingerprint.
            topic: _,
            event_id: _,
            source: _,
            payload: _,
        } = self;
        let hash = key.row([
            &fingerprint.identity.to_le_bytes(),
            &fingerprint.content.to_le_bytes(),
            &message.to_le_bytes(),
            &position.to_le_bytes(),
            timestamp.as_bytes(),
            &[u8::from(*timestamp_filled)],
            &processed_at.to_le_bytes(),
        ]);
        Sums::one(hash, key.summand(fingerprint))
    }
}

impl Hashed for TopicRow {
    fn sums(&self, key: &Key) -> Sums {
        let Self {
            name,
            unique,
            duplicates,
            digest,
            first_at,
            last_at,
        } = self;
        let hash = key.row([
            name.as_bytes(),
            &unique.to_le_bytes(),
            &duplicates.to_le_bytes(),
            &digest.to_le_bytes(),
            &first_at.to_le_bytes(),
            &last_at.to_le_bytes(),
        ]);
        Sums::one(hash, *digest)
    }
}

impl Origin {
    fn bytes(&self) -> [u8; 32] {
        let Self {
            life,
            sequence,
            message,
            position,
        } = self;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&life.to_le_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&message.to_le_bytes());
        bytes[24..].copy_from_slice(&position.to_le_bytes());
        bytes
    }
}

/// The name of a sender is never empty.
fn sender(sent_by: Option<&String>) -> &[u8] {
    sent_by.map_or(&[], |name| name.as_bytes())
}

impl Hashed for RejectedRow {
    fn sums(&self, key: &Key) -> Sums {
        let Self {
            origin,
            reason,
            detail,
            subject,
            processed_at,
            requeued_at,
            body,
            sent_by,
        } = self;
        let hash = key.row([
            &origin.bytes(),
            reason.as_bytes(),
            detail.as_bytes(),
            subject.as_bytes(),
            &processed_at.to_le_bytes(),
            &requeued_at.unwrap_or(i64::MIN).to_le_bytes(),
            body,
            sender(sent_by.as_ref()),
        ]);
        Sums::one(hash, 0)
    }
}

impl Hashed for ConflictRow {
    fn sums(&self, key: &Key) -> Sums {
        let Self {
            origin,
            identity,
            timestamp,
            timestamp_filled,
            source,
            payload,
            subject,
            processed_at,
            sent_by,
        } = self;
        let hash = key.row([
            &origin.bytes(),
            &identity.to_le_bytes(),
            timestamp.as_bytes(),
            &[u8::from(*timestamp_filled)],
            source.as_bytes(),
            payload.as_bytes(),
            subject.as_bytes(),
            &processed_at.to_le_bytes(),
            sender(sent_by.as_ref()),
        ]);
        Sums::one(hash, 0)
    }
}

impl Hashed for OverTimeRow {
    fn sums(&self, key: &Key) -> Sums {
        let Self {
            number,
            topic,
            minutes,
        } = self;
        let mut counts = Vec::with_capacity(24 * minutes.len());
        for Minute {
            at,
            unique,
            duplicates,
            // A rejected arrival has no topic.
            rejected: _,
        } in minutes
        {
            counts.extend(at.to_le_bytes());
            counts.extend(unique.to_le_bytes());
            counts.extend(duplicates.to_le_bytes());
        }
        Sums::one(
            key.row([&number.to_le_bytes(), topic.as_bytes(), &counts]),
            0,
        )
    }
}

impl Hashed for RepeatsRow {
    fn sums(&self, key: &Key) -> Sums {
        let Self {
            id,
            processed_at,
            number,
            events,
        } = self;
        let mut bytes = vec![u8::from(events.is_some())];
        for (topic, message, position) in events.iter().flatten() {
            bytes.extend((topic.len() as u64).to_le_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend(message.to_le_bytes());
            bytes.extend(position.to_le_bytes());
        }
        let hash = key.row([
            &id.to_le_bytes(),
            &processed_at.to_le_bytes(),
            &number.to_le_bytes(),
            &bytes,
        ]);
        Sums::one(hash, 0)
    }
}
