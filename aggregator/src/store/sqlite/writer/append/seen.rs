//! Whether arrivals are already stored: the identity of one event, and all elements of a message.

use rusqlite::params;
use shared::{
    event::{Event, Topic},
    message::Rejection,
};

use super::Append;
use crate::store::{
    Delivery, StoreError,
    sqlite::dedup::{
        fingerprint::Fields,
        index::IndexError,
        lookup::{Compared, LookupEvent},
    },
};

/// Whether and how the identity of an event is stored.
pub(super) enum Seen {
    Never,
    /// The event of this sequence is the same.
    Same(i64),
    /// The event of this sequence has the identity, but other content.
    Other(i64),
    /// The event of this sequence has the fingerprint, but another identity.
    Collision(i64),
}

impl Append<'_> {
    /// Whether all elements of a message are already in the store.
    pub(super) fn is_stored(
        &mut self,
        delivery: &Delivery,
        lookups: &[LookupEvent],
    ) -> Result<bool, StoreError> {
        let mut rejections = delivery.arrivals.len() - lookups.len();
        for (event, lookup) in delivery.arrivals.iter().flatten().zip(lookups) {
            match self.see(event, *lookup)? {
                Seen::Never => return Ok(false),
                Seen::Same(_) | Seen::Other(_) => {}
                Seen::Collision(_) => rejections += 1,
            }
        }
        for rejection in delivery
            .arrivals
            .iter()
            .filter_map(|arrival| arrival.as_ref().err())
        {
            if self.was_event(rejection, delivery)? {
                rejections -= 1;
            }
        }
        let mut kept = 0;
        for life in self.next.lives.iter().filter(|_| rejections > 0) {
            // Their rows were evicted, or may have been.
            if delivery.sequence <= life.evicted_to && life.applied.contains(delivery.sequence) {
                return Ok(true);
            }
            kept += self
                .context
                .transaction
                .prepare_cached(
                    "SELECT count(*) FROM rejected WHERE incarnation = ?1 AND stream_sequence = ?2",
                )?
                .query_row(params![life.id, delivery.sequence], |row| {
                    row.get::<_, usize>(0)
                })?;
        }
        Ok(kept >= rejections)
    }

    /// Whether an earlier version, which accepted more, stored this rejection as an event.
    fn was_event(&self, rejection: &Rejection, delivery: &Delivery) -> Result<bool, StoreError> {
        let Some(event) = rejection.earlier_event(&delivery.subject, delivery.time) else {
            return Ok(false);
        };
        let fingerprint = self.next.key.fingerprint(&Fields::from(&event));
        let found = self.context.index.find(fingerprint.identity)?;
        let lookup = LookupEvent {
            fingerprint,
            found,
            compared: None,
            topic_place: None,
        };
        let seen = self.see(&event, lookup)?;
        Ok(matches!(seen, Seen::Same(_) | Seen::Other(_)))
    }

    /// Looks an event up: in this batch, then in the index. A row is read only if the contents differ, and here only
    /// if it was not read ahead: it is of this batch, or was appended after the batch was looked up.
    pub(super) fn see(&self, event: &Event, lookup: LookupEvent) -> Result<Seen, StoreError> {
        let LookupEvent {
            fingerprint,
            found,
            compared,
            topic_place: _,
        } = lookup;
        let entry = match (self.entries.get(&fingerprint.identity), &self.later) {
            (Some(entry), _) => Some(*entry),
            (None, Some(later)) => {
                let mut later = later.iter();
                found.or_else(|| {
                    later
                        .find_map(|table| table.get(&fingerprint.identity))
                        .copied()
                })
            }
            (None, None) => self.context.index.find(fingerprint.identity)?,
        };
        let Some(entry) = entry else {
            return Ok(Seen::Never);
        };
        let sequence = entry.sequence;
        if entry.has_content(fingerprint.content) {
            return Ok(Seen::Same(sequence));
        }
        let compared = match compared.filter(|compared| compared.sequence == sequence) {
            Some(compared) => Some(compared),
            None => Compared::read(self.context.transaction, sequence, event)?,
        };
        let Compared {
            topic_id,
            is_event_id,
            is_same,
            ..
        } = compared.ok_or(IndexError::Wrong("an entry has no row"))?;
        let is_identity = is_event_id && self.topic_id(&event.topic)? == Some(topic_id);
        Ok(match (is_identity, is_same) {
            (true, true) => Seen::Same(sequence),
            (true, false) => Seen::Other(sequence),
            (false, _) => Seen::Collision(sequence),
        })
    }

    /// The topic's id, if it has events.
    fn topic_id(&self, topic: &Topic) -> Result<Option<i64>, StoreError> {
        let stored = self.topics.peek(self.context.transaction, topic)?;
        Ok(stored.map(|state| state.id))
    }
}
