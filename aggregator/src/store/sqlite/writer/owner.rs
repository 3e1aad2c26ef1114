//! The writer thread: owns the only writable connection, and runs one transaction per command.

use std::sync::PoisonError;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::{
    Location, Task, Work,
    append::{self, AppendContext, CommittedChanges},
    incarnation, kept,
    open_store::OpenStore,
    state::State,
    topics::Topics,
    wal::Wal,
};
use crate::store::{
    Appended, ObservedStream, Position, Standing, StoreError,
    sqlite::{
        dedup::{
            fingerprint::Key,
            index::{self, FaultPoint, Index, IndexVersion},
            lookup::{LookupBatch, LookupError, Slot},
        },
        file::files::Files,
        gate::Gate,
        memory::{duplicates::Duplicates, leaders::Leaders},
    },
    waits::Waits,
};

/// The data of the writer thread.
pub(super) struct Owner {
    location: Location,
    pub store_id: String,
    pub key: Key,
    /// `None` after a failure: the store is opened again before the next write.
    open: Option<OpenStore>,
    slot: Slot,
    pub standing: watch::Sender<Standing>,
    /// The number of sequences that are missing and not acknowledged.
    pub missing: watch::Sender<u64>,
    /// The sequence of the last event.
    pub last_event: watch::Sender<i64>,
    pub duplicates: Duplicates,
    /// The store's number of duplicates that `duplicates` takes into account.
    duplicates_known: u64,
    pub leaders: Leaders,
    pub waits: Waits,
    pub files: Files,
    pub gate: Gate,
    wal: Wal,
    /// The size of the WAL at the last check of the files.
    wal_bytes: u64,
    /// Whether a file was deleted or replaced at the last check.
    is_replaced: bool,
}

impl Owner {
    pub fn new(location: Location, connection: Connection, slot: Slot) -> Result<Self, StoreError> {
        let open = OpenStore::load(connection, location.options.memory.topics)?;
        let gate = Gate::default();
        let mut owner = Self {
            files: Files::opened(&location.directory, &location.given)?,
            wal: Wal::new(gate.clone(), location.options.wal_bound),
            wal_bytes: 0,
            is_replaced: false,
            gate,
            location,
            store_id: open.state.store_id.clone(),
            key: open.state.key,
            standing: watch::Sender::new(open.state.standing()),
            missing: watch::Sender::new(open.state.missing),
            last_event: watch::Sender::new(open.state.last_event),
            duplicates: Duplicates::default(),
            duplicates_known: open.state.counters.duplicate_dropped,
            leaders: Leaders::default(),
            waits: Waits::default(),
            open: None,
            slot,
        };
        match owner.recover_index(&open) {
            Ok(()) => owner.open = Some(open),
            // Such as a full disk: queries are answered, and the first write retries.
            Err(StoreError::Index(err)) if !err.is_damage() => {
                warn!(error = %err, "the dedup index is not available yet");
            }
            Err(err) => return Err(err),
        }
        Ok(owner)
    }

    pub fn split_events(&self) -> usize {
        self.location.options.split_events
    }

    pub fn run(&mut self, mut work: mpsc::Receiver<Work>) {
        while let Some(work) = work.blocking_recv() {
            // A failed send is ignored: the caller retries, or the message is redelivered.
            match work {
                Work::Append(lookup, now, reply) => {
                    let _ = reply.send(self.append(lookup, now));
                }
                Work::Other(Task::Meet(met, now, reply)) => {
                    let _ = reply.send(self.meet(&met, now));
                }
                Work::Other(Task::AcknowledgeMissing(now, reply)) => {
                    let _ = reply.send(self.write(|context, next, _| {
                        incarnation::acknowledge_missing(context.transaction, now)?;
                        Ok(std::mem::take(&mut next.missing))
                    }));
                }
                Work::Other(Task::Requeued(id, now, reply)) => {
                    let _ = reply.send(self.write(|context, _, _| {
                        Ok(kept::mark_requeued(context.transaction, id, now)?)
                    }));
                }
                Work::Other(Task::Seen(rows, upto, reply)) => {
                    let _ = reply.send(self.write(|_, next, _| Ok(next.counters.see(rows, upto))));
                }
                Work::Other(Task::CheckFiles(reply)) => {
                    let _ = reply.send(self.check_between_writes());
                }
            }
            // After the reply, because it may take long.
            if let Some(open) = &self.open {
                self.wal.keep_bounded(&open.connection, self.wal_bytes);
            }
        }
        self.close();
    }

