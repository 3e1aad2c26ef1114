//! The writer: one OS thread that owns the only connection that can write.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use shared::stream::StreamState;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::{Appended, Delivery, Position, StoreError, append, incarnation, schema, state::State};

/// Commands that may wait for the thread. The consumer has one batch under way, so two are plenty.
const CHANNEL: usize = 2;

/// Hands commands to the writer's thread, which ends when the last clone is dropped.
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

/// Opens the store for writing and starts the thread.
pub(super) fn start(file: PathBuf, now: i64) -> Result<(Writer, WriterEnded), StoreError> {
    let open = Open::new(&file, now)?;
    let (floor_sender, floor) = watch::channel(open.floor());
    let (commands, receiver) = mpsc::channel(CHANNEL);
    let (ended_sender, ended) = oneshot::channel();
    let owner = Owner {
        file,
        store_id: open.state.store_id.clone(),
        open: Some(open),
        floor: floor_sender,
    };
    thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || {
            owner.run(receiver);
            // Nobody listens when the process did not get as far as waiting.
            let _ = ended_sender.send(());
        })
        .map_err(StoreError::Thread)?;
    Ok((Writer { commands, floor }, WriterEnded(ended)))
}

/// The connection, and what memory knows of what it committed.
struct Open {
    connection: Connection,
    state: State,
}

/// The thread's own data.
struct Owner {
    file: PathBuf,
    store_id: String,
    /// None after a failure: the connection and the memory are made anew before the next write.
    open: Option<Open>,
    floor: watch::Sender<u64>,
}

impl Owner {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.blocking_recv() {
            // A caller that no longer waits asks again, or has the message redelivered.
            match command {
                Command::Append(batch, now, reply) => {
                    let appended = self
                        .write(|transaction, next| append::append(transaction, next, &batch, now));
                    let _ = reply.send(appended);
                }
                Command::Meet(stream, now, reply) => {
                    let met = self.write(|transaction, next| {
                        incarnation::meet(transaction, next, &stream, now)?;
                        let missing = append::count_missing(transaction)?;
                        Ok(Position {
                            store_id: next.store_id.clone(),
                            floor: next.floor(),
                            missing,
                        })
                    });
                    let _ = reply.send(met);
                }
            }
        }
        self.close();
    }

    /// Runs one transaction. What memory knows changes only after COMMIT; after any failure it is forgotten
    /// with the connection, and read again from the file.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, &mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::again(&self.file, &self.store_id)?,
        };
        let mut next = open.state.clone();
        let transaction = open
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = change(&transaction, &mut next)?;
        next.save(&transaction, &open.state)?;
        transaction.commit()?;
        open.state = next;
        self.floor.send_replace(open.floor());
        self.open = Some(open);
        Ok(done)
    }

    fn close(self) {
        let Some(open) = self.open else { return };
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
    fn new(file: &Path, now: i64) -> Result<Self, StoreError> {
        let connection = schema::open_or_make(file, now)?;
        let state = State::load(&connection)?;
        Ok(Self { connection, state })
    }

    /// After a failure. Nothing is made then: a file that is gone, or another one in its place, is no store of ours.
    fn again(file: &Path, store_id: &str) -> Result<Self, StoreError> {
        let connection = schema::open(file)?;
        let state = State::load(&connection)?;
        if state.store_id == store_id {
            return Ok(Self { connection, state });
        }
        let found = state.store_id;
        let what =
            format!("the file was replaced by that of store {found}; start the aggregator again");
        Err(StoreError::Foreign(what))
    }

    fn floor(&self) -> u64 {
        self.state.floor()
    }
}
