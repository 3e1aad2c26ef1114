//! The append of a batch in one transaction. Event rows, applied sequences, counters, digests and rejected rows
//! change together or not at all.

mod seen;

use std::{collections::HashSet, sync::Arc};

use rusqlite::{
    CachedStatement, Transaction,
    types::{ToSqlOutput, ValueRef},
};
use shared::{
    event::{Event, Topic},
    message::Rejection,
};

use self::seen::Seen;
use super::{
    history::{self, Counts},
    incarnation::{Incarnation, was_applied},
    kept::{self, Origin},
    state::State,
    topics::Topics,
};
use crate::store::{
    Appended, Bounds, Delivery, StoreError,
    kept::collision,
    query::TOPICS_KEPT,
    sqlite::{
        dedup::{
            index::{Entry, Index, Seal, Table},
            lookup::{LookupBatch, LookupEvent},
        },
        memory::duplicates::RecentDuplicate,
        repeats,
        topics::{TopicState, chain},
    },
    waits::{Outcome, OutcomeNotice, Waits},
};

/// What an append reads, and changes in the transaction.
pub(super) struct AppendContext<'a> {
    pub transaction: &'a Transaction<'a>,
    pub index: &'a Index,
    pub waits: &'a Waits,
    pub bounds: &'a Bounds,
}

/// The changes of an append to apply in memory once it has committed.
pub(super) struct CommittedChanges {
    pub entries: Table,
    /// The sequence of the last event.
    pub last: i64,
    /// Registered, if these entries fill the index's table.
    pub seal: Option<Seal>,
    pub duplicates: Vec<RecentDuplicate>,
    /// The outcomes of events that are waited for.
    pub notices: Vec<OutcomeNotice>,
}

/// Appends a batch. Changes `next`, which the caller saves, and `topics`; the caller commits.
pub(super) fn append(
    context: &AppendContext<'_>,
    (next, topics): (&mut State, &mut Topics),
    batch: &mut LookupBatch,
    now: i64,
) -> Result<(Appended, CommittedChanges), StoreError> {
    topics.find_places(batch);
    // Never earlier than stored times, so that times are in the order of sequences.
    let processed_at = now.max(next.counters.processed_at);
    let identities = batch
        .events
        .iter()
        .map(|lookup| lookup.fingerprint.identity);
    let mut append = Append {
        context,
        insert: context.transaction.prepare_cached(INSERT)?,
        next,
        later: batch
            .version
            .and_then(|version| context.index.entered_after(version)),
        entries: Table::default(),
        topics,
        ended: Vec::new(),
        duplicates: Vec::new(),
        wanted: context.waits.wanted_of(identities),
        notices: Vec::new(),
        done: Appended::default(),
        processed_at,
    };
    let mut lookups = batch.events.iter();
    for delivery in batch.batch.iter() {
        append.delivery(delivery, &mut lookups)?;
    }
    append.finish()
}

/// SQLite assigns the sequence, one more than that of the last event: it need not search for a given one first. The last three
/// parameters keep their values while they are the same.
const INSERT: &str = "INSERT INTO events (topic_id, previous, event_id, timestamp, source, payload, \
     position, timestamp_filled, stream_sequence, incarnation, processed_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

struct Append<'a> {
    context: &'a AppendContext<'a>,
    insert: CachedStatement<'a>,
    next: &'a mut State,
    /// The entries that were entered after the batch was looked up; `None` if its lookups must not be used.
    later: Option<Vec<Arc<Table>>>,
    /// The entries of this batch; the index receives them only after COMMIT.
    entries: Table,
    topics: &'a mut Topics,
    /// The counts of topics before this batch that have to be recorded, and when they last changed.
    ended: Vec<(Counts, i64)>,
    duplicates: Vec<RecentDuplicate>,
    /// The identities in it that are waited for.
    wanted: HashSet<u128>,
    notices: Vec<OutcomeNotice>,
    done: Appended,
    processed_at: i64,
}

