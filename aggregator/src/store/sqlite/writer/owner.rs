//! The writer's own thread: the one connection that can write, one transaction a command.

use std::{sync::PoisonError, time::Duration};

use rusqlite::{Connection, TransactionBehavior, config::DbConfig};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::{
    Place, Task, Work,
    append::{self, AppendContext, CommittedChanges},
    incarnation, kept,
    state::State,
    topics::Topics,
    wal::Wal,
};
use crate::store::{
    Appended, ObservedStream, Position, Standing, StoreError,
    sqlite::{
        dedup::{
            fingerprint::Key,
            index::{self, Asked, Index, Step},
            lookup::{LookupBatch, LookupError, Slot},
        },
        file::{files::Files, schema},
        gate::Gate,
        memory::{duplicates::Duplicates, leaders::Leaders},
    },
    waits::Waits,
};

/// How long reads are waited for when the WAL has to be saved.
const SAVE_PATIENCE: Duration = Duration::from_millis(500);

/// The connection, and what memory knows of what it committed.
struct Open {
    connection: Connection,
    state: State,
    topics: Topics,
}

/// The writer's thread's own data.
pub(super) struct Owner {
    place: Place,
    store_id: String,
    pub key: Key,
    /// None after a failure: the connection and the memory are made anew before the next write.
    open: Option<Open>,
    slot: Slot,
    pub standing: watch::Sender<Standing>,
    /// Sequences that are missing and not acknowledged.
    pub missing: watch::Sender<u64>,
    /// The sequence of the last event.
    pub last_event: watch::Sender<i64>,
    pub duplicates: Duplicates,
    pub leaders: Leaders,
    pub waits: Waits,
    pub files: Files,
    pub gate: Gate,
    wal: Wal,
    /// The size of the WAL when the files were last looked at.
    wal_bytes: u64,
    /// Whether the files were not in their place when they were last looked at.
    is_replaced: bool,
}

impl Owner {
    pub fn new(place: Place, connection: Connection, slot: Slot) -> Result<Self, StoreError> {
        let open = Open::load(connection, place.options.topics)?;
        let gate = Gate::default();
        let mut owner = Self {
            files: Files::opened(&place.directory, &place.given)?,
            wal: Wal::new(gate.clone(), place.options.wal_bound),
            wal_bytes: 0,
            is_replaced: false,
            gate,
            place,
            store_id: open.state.store_id.clone(),
            key: open.state.key,
            standing: watch::Sender::new(open.state.standing()),
            missing: watch::Sender::new(open.state.missing),
            last_event: watch::Sender::new(open.state.last_event),
            duplicates: Duplicates::default(),
            leaders: Leaders::default(),
            waits: Waits::default(),
            open: None,
            slot,
        };
        match owner.recover_index(&open) {
            Ok(()) => owner.open = Some(open),
            // As on a full disk: queries are answered, and the first write tries again.
            Err(StoreError::Index(err)) if !err.is_damage() => {
                warn!(error = %err, "the dedup index cannot be had yet");
            }
            Err(err) => return Err(err),
        }
        Ok(owner)
    }

    pub fn split_events(&self) -> usize {
        self.place.options.split_events
    }

    pub fn run(&mut self, mut work: mpsc::Receiver<Work>) {
        while let Some(work) = work.blocking_recv() {
            // A caller that no longer waits asks again, or has the message redelivered.
            match work {
                Work::Append(looked, now, reply) => {
                    let _ = reply.send(self.append(looked, now));
                }
                Work::Other(Task::Meet(met, now, reply)) => {
                    let _ = reply.send(self.meet(&met, now));
                }
                Work::Other(Task::AcknowledgeMissing(now, reply)) => {
                    let _ = reply.send(self.write(|context, next| {
                        incarnation::acknowledge_missing(context.transaction, now)?;
                        Ok(std::mem::take(&mut next.missing))
                    }));
                }
                Work::Other(Task::Requeued(id, now, reply)) => {
                    let _ = reply.send(self.write(|context, _| {
                        Ok(kept::mark_requeued(context.transaction, id, now)?)
                    }));
                }
                Work::Other(Task::CheckFiles(reply)) => {
                    let _ = reply.send(self.look());
                }
            }
            // After the reply, which it may take longer than.
            if let Some(open) = &self.open {
                self.wal.keep_bounded(&open.connection, self.wal_bytes);
            }
        }
        self.close();
    }

