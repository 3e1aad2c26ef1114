//! The writer thread owns the only writable connection; a lookup thread runs one stage ahead.

mod append;
pub mod history;
pub mod incarnation;
pub mod kept;
mod open_store;
mod owner;
pub mod state;
pub mod topics;
mod wal;

use std::{path::PathBuf, sync::Arc, thread};

use tokio::sync::{mpsc, oneshot, watch};

use self::owner::Owner;
use super::{
    dedup::{
        fingerprint::Key,
        lookup::{self, LookupBatch, LookupError, Rows, Slot},
    },
    file::schema,
    memory::Memory,
    options::Options,
};
use crate::store::{
    Appended, BATCHES_IN_FLIGHT, Delivery, ObservedStream, Position, Standing, StoreError,
    query::{Review, Seen},
    waits::{Wait, Waits},
};

/// Commands that may wait for each of the two threads: the batches in flight that neither of them works on.
const CHANNEL: usize = BATCHES_IN_FLIGHT - 2;

/// Sends commands to the threads, which process them in order and end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Writer {
    commands: mpsc::Sender<Command>,
    standing: watch::Receiver<Standing>,
    waits: Waits,
    key: Key,
    store_id: Arc<str>,
}

/// Resolves when the writer thread has ended.
#[derive(Debug)]
pub struct WriterEnded(oneshot::Receiver<()>);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Command {
    Append(Arc<Vec<Delivery>>, i64, Reply<Appended>),
    Other(Task),
}

/// What the lookup thread passes on to the writer thread.
enum Work {
    Append(Result<LookupBatch, LookupError>, i64, Reply<Appended>),
    Other(Task),
}

/// A command that needs no lookup.
enum Task {
    Meet(ObservedStream, i64, Reply<Position>),
    AcknowledgeMissing(i64, Reply<u64>),
    Requeued(i64, i64, Reply<bool>),
    Seen(Review, u64, Reply<Option<u64>>),
    CheckFiles(Reply<()>),
}

impl Writer {
    /// Appends a batch in one transaction. `now` is in microseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError`]; the batch may then be appended again: whether a failed COMMIT took effect is read from the file, and what
    /// was applied counts as a redelivery.
    pub async fn append(
        &self,
        batch: Arc<Vec<Delivery>>,
        now: i64,
    ) -> Result<Appended, StoreError> {
        self.ask(|reply| Command::Append(batch, now, reply)).await
    }

    /// Compares the stream with the store, and returns the store's position. No delivery that the store has not applied may be in
    /// flight then.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn meet(&self, met: ObservedStream, now: i64) -> Result<Position, StoreError> {
        self.task(|reply| Task::Meet(met, now, reply)).await
    }

    /// Marks all missing sequences as acknowledged, and returns how many there were.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn acknowledge_missing(&self, now: i64) -> Result<u64, StoreError> {
        self.task(|reply| Task::AcknowledgeMissing(now, reply))
            .await
    }

    /// Marks a rejected arrival as sent again; returns false if it no longer exists.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn requeued(&self, id: i64, now: i64) -> Result<bool, StoreError> {
        self.task(|reply| Task::Requeued(id, now, reply)).await
    }

    /// Marks the rows kept for review up to the id `upto` as seen by an operator; returns the id up to which they now are, or
    /// `None` if no row has had this id.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn seen(&self, rows: Review, upto: u64) -> Result<Option<Seen>, StoreError> {
        let seen = self.task(|reply| Task::Seen(rows, upto, reply)).await?;
        Ok(seen.map(Seen::dense))
    }

    /// Checks whether the store's files are still where they were opened. Every write checks that too, before it is reported
    /// as done; this is for the time between writes.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub async fn check_files(&self) -> Result<(), StoreError> {
        self.task(Task::CheckFiles).await
    }

    /// Begins to wait for the outcomes of events of these identities, topic and `event_id`; `None` if too many are
    /// waited for already. Must be called before they are published: a commit can precede the `PubAck`.
    pub fn wait<'a>(&self, identities: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Wait> {
        let identity = |(topic, event_id)| self.key.identity(topic, event_id);
        self.waits.begin(identities.map(identity).collect())
    }

    /// The store's own id.
    #[must_use]
    pub fn store_id(&self) -> &str {
        &self.store_id
    }

    /// How far the current stream is applied, as of the last commit.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    async fn task<T>(&self, task: impl FnOnce(Reply<T>) -> Task) -> Result<T, StoreError> {
        self.ask(|reply| Command::Other(task(reply))).await
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
    /// Waits for the end of the thread.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] if it panicked.
    pub async fn wait(self) -> Result<(), StoreError> {
        self.0.await.map_err(|_| StoreError::Stopped)
    }
}

/// Where the store's files are, and the options that it is opened with.
#[derive(Debug, Clone)]
pub(in crate::store) struct Location {
    pub file: PathBuf,
    pub index: PathBuf,
    /// The directory of both, with symbolic links resolved.
    pub directory: PathBuf,
    /// The same directory by the path that was given.
    pub given: PathBuf,
    pub options: Options,
}

/// Opens the store for writing, puts the index into the slot, and starts the threads.
pub(in crate::store) fn start(
    location: Location,
    slot: &Slot,
    now: i64,
) -> Result<(Writer, WriterEnded, Memory), StoreError> {
    let connection = schema::open_or_make(&location.file, now, &location.options)?;
    let file = location.file.clone();
    let reader_pages = location.options.memory.reader_pages;
    let mut owner = Owner::new(location, connection, Arc::clone(slot))?;
    let rows = Rows::of(file, owner.files.clone(), owner.gate.clone(), reader_pages);
    let standing = owner.standing.subscribe();
    let key = owner.key;
    let waits = owner.waits.clone();
    let store_id = owner.store_id.as_str().into();
    let memory = Memory {
        index: Arc::clone(slot),
        duplicates: owner.duplicates.clone(),
        leaders: owner.leaders.clone(),
        last_event: owner.last_event.subscribe(),
        missing: owner.missing.subscribe(),
        files: owner.files.clone(),
        gate: owner.gate.clone(),
        reader_pages,
    };
    let (commands, mut receiver) = mpsc::channel(CHANNEL);
    let (worker, work) = mpsc::channel(CHANNEL);
    let (ended_sender, ended) = oneshot::channel();
    let (slot, split) = (Arc::clone(slot), owner.split_events());
    let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
    spawn("store-writer")
        .spawn(move || {
            owner.run(work);
            // The receiver is dropped if the process ends before it waits.
            let _ = ended_sender.send(());
        })
        .map_err(StoreError::Thread)?;
    spawn("store-lookup")
        .spawn(move || look_ahead(&slot, &key, rows, split, &mut receiver, &worker))
        .map_err(StoreError::Thread)?;
    let writer = Writer {
        commands,
        standing,
        waits,
        key,
        store_id,
    };
    Ok((writer, WriterEnded(ended), memory))
}

/// The lookup thread: passes on every command, batches with the lookups of their events.
fn look_ahead(
    slot: &Slot,
    key: &Key,
    mut rows: Rows,
    split: usize,
    commands: &mut mpsc::Receiver<Command>,
    worker: &mpsc::Sender<Work>,
) {
    while let Some(command) = commands.blocking_recv() {
        let work = match command {
            Command::Append(batch, now, reply) => Work::Append(
                lookup::look_up(slot, key, &mut rows, batch, split),
                now,
                reply,
            ),
            Command::Other(task) => Work::Other(task),
        };
        if worker.blocking_send(work).is_err() {
            // The writer thread has panicked; `WriterEnded` reports it.
            return;
        }
    }
}