    fn append(
        &mut self,
        lookup: Result<LookupBatch, LookupError>,
        now: i64,
    ) -> Result<Appended, StoreError> {
        let mut batch = match lookup {
            Ok(batch) => batch,
            Err(LookupError { error, version }) if self.is_in_use(version) => {
                // If the index is gone with the whole directory, that is the error to report.
                self.check_files()?;
                return self.fail(error.into());
            }
            // That index was already replaced, and its successor has not failed.
            Err(LookupError { error, .. }) => return Err(error.into()),
        };
        if let Err(err) = self.location.options.faults.at(FaultPoint::LookedUp) {
            return self.fail(err.into());
        }
        let (done, mut changes) = self.write(|context, next, topics| {
            append::append(context, (next, topics), &mut batch, now)
        })?;
        let committed = self.location.options.faults.at(FaultPoint::Committed);
        if let Err(err) = committed {
            return self.fail(err.into());
        }
        let duplicates = std::mem::take(&mut changes.duplicates);
        self.duplicates_known += duplicates.len() as u64;
        self.duplicates.enter(duplicates);
        let notices = std::mem::take(&mut changes.notices);
        let last = changes.last;
        self.enter(changes);
        self.publish_last(last);
        // Last, so that a notified client that queries immediately finds its event.
        self.waits.notify(&notices);
        Ok(done)
    }

    fn meet(&mut self, met: &ObservedStream, now: i64) -> Result<Position, StoreError> {
        self.write(|context, next, _| {
            next.missing += incarnation::meet(context.transaction, &mut next.lives, met, now)?;
            Ok(Position {
                store_id: next.store_id.clone(),
                copied_from: None,
                standing: next.standing(),
                missing: next.missing,
            })
        })
    }

