//! The writer: one OS thread that owns the only connection that can write, and the one before it that looks up.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
    thread,
};

use rusqlite::{Connection, TransactionBehavior};
use shared::stream::StreamState;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::{
    Appended, Delivery, Position, StoreError,
    append::{self, Fresh, Ground},
    fingerprint::Key,
    incarnation,
    index::{self, Index, IndexError, Step},
    lookup::{self, Looked, Slot},
    schema,
    state::State,
    topics::Topics,
};

/// Commands that may wait for each of the threads. The consumer has two batches under way: one is looked up while
/// the other commits.
const CHANNEL: usize = 1;

/// Hands commands to the threads, which end when the last clone is dropped. They work in the order of the commands.
#[derive(Debug, Clone)]
pub struct Writer {
    commands: mpsc::Sender<Command>,
    floor: watch::Receiver<u64>,
}

/// Resolves when the writer's thread has ended.
#[derive(Debug)]
pub struct WriterEnded(oneshot::Receiver<()>);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Command {
    Append(Arc<Vec<Delivery>>, i64, Reply<Appended>),
    Meet(StreamState, i64, Reply<Position>),
}

/// The same for the writer's own thread.
enum Work {
    Append(Result<Looked, IndexError>, i64, Reply<Appended>),
    Meet(StreamState, i64, Reply<Position>),
}

impl Writer {
    /// Appends a batch in one transaction. `now` is in microseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError`]; the batch may then be appended again: what a failed COMMIT did is looked up, and what
    /// was applied counts as a redelivery.
    pub async fn append(
        &self,
        batch: Arc<Vec<Delivery>>,
        now: i64,
    ) -> Result<Appended, StoreError> {
        self.ask(|reply| Command::Append(batch, now, reply)).await
    }

    /// Compares the stream with what the store knows of it and tells where the store stands.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn meet(&self, stream: StreamState, now: i64) -> Result<Position, StoreError> {
        self.ask(|reply| Command::Meet(stream, now, reply)).await
    }

    /// All sequences of the current stream up to this one are applied and on disk, or missing for good.
    #[must_use]
    pub fn floor(&self) -> u64 {
        *self.floor.borrow()
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

impl WriterEnded {
    /// Waits for the thread's end.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] where it panicked.
    pub async fn wait(self) -> Result<(), StoreError> {
        self.0.await.map_err(|_| StoreError::Stopped)
    }
}

/// Where the store's files are, and what its index is opened with.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub file: PathBuf,
    pub index: PathBuf,
    pub options: index::Options,
}

/// Opens the store for writing and starts the threads. The index is in the slot from then on.
pub(super) fn start(
    place: Place,
    slot: &Slot,
    now: i64,
) -> Result<(Writer, WriterEnded), StoreError> {
    let connection = schema::open_or_make(&place.file, now)?;
    let mut owner = Owner::new(place, connection, Arc::clone(slot))?;
    let floor = owner.floor.subscribe();
    let key = owner.key;
    let (commands, mut receiver) = mpsc::channel(CHANNEL);
    let (worker, work) = mpsc::channel(CHANNEL);
    let (ended_sender, ended) = oneshot::channel();
    let slot = Arc::clone(slot);
    let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
    spawn("store-writer")
        .spawn(move || {
            owner.run(work);
            // Nobody listens when the process did not get as far as waiting.
            let _ = ended_sender.send(());
        })
        .map_err(StoreError::Thread)?;
    spawn("store-lookup")
        .spawn(move || look_ahead(&slot, &key, &mut receiver, &worker))
        .map_err(StoreError::Thread)?;
    Ok((Writer { commands, floor }, WriterEnded(ended)))
}

/// The thread before the writer's: hands on every command, batches with what the index says of them.
fn look_ahead(
    slot: &Slot,
    key: &Key,
    commands: &mut mpsc::Receiver<Command>,
    worker: &mpsc::Sender<Work>,
) {
    while let Some(command) = commands.blocking_recv() {
        let work = match command {
            Command::Append(batch, now, reply) => {
                Work::Append(lookup::look(slot, key, batch), now, reply)
            }
            Command::Meet(stream, now, reply) => Work::Meet(stream, now, reply),
        };
        if worker.blocking_send(work).is_err() {
            // The writer's thread has panicked; its end is told by `WriterEnded`.
            return;
        }
    }
}

/// The connection, and what memory knows of what it committed.
struct Open {
    connection: Connection,
    state: State,
    topics: Topics,
}

/// The writer's thread's own data.
struct Owner {
    place: Place,
    store_id: String,
    key: Key,
    /// None after a failure: the connection and the memory are made anew before the next write.
    open: Option<Open>,
    slot: Slot,
    floor: watch::Sender<u64>,
}