impl<'a> Append<'a> {
    fn delivery(
        &mut self,
        delivery: &'a Delivery,
        lookups: &mut std::slice::Iter<'_, LookupEvent>,
    ) -> Result<(), StoreError> {
        let events = delivery.arrivals.iter().flatten().count();
        let (own_lookups, rest) = lookups.as_slice().split_at(events);
        *lookups = rest.iter();
        if was_applied(&self.next.lives, delivery) && self.is_stored(delivery, own_lookups)? {
            self.done.redelivered += 1;
        } else {
            let (transaction, now) = (self.context.transaction, self.processed_at);
            let mut current = self.current()?;
            // The sequence was applied with another message: the broker reused it.
            if current.applied.contains(delivery.sequence) {
                let epoch = current.next_epoch(transaction, now)?;
                self.next.lives.push(epoch);
                self.done.epoch_begun = true;
                current = self.current()?;
            }
            let incarnation = current.id;
            self.insert.raw_bind_parameter(9, delivery.sequence)?;
            self.insert.raw_bind_parameter(10, incarnation)?;
            self.insert.raw_bind_parameter(11, now)?;
            let mut lookups = own_lookups.iter();
            for (position, arrival) in delivery.arrivals.iter().enumerate() {
                let origin = Origin {
                    delivery,
                    incarnation,
                    position,
                    processed_at: now,
                };
                match arrival {
                    Ok(event) => {
                        let lookup = lookups.next().expect("each event was looked up");
                        self.event(event, *lookup, origin)?;
                    }
                    Err(rejection) => self.rejection(rejection, origin)?,
                }
            }
        }
        self.current()?.apply(delivery);
        Ok(())
    }

    fn current(&mut self) -> Result<&mut Incarnation, StoreError> {
        let none =
            || StoreError::Foreign("a message arrived before its stream was compared".to_owned());
        self.next.lives.last_mut().ok_or_else(none)
    }

    fn event(
        &mut self,
        event: &Event,
        lookup: LookupEvent,
        origin: Origin<'_>,
    ) -> Result<(), StoreError> {
        let outcome = match self.see(event, lookup)? {
            Seen::Never => {
                self.insert(event, lookup, origin)?;
                Outcome::Stored(self.next.last_event)
            }
            Seen::Same(stored) => {
                self.duplicate((event, lookup), stored, origin, false)?;
                Outcome::Duplicate(stored)
            }
            Seen::Other(stored) => {
                self.duplicate((event, lookup), stored, origin, true)?;
                self.done.conflicts += 1;
                let kept = &mut self.next.counters.conflicts_kept;
                kept::conflict(self.context.transaction, kept, event, stored, origin)?;
                Outcome::Conflict(stored)
            }
            Seen::Collision(stored) => {
                self.rejection(&collision(event, stored), origin)?;
                Outcome::Rejected
            }
        };
        if self.wanted.contains(&lookup.fingerprint.identity) {
            self.notices.push(OutcomeNotice {
                identity: lookup.fingerprint.identity,
                place: (origin.delivery.sequence, origin.position),
                outcome,
            });
        }
        Ok(())
    }

    fn duplicate(
        &mut self,
        (event, lookup): (&Event, LookupEvent),
        stored: i64,
        origin: Origin<'_>,
        is_conflict: bool,
    ) -> Result<(), StoreError> {
        let topic = self.topic(&event.topic, lookup.topic_place)?;
        topic.duplicates += 1;
        let topic_id = topic.id;
        self.done.duplicates += 1;
        self.duplicates.push(RecentDuplicate {
            stored,
            topic_id,
            source: event.source.clone(),
            stream_sequence: origin.delivery.sequence,
            position: origin.position,
            processed_at: origin.processed_at,
            is_conflict,
        });
        Ok(())
    }