    fn append(
        &mut self,
        looked: Result<LookupBatch, LookupError>,
        now: i64,
    ) -> Result<Appended, StoreError> {
        let looked = match looked {
            Ok(looked) => looked,
            Err(LookupError { error, asked }) if self.is_in_use(asked) => {
                // The index may be gone with the whole directory, which is what there is to say then.
                self.check_files()?;
                return self.fail(error.into());
            }
            // That index is gone already, and what is in its place has not failed.
            Err(LookupError { error, .. }) => return Err(error.into()),
        };
        if let Err(err) = self.place.options.faults.at(Step::LookedUp) {
            return self.fail(err.into());
        }
        let (done, mut changes) =
            self.write(|context, next| append::append(context, next, &looked, now))?;
        let committed = self.place.options.faults.at(Step::Committed);
        if let Err(err) = committed {
            return self.fail(err.into());
        }
        self.duplicates.enter(std::mem::take(&mut changes.again));
        let told = std::mem::take(&mut changes.told);
        let last = changes.last;
        self.enter(changes);
        self.tell_last(last);
        // At last: whoever is told asks at once, and finds it.
        self.waits.tell(&told);
        Ok(done)
    }

    fn meet(&mut self, met: &ObservedStream, now: i64) -> Result<Position, StoreError> {
        self.write(|context, next| {
            next.missing += incarnation::meet(context.transaction, &mut next.lives, met, now)?;
            Ok(Position {
                store_id: next.store_id.clone(),
                standing: next.standing(),
                missing: next.missing,
            })
        })
    }

    /// Runs one transaction. It changes what memory knows in place; after any failure, that is forgotten with the
    /// connection, and read again from the file. Others learn of a change only after COMMIT.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&AppendContext<'_>, &mut State) -> Result<T, StoreError>,
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

    /// Looks at the files between writes. Where they are back, the store is opened again: trimming waits for it.
    fn look(&mut self) -> Result<(), StoreError> {
        self.check_files()?;
        if self.is_replaced {
            let open = self.open_again()?;
            self.open = Some(open);
            self.is_replaced = false;
        }
        Ok(())
    }

    /// Whether the store's files are still where they were opened. Where they are not, what was just committed counts as
    /// not committed, and nothing may be trimmed that a restored store could need.
    fn check_files(&mut self) -> Result<(), StoreError> {
        match self.files.check() {
            Ok(wal_bytes) => {
                self.wal_bytes = wal_bytes;
                Ok(())
            }
            Err(err) => {
                self.is_replaced = true;
                self.standing.send_replace(Standing::default());
                self.save_wal();
                self.fail(err)
            }
        }
    }

    /// Brings what is in the WAL into the database as it was opened: where only the WAL was deleted, nothing is lost by it.
    fn save_wal(&self) {
        let Some(open) = &self.open else { return };
        let closed = self.gate.close(SAVE_PATIENCE);
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        if let Err(err) = open.connection.query_row(sql, [], |_| Ok(())) {
            warn!(error = %err, "the WAL was not brought into the database");
        }
        drop(closed);
    }

    fn transact<T>(
        &self,
        mut open: Open,
        change: impl FnOnce(&AppendContext<'_>, &mut State) -> Result<T, StoreError>,
    ) -> Result<(Open, T), StoreError> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let index = slot
            .as_ref()
            .expect("an open store has its index in the slot");
        index.make_room()?;
        let Open {
            connection,
            state,
            topics,
        } = &mut open;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let context = AppendContext {
            transaction: &transaction,
            index,
            topics,
            waits: &self.waits,
            bounds: &self.place.options.bounds,
        };
        let done = change(&context, state)?;
        state.save(&transaction)?;
        transaction.commit()?;
        Ok((open, done))
    }

    /// Tells memory what has committed.
    fn enter(&mut self, changes: CommittedChanges) {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        if let (Some(open), Some(index)) = (&mut self.open, slot.as_ref()) {
            index.enter(changes.entries, changes.last, changes.seal);
            self.leaders.enter(&changes.topics, changes.processed_at);
            open.topics.remember(changes.topics);
        }
    }