    /// Runs one transaction. It changes the state in memory in place; after any failure, that is dropped with the
    /// connection, and read again from the file. Changes are published only after COMMIT.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&AppendContext<'_>, &mut State, &mut Topics) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.open_again()?,
        };
        match self.transact(open, change) {
            Ok((open, done)) => {
                let (standing, missing) = (open.state.standing(), open.state.missing);
                self.open = Some(open);
                self.check_files()?;
                self.is_replaced = false;
                self.standing.send_replace(standing);
                self.missing.send_replace(missing);
                Ok(done)
            }
            Err(err) => self.fail(err),
        }
    }

    /// Checks the files between writes. If replaced files are back, the store is opened again: trimming waits for it.
    fn check_between_writes(&mut self) -> Result<(), StoreError> {
        self.check_files()?;
        if self.is_replaced {
            let open = self.open_again()?;
            self.open = Some(open);
            self.is_replaced = false;
        }
        Ok(())
    }

    /// Checks that the store's files are still where they were opened. If not, what was just committed counts as
    /// not committed, and nothing may be trimmed: a restored store could need it.
    fn check_files(&mut self) -> Result<(), StoreError> {
        match self.files.check() {
            Ok(wal_bytes) => {
                self.wal_bytes = wal_bytes;
                Ok(())
            }
            Err(err) => {
                self.is_replaced = true;
                self.standing.send_replace(Standing::default());
                if let Some(open) = &self.open {
                    open.save_wal(&self.gate);
                }
                self.fail(err)
            }
        }
    }

    fn transact<T>(
        &self,
        mut open: OpenStore,
        change: impl FnOnce(&AppendContext<'_>, &mut State, &mut Topics) -> Result<T, StoreError>,
    ) -> Result<(OpenStore, T), StoreError> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let index = slot
            .as_ref()
            .expect("an open store has its index in the slot");
        index.make_room()?;
        let OpenStore {
            connection,
            state,
            topics,
        } = &mut open;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let context = AppendContext {
            transaction: &transaction,
            index,
            waits: &self.waits,
            bounds: &self.location.options.bounds,
        };
        let done = change(&context, state, topics)?;
        state.save(&transaction)?;
        transaction.commit()?;
        Ok((open, done))
    }

    /// Adds what has committed to the memory that others read.
    fn enter(&mut self, changes: CommittedChanges) {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        if let (Some(open), Some(index)) = (&mut self.open, slot.as_ref()) {
            index.enter(changes.entries, changes.last, changes.seal);
            self.leaders.enter(open.topics.changed());
            open.topics.committed();
        }
    }

    /// Drops the connection and the state in memory, and the files of a damaged index.
    fn fail<T>(&mut self, err: StoreError) -> Result<T, StoreError> {
        self.open = None;
        self.leaders.forget();
        if let StoreError::Index(index) = &err {
            drop(self.take_index());
            // A directory in place of the store's has an index of its own, which must stay.
            if index.is_damage()
                && self.files.check().is_ok()
                && let Err(discarding) = index::discard(&self.location.index)
            {
                warn!(error = %discarding, "the damaged dedup index could not be removed");
            }
        }
        Err(err)
    }

    /// Opens the store again after a failure. Creates nothing: if a file is missing or replaced, this is not the same store.
    fn open_again(&mut self) -> Result<OpenStore, StoreError> {
        self.files.check()?;
        let open = OpenStore::load_again(&self.location, &self.store_id)?;
        // The file that was just opened, too, must be the original.
        self.files.check()?;
        self.recover_index(&open)?;
        let duplicates = open.state.counters.duplicate_dropped;
        self.duplicates
            .miss(duplicates.saturating_sub(self.duplicates_known));
        self.duplicates_known = duplicates;
        self.publish(&open.state);
        Ok(open)
    }

    fn recover_index(&mut self, open: &OpenStore) -> Result<(), StoreError> {
        let recovered = index::recover(
            self.take_index(),
            &self.location.index,
            &open.connection,
            &self.key,
            open.state.last_event,
            &self.location.options.index(),
        )?;
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(recovered);
        Ok(())
    }

    /// Publishes a state that was read from the file. A COMMIT that was reported as failed may have advanced it.
    fn publish(&self, state: &State) {
        self.standing.send_replace(state.standing());
        self.missing.send_replace(state.missing);
        self.publish_last(state.last_event);
    }

    fn publish_last(&self, last: i64) {
        self.last_event
            .send_if_modified(|known| std::mem::replace(known, last) != last);
    }

    fn is_in_use(&self, version: Option<IndexVersion>) -> bool {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let index = slot.as_ref().zip(version);
        index.is_some_and(|(index, version)| index.is_source_of(version))
    }

    /// Empties the slot: from then on only the writer has the index.
    fn take_index(&self) -> Option<Index> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }

    fn close(&mut self) {
        drop(self.take_index());
        if let Some(open) = self.open.take() {
            open.close(&self.files);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::stream::StreamState;

    use super::*;
    use crate::store::sqlite::{dedup::index::IndexError, file::schema, options::Options};

    #[test]
    fn a_late_failure_of_a_replaced_index_leaves_its_successor_alone() {
        let directory = tempfile::tempdir().unwrap();
        let location = Location {
            file: directory.path().join(crate::store::sqlite::FILE),
            index: directory.path().join("index"),
            directory: directory.path().to_owned(),
            given: directory.path().to_owned(),
            options: Options::default(),
        };
        let connection = schema::open_or_make(&location.file, 0, &location.options).unwrap();
        let slot = Slot::default();
        let mut owner = Owner::new(location, connection, Arc::clone(&slot)).unwrap();
        let version = || {
            slot.read()
                .unwrap()
                .as_ref()
                .map(|index| index.reader().version())
        };
        let fails = |owner: &mut Owner, version| {
            let error = IndexError::Wrong("injected by a test");
            owner
                .append(Err(LookupError { error, version }), 0)
                .unwrap_err();
        };
        let first = version();
        fails(&mut owner, first);
        assert_eq!(version(), None);
        let stream = StreamState {
            name: "EVENTS".to_owned(),
            created: 1,
            first: 1,
            last: 0,
            messages: 0,
            bytes: 0,
        };
        owner.meet(&stream.into(), 0).unwrap();
        let second = version();
        assert!(second.is_some() && second != first);
        fails(&mut owner, first);
        assert_eq!(version(), second);
    }
}
