//! The rows that the messages of a window may have in the store.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::Client;
use shared::event::{Content, Event};

use super::Message;
use crate::store::{
    StoreError,
    fingerprint::Fingerprint,
    postgres::{
        lives::signed,
        place,
        writer::{Stored, StoredContent, content_of, contents, identity_of, stored},
    },
};

/// An event at the place of a message of the window.
#[derive(Debug)]
pub(super) struct Own {
    identity: u128,
    pub content: u64,
    pub timestamp: String,
    pub timestamp_filled: bool,
}

/// A row of `rejected`.
#[derive(Debug)]
pub(super) struct Rejected {
    pub reason: String,
    pub body: Vec<u8>,
}

/// What the store has of the messages of a window.
#[derive(Debug)]
pub(super) struct Window {
    /// By place; those that were found in a message are taken out.
    events: BTreeMap<i64, Own>,
    rejected: BTreeMap<i64, Rejected>,
    /// Events with the identities of the window, wherever they are.
    stored: HashMap<u128, Stored>,
    /// The contents of those of them that differ from an arrival.
    contents: HashMap<u128, StoredContent>,
    /// By life: rejected arrivals of messages up to this sequence may have been evicted. Read after the rows.
    evicted_to: HashMap<i64, i64>,
    /// The sequences of the messages, by base + sequence.
    messages: HashMap<i64, u64>,
}

const EVENTS: &str = "SELECT place, fingerprint, content, \"timestamp\", timestamp_filled FROM events WHERE place BETWEEN $1 AND $2";

const REJECTED: &str = "SELECT place, reason, body FROM rejected WHERE place BETWEEN $1 AND $2";

impl Window {
    pub async fn read(client: &Client, messages: &[Message<'_>]) -> Result<Self, StoreError> {
        // In each life, the first and the last message.
        let mut ranges: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        let mut sequences = HashMap::new();
        for message in messages {
            for (life, number) in &message.lives {
                let range = ranges.entry(*life).or_insert((*number, *number));
                *range = (range.0.min(*number), range.1.max(*number));
                sequences.insert(*number, message.delivery.sequence);
            }
        }
        let mut window = Self {
            events: BTreeMap::new(),
            rejected: BTreeMap::new(),
            stored: HashMap::new(),
            contents: HashMap::new(),
            evicted_to: HashMap::new(),
            messages: sequences,
        };
        for (first, last) in ranges.values() {
            let (first, last) = (place::of(*first, 0), place::last_of(*last));
            for row in client.query(EVENTS, &[&first, &last]).await? {
                let own = Own {
                    identity: identity_of(row.get(1))?,
                    content: content_of(row.get(2)),
                    timestamp: row.get(3),
                    timestamp_filled: row.get(4),
                };
                window.events.insert(row.get(0), own);
            }
            for row in client.query(REJECTED, &[&first, &last]).await? {
                let rejected = Rejected {
                    reason: row.get(1),
                    body: row.get(2),
                };
                window.rejected.insert(row.get(0), rejected);
            }
        }
        window.read_stored(client, messages).await?;
        for row in client
            .query("SELECT id, evicted_to FROM incarnations", &[])
            .await?
        {
            window.evicted_to.insert(row.get(0), row.get(1));
        }
        Ok(window)
    }

    async fn read_stored(
        &mut self,
        client: &Client,
        messages: &[Message<'_>],
    ) -> Result<(), StoreError> {
        let all = || {
            let arrivals = messages.iter().flat_map(|message| &message.arrivals);
            arrivals.flatten().map(|(_, fingerprint)| fingerprint)
        };
        let unique = |identities: &mut Vec<u128>| {
            identities.sort_unstable();
            identities.dedup();
        };
        let mut identities: Vec<u128> = all().map(|fingerprint| fingerprint.identity).collect();
        unique(&mut identities);
        self.stored = stored(client, &identities).await?;
        let differs = |fingerprint: &&Fingerprint| {
            let stored = self.stored.get(&fingerprint.identity);
            stored.is_some_and(|stored| stored.content != fingerprint.content)
        };
        let mut differing: Vec<u128> = all()
            .filter(differs)
            .map(|fingerprint| fingerprint.identity)
            .collect();
        unique(&mut differing);
        self.contents = contents(client, &differing).await?;
        Ok(())
    }

    /// The event at a place, if it has this identity.
    pub fn take_own(&mut self, place: i64, identity: u128) -> Option<(i64, Own)> {
        let is_own = self
            .events
            .get(&place)
            .is_some_and(|own| own.identity == identity);
        is_own.then(|| self.events.remove_entry(&place)).flatten()
    }

    /// The reason of the rejected arrival at a place.
    pub fn reason(&self, place: i64) -> Option<&str> {
        self.rejected.get(&place).map(|row| row.reason.as_str())
    }

    pub fn take_rejected(&mut self, place: i64) -> Option<Rejected> {
        self.rejected.remove(&place)
    }

    /// Whether an event conflicts with the stored one; `None` if its identity is not stored.
    pub fn compare(&self, event: &Event, fingerprint: Fingerprint) -> Option<bool> {
        let stored = self.stored.get(&fingerprint.identity)?;
        if stored.content == fingerprint.content {
            return Some(false);
        }
        let content = self.contents.get(&fingerprint.identity)?;
        let differing = event.differing(&Content {
            timestamp: (!content.timestamp_filled).then_some(content.timestamp.as_bytes()),
            source: &content.source,
            payload: content.payload.as_bytes(),
        });
        Some(differing.is_some())
    }

    /// Whether rejected arrivals of a message may have been evicted.
    pub fn is_evicted(&self, message: &Message<'_>) -> bool {
        let sequence = signed(message.delivery.sequence);
        let mut lives = message.lives.iter();
        lives.any(|(life, _)| {
            self.evicted_to
                .get(life)
                .is_some_and(|evicted_to| sequence <= *evicted_to)
        })
    }

    /// The places and messages of rejected rows that were not found in their messages.
    pub fn stray_rejected(&self) -> Vec<(i64, u64)> {
        self.strays(self.rejected.keys())
    }

    /// The same of events.
    pub fn stray_events(&self) -> Vec<(i64, u64)> {
        self.strays(self.events.keys())
    }

    fn strays<'a>(&self, places: impl Iterator<Item = &'a i64>) -> Vec<(i64, u64)> {
        let of_window = places.filter_map(|place| {
            let sequence = self.messages.get(&place::parts(*place).0)?;
            Some((*place, *sequence))
        });
        of_window.collect()
    }
}