    /// Forgets what memory knows. An index that is damaged goes with its files.
    fn fail<T>(&mut self, err: StoreError) -> Result<T, StoreError> {
        self.open = None;
        self.leaders.forget();
        if let StoreError::Index(index) = &err {
            drop(self.take_index());
            // What is in the place of the store's directory has an index of its own.
            if index.is_damage()
                && self.files.check().is_ok()
                && let Err(discarding) = index::discard(&self.place.index)
            {
                warn!(error = %discarding, "the damaged dedup index could not be removed");
            }
        }
        Err(err)
    }

    /// After a failure. Nothing is made then: a file that is gone, or another one in its place, is no store of ours.
    fn open_again(&mut self) -> Result<Open, StoreError> {
        self.files.check()?;
        let options = &self.place.options;
        let open = Open::load(schema::open(&self.place.file, options)?, options.topics)?;
        if open.state.store_id != self.store_id {
            let found = open.state.store_id;
            return Err(StoreError::Foreign(format!(
                "the file was replaced by that of store {found}; start the aggregator again"
            )));
        }
        // The one that was opened just now.
        self.files.check()?;
        self.recover_index(&open)?;
        self.tell(&open.state);
        Ok(open)
    }

    fn recover_index(&mut self, open: &Open) -> Result<(), StoreError> {
        let recovered = index::recover(
            self.take_index(),
            &self.place.index,
            &open.connection,
            &self.key,
            open.state.last_event,
            &self.place.options.index(),
        )?;
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(recovered);
        Ok(())
    }

    /// Tells others of a state that was read from the file. A COMMIT that was reported as failed may have brought it further.
    fn tell(&self, state: &State) {
        self.standing.send_replace(state.standing());
        self.missing.send_replace(state.missing);
        self.tell_last(state.last_event);
    }

    fn tell_last(&self, last: i64) {
        self.last_event
            .send_if_modified(|known| std::mem::replace(known, last) != last);
    }

    fn is_in_use(&self, asked: Option<Asked>) -> bool {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let index = slot.as_ref().zip(asked);
        index.is_some_and(|(index, asked)| index.was_asked(asked))
    }

    /// Alone from then on: nobody reads it any more.
    fn take_index(&self) -> Option<Index> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }

    fn close(&mut self) {
        drop(self.take_index());
        let Some(open) = self.open.take() else { return };
        let is_busy: Result<bool, _> =
            open.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match is_busy {
            Ok(false) => debug!("the WAL is checkpointed"),
            Ok(true) => warn!("a reader holds the WAL; it is left for the next start"),
            Err(err) => warn!(error = %err, "the WAL is left for the next start"),
        }
        // The last connection removes the WAL by its path, where another store's may be.
        if self.files.check().is_err() {
            return;
        }
        let flag = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        if let Err(err) = open.connection.set_db_config(flag, false) {
            debug!(error = %err, "the empty WAL stays");
        }
    }
}

impl Open {
    fn load(connection: Connection, topics: usize) -> Result<Self, StoreError> {
        let state = State::load(&connection)?;
        Ok(Self {
            connection,
            state,
            topics: Topics::new(topics),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::stream::StreamState;

    use super::*;
    use crate::store::sqlite::{dedup::index::IndexError, options::Options};

    #[test]
    fn a_failure_of_an_index_that_is_gone_leaves_its_successor_alone() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place {
            file: directory.path().join(crate::store::sqlite::FILE),
            index: directory.path().join("index"),
            directory: directory.path().to_owned(),
            given: directory.path().to_owned(),
            options: Options::default(),
        };
        let connection = schema::open_or_make(&place.file, 0, &place.options).unwrap();
        let slot = Slot::default();
        let mut owner = Owner::new(place, connection, Arc::clone(&slot)).unwrap();
        let asked = || {
            slot.read()
                .unwrap()
                .as_ref()
                .map(|index| index.looking().asked())
        };
        let fails = |owner: &mut Owner, asked| {
            let error = IndexError::Wrong("a test wants it so");
            owner
                .append(Err(LookupError { error, asked }), 0)
                .unwrap_err();
        };
        let first = asked();
        fails(&mut owner, first);
        assert_eq!(asked(), None);
        let stream = StreamState {
            name: "EVENTS".to_owned(),
            created: 1,
            first: 1,
            last: 0,
            messages: 0,
            bytes: 0,
        };
        owner.meet(&stream.into(), 0).unwrap();
        let second = asked();
        assert!(second.is_some() && second != first);
        fails(&mut owner, first);
        assert_eq!(asked(), second);
    }
}