impl Owner {
    fn new(place: Place, connection: Connection, slot: Slot) -> Result<Self, StoreError> {
        let open = Open::load(connection)?;
        let mut owner = Self {
            place,
            store_id: open.state.store_id.clone(),
            key: open.state.key,
            floor: watch::Sender::new(open.state.floor()),
            open: None,
            slot,
        };
        owner.recover_index(&open)?;
        owner.open = Some(open);
        Ok(owner)
    }

    fn run(&mut self, mut work: mpsc::Receiver<Work>) {
        while let Some(work) = work.blocking_recv() {
            // A caller that no longer waits asks again, or has the message redelivered.
            match work {
                Work::Append(looked, now, reply) => {
                    let _ = reply.send(self.append(looked, now));
                }
                Work::Meet(stream, now, reply) => {
                    let _ = reply.send(self.meet(&stream, now));
                }
            }
        }
        self.close();
    }

    fn append(
        &mut self,
        looked: Result<Looked, IndexError>,
        now: i64,
    ) -> Result<Appended, StoreError> {
        let looked = match looked {
            Ok(looked) => looked,
            Err(err) => return self.fail(err.into()),
        };
        let (done, fresh) =
            self.write(|ground, next| append::append(ground, next, &looked, now))?;
        let committed = self.place.options.faults.at(Step::Committed);
        if let Err(err) = committed {
            return self.fail(err.into());
        }
        self.enter(fresh);
        Ok(done)
    }

    fn meet(&mut self, stream: &StreamState, now: i64) -> Result<Position, StoreError> {
        self.write(|ground, next| {
            incarnation::meet(ground.transaction, next, stream, now)?;
            let missing = append::count_missing(ground.transaction)?;
            Ok(Position {
                store_id: next.store_id.clone(),
                floor: next.floor(),
                missing,
            })
        })
    }

    /// Runs one transaction. What memory knows changes only after COMMIT; after any failure it is forgotten
    /// with the connection, and read again from the file.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&Ground<'_>, &mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.open_again()?,
        };
        match self.transact(open, change) {
            Ok((open, done)) => {
                self.floor.send_replace(open.state.floor());
                self.open = Some(open);
                Ok(done)
            }
            Err(err) => self.fail(err),
        }
    }

    fn transact<T>(
        &self,
        mut open: Open,
        change: impl FnOnce(&Ground<'_>, &mut State) -> Result<T, StoreError>,
    ) -> Result<(Open, T), StoreError> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let index = slot
            .as_ref()
            .expect("an open store has its index in the slot");
        index.make_room()?;
        let mut next = open.state.clone();
        let transaction = open
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let ground = Ground {
            transaction: &transaction,
            index,
            topics: &open.topics,
        };
        let done = change(&ground, &mut next)?;
        next.save(&transaction, &open.state)?;
        transaction.commit()?;
        open.state = next;
        Ok((open, done))
    }

    /// Tells memory what has committed.
    fn enter(&mut self, fresh: Fresh) {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        if let (Some(open), Some(index)) = (&mut self.open, slot.as_ref()) {
            index.enter(fresh.entries, fresh.last, fresh.seal);
            open.topics.remember(fresh.topics);
        }
    }

    /// Forgets what memory knows. An index that is damaged goes with its files.
    fn fail<T>(&mut self, err: StoreError) -> Result<T, StoreError> {
        self.open = None;
        if let StoreError::Index(index) = &err {
            drop(self.take_index());
            if index.is_damage()
                && let Err(discarding) = index::discard(&self.place.index)
            {
                warn!(error = %discarding, "the damaged dedup index could not be removed");
            }
        }
        Err(err)
    }

    /// After a failure. Nothing is made then: a file that is gone, or another one in its place, is no store of ours.
    fn open_again(&mut self) -> Result<Open, StoreError> {
        let open = Open::load(schema::open(&self.place.file)?)?;
        if open.state.store_id != self.store_id {
            let found = open.state.store_id;
            return Err(StoreError::Foreign(format!(
                "the file was replaced by that of store {found}; start the aggregator again"
            )));
        }
        self.recover_index(&open)?;
        Ok(open)
    }

    fn recover_index(&mut self, open: &Open) -> Result<(), StoreError> {
        let recovered = index::recover(
            self.take_index(),
            &self.place.index,
            &open.connection,
            &self.key,
            open.state.last_event,
            &self.place.options,
        )?;
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(recovered);
        Ok(())
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
    }
}

impl Open {
    fn load(connection: Connection) -> Result<Self, StoreError> {
        let state = State::load(&connection)?;
        Ok(Self {
            connection,
            state,
            topics: Topics::default(),
        })
    }
}
