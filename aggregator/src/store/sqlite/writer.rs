//! The writer: one OS thread that owns the only connection that can write, and the one before it that looks up.

mod append;
pub mod incarnation;
pub mod kept;
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
    Appended, Delivery, ObservedStream, Position, Standing, StoreError,
    waits::{Wait, Waits},
};

/// Commands that may wait for each of the threads. The consumer has three batches under way: while one commits, the
/// next waits here and another one is looked up.
const CHANNEL: usize = 1;

/// Hands commands to the threads, which end when the last clone is dropped. They work in the order of the commands.
#[derive(Debug, Clone)]
pub struct Writer {
    commands: mpsc::Sender<Command>,
    standing: watch::Receiver<Standing>,
    waits: Waits,
    key: Key,
}

/// Resolves when the writer's thread has ended.
#[derive(Debug)]
pub struct WriterEnded(oneshot::Receiver<()>);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Command {
    Append(Arc<Vec<Delivery>>, i64, Reply<Appended>),
    Other(Task),
}

/// The same for the writer's own thread.
enum Work {
    Append(Result<LookupBatch, LookupError>, i64, Reply<Appended>),
    Other(Task),
}

/// What needs no lookup.
enum Task {
    Meet(ObservedStream, i64, Reply<Position>),
    AcknowledgeMissing(i64, Reply<u64>),
    Requeued(i64, i64, Reply<bool>),
    CheckFiles(Reply<()>),
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

    /// Compares the stream with what the store knows of it and tells where the store stands. Nothing that the store
    /// has not applied may be in hand then.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn meet(&self, met: ObservedStream, now: i64) -> Result<Position, StoreError> {
        self.task(|reply| Task::Meet(met, now, reply)).await
    }

    /// Marks all missing sequences as known to a person, and tells how many there were.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn acknowledge_missing(&self, now: i64) -> Result<u64, StoreError> {
        self.task(|reply| Task::AcknowledgeMissing(now, reply))
            .await
    }

    /// Marks a rejected arrival as sent again; false where it is not there any more.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn requeued(&self, id: i64, now: i64) -> Result<bool, StoreError> {
        self.task(|reply| Task::Requeued(id, now, reply)).await
    }

    /// Looks whether the store's files are still where they were opened. Every write does that too, before it is reported
    /// as done; this is for the time between writes.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    pub async fn check_files(&self) -> Result<(), StoreError> {
        self.task(Task::CheckFiles).await
    }

    /// Begins to wait for what becomes of events of these identities, topic and `event_id`; none where too many are
    /// waited for already. To be called before they are published: a commit can come before its `PubAck`.
    pub fn wait<'a>(&self, identities: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Wait> {
        let identity = |(topic, event_id)| self.key.identity(topic, event_id);
        let identities: Vec<u128> = identities.map(identity).collect();
        let events = identities.len();
        self.waits.begin(identities.into_iter().collect(), events)
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
pub(in crate::store) struct Place {
    pub file: PathBuf,
    pub index: PathBuf,
    /// Where both are.
    pub directory: PathBuf,
    /// The same, by the name that a person gave.
    pub given: PathBuf,
    pub options: Options,
}

/// Opens the store for writing and starts the threads. The index is in the slot from then on.
pub(in crate::store) fn start(
    place: Place,
    slot: &Slot,
    now: i64,
) -> Result<(Writer, WriterEnded, Memory), StoreError> {
    let connection = schema::open_or_make(&place.file, now, &place.options)?;
    let file = place.file.clone();
    let mut owner = Owner::new(place, connection, Arc::clone(slot))?;
    let rows = Rows::of(file, owner.files.clone(), owner.gate.clone());
    let standing = owner.standing.subscribe();
    let key = owner.key;
    let waits = owner.waits.clone();
    let memory = Memory {
        index: Arc::clone(slot),
        duplicates: owner.duplicates.clone(),
        leaders: owner.leaders.clone(),
        last_event: owner.last_event.subscribe(),
        missing: owner.missing.subscribe(),
        files: owner.files.clone(),
        gate: owner.gate.clone(),
    };
    let (commands, mut receiver) = mpsc::channel(CHANNEL);
    let (worker, work) = mpsc::channel(CHANNEL);
    let (ended_sender, ended) = oneshot::channel();
    let (slot, split) = (Arc::clone(slot), owner.split_events());
    let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
    spawn("store-writer")
        .spawn(move || {
            owner.run(work);
            // Nobody listens when the process did not get as far as waiting.
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
    };
    Ok((writer, WriterEnded(ended), memory))
}

/// The thread before the writer's: hands on every command, batches with what the index says of them.
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
            Command::Append(batch, now, reply) => {
                Work::Append(lookup::look(slot, key, &mut rows, batch, split), now, reply)
            }
            Command::Other(task) => Work::Other(task),
        };
        if worker.blocking_send(work).is_err() {
            // The writer's thread has panicked; its end is told by `WriterEnded`.
            return;
        }
    }
}