    fn insert(
        &mut self,
        event: &Event,
        lookup: LookupEvent,
        origin: Origin<'_>,
    ) -> Result<(), StoreError> {
        let key = self.next.key;
        let sequence = self.next.last_event + 1;
        let topic = self.topic(&event.topic, lookup.topic_place)?;
        let (topic_id, previous, ordinal) = (topic.id, topic.last_sequence, topic.unique + 1);
        topic.unique += 1;
        topic.last_sequence = sequence;
        topic.digest.add(&key, lookup.fingerprint);
        let insert = &mut self.insert;
        insert.raw_bind_parameter(1, topic_id)?;
        insert.raw_bind_parameter(2, previous)?;
        insert.raw_bind_parameter(3, event.event_id.as_str())?;
        insert.raw_bind_parameter(4, event.timestamp.as_str())?;
        insert.raw_bind_parameter(5, event.source.as_str())?;
        let payload = ValueRef::Text(event.payload.as_bytes());
        insert.raw_bind_parameter(6, ToSqlOutput::Borrowed(payload))?;
        insert.raw_bind_parameter(7, origin.position)?;
        insert.raw_bind_parameter(8, event.timestamp.is_filled())?;
        insert.raw_execute()?;
        if self.context.transaction.last_insert_rowid() != sequence {
            let what = "another program has inserted events".to_owned();
            return Err(StoreError::Foreign(what));
        }
        chain::mark(self.context.transaction, topic_id, sequence, ordinal)?;
        let entry = Entry::new(sequence, lookup.fingerprint.content);
        self.entries.insert(lookup.fingerprint.identity, entry);
        self.next.last_event = sequence;
        self.done.unique += 1;
        Ok(())
    }

    fn rejection(&mut self, rejection: &Rejection, origin: Origin<'_>) -> Result<(), StoreError> {
        self.done.rejected += 1;
        let kept = &mut self.next.counters.rejected_kept;
        kept::rejection(self.context.transaction, kept, rejection, origin)?;
        Ok(())
    }

    /// The state of the topic to change; it is written once, at the end of the batch.
    fn topic(
        &mut self,
        topic: &Topic,
        place: Option<usize>,
    ) -> Result<&mut TopicState, StoreError> {
        let now = self.processed_at;
        let found = match place {
            Some(place) => Some(place),
            None => self.topics.place(self.context.transaction, topic)?,
        };
        let place = found.unwrap_or_else(|| {
            // Topics are never deleted, so their ids are consecutive.
            let last = &mut self.next.counters.topics;
            *last += 1;
            self.topics.add(topic, TopicState::new(*last, now))
        });
        let (state, is_first) = self.topics.change(place);
        if is_first {
            // A new topic's last minute has not ended.
            if state.id <= TOPICS_KEPT && history::has_ended(state.last_at, now) {
                self.ended.push((Counts::of(state), state.last_at));
            }
            state.last_at = now;
        }
        Ok(state)
    }

    fn finish(self) -> Result<(Appended, CommittedChanges), StoreError> {
        let AppendContext {
            transaction,
            index,
            bounds,
            ..
        } = self.context;
        self.topics.save(transaction)?;
        let mut ended = self.ended;
        ended.sort_unstable_by_key(|(counts, _)| counts.topic_id);
        for (counts, last_at) in &ended {
            history::record(transaction, counts, (*last_at, self.processed_at))?;
        }
        let last = self.next.last_event;
        let repeated = self.duplicates.iter().map(|duplicate| duplicate.stored);
        repeats::append(transaction, repeated.collect(), last)?;
        let seal = index.fills_up(self.entries.len()).then(|| Seal::new(last));
        if let Some(seal) = seal {
            seal.register(transaction)?;
        }
        let counters = &mut self.next.counters;
        if self.done.arrivals() > 0 {
            let between = (counters.processed_at, self.processed_at);
            history::record(transaction, &counters.history(), between)?;
            counters.processed_at = self.processed_at;
        }
        counters.add(&self.done);
        kept::evict(transaction, self.next, bounds)?;
        let changes = CommittedChanges {
            entries: self.entries,
            last,
            seal,
            duplicates: self.duplicates,
            notices: self.notices,
        };
        Ok((self.done, changes))
    }
}
