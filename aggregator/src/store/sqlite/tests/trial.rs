//! A store with an index of small tables, the model, and the messages sent; and operations on the store's files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    harness::{Arrival, Store, delivery, event},
    model::{Model, check},
};
use crate::{
    memory::OfStore,
    store::{
        Appended, Delivery, Limits, StoreError,
        sqlite::{FILE, INDEX_FOLDER, dedup::index::FaultPoint, options::Options},
    },
};

/// Small sizes, so that a few events fill a table, a few dozen cause a merge, and memory is often discarded.
pub fn small() -> Options {
    Options {
        // One topic is cached.
        memory: OfStore {
            topics: 250,
            ..with_tables(5)
        },
        replay_rows: 3,
        split_events: 4,
        ..Options::default()
    }
}

/// Tables of this many entries, of which three may wait to be sealed.
pub fn with_tables(entries: usize) -> OfStore {
    let Limits { mut memory, .. } = Limits::default();
    memory.index.table_entries = entries;
    memory
}

pub const THREAD_STEPS: [FaultPoint; 6] = [
    FaultPoint::Sort,
    FaultPoint::Ingest,
    FaultPoint::Register,
    FaultPoint::Ingested,
    FaultPoint::Merge,
    FaultPoint::Merged,
];

/// The store, the model, and the messages of the stream.
pub struct Trial {
    pub store: Store,
    pub model: Model,
    pub sent: Vec<Vec<Arrival>>,
    /// Whether files were damaged, which may be detected at any later time.
    pub is_damaged: bool,
}

impl Trial {
    pub fn new() -> Self {
        let store = Store::with(small());
        store.meet(1, 1, 0);
        Self {
            store,
            model: Model::default(),
            sent: Vec::new(),
            is_damaged: false,
        }
    }

    /// Sends the next messages.
    pub fn send(&mut self, messages: Vec<Vec<Arrival>>) {
        let first = self.sent.len() as u64 + 1;
        let deliveries = (first..).zip(&messages);
        let batch: Vec<_> = deliveries
            .map(|(n, message)| delivery(n, message))
            .collect();
        for (sequence, message) in (first..).zip(&messages) {
            self.model.append(sequence, message);
        }
        self.sent.extend(messages);
        self.append(&batch);
    }

    /// Sends the next messages once; they may be refused.
    pub fn try_send(&mut self, messages: Vec<Vec<Arrival>>) {
        let first = self.sent.len() as u64 + 1;
        let deliveries = (first..).zip(&messages);
        let batch: Vec<_> = deliveries
            .map(|(n, message)| delivery(n, message))
            .collect();
        if self.store.append(&batch).is_ok() {
            for (sequence, message) in (first..).zip(&messages) {
                self.model.append(sequence, message);
            }
            self.sent.extend(messages);
        }
    }

    /// Appends a batch until it succeeds: a failed append changes nothing.
    pub fn append(&mut self, batch: &[Delivery]) -> Appended {
        for _ in 0..5 {
            match self.store.append(batch) {
                Ok(appended) => return appended,
                // A fault was triggered; it does not occur again, as after a kill.
                Err(StoreError::Index(_)) => self.store.options.faults.clear_all(),
                Err(err) => panic!("{err}"),
            }
        }
        panic!("the store does not recover");
    }

    /// Holds a thread at a step, after all waiting tables have been sealed.
    pub fn hold(&self, step: FaultPoint) {
        self.store.settle();
        self.store.options.faults.hold(step);
    }

    /// Sends many new events, each twice: within the batch, and with messages sent long ago.
    pub fn fill(&mut self, ids: std::ops::Range<u8>) {
        for id in ids {
            self.send(vec![event(id), event(id), event(id / 2)]);
        }
    }

    pub fn check(&self) {
        check(&self.store, &self.model);
    }

    pub fn index(&self) -> PathBuf {
        self.store.path().join(INDEX_FOLDER)
    }
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Replaces the database by that of a copy, and leaves the index unchanged.
pub fn restore(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let name = format!("{FILE}{end}");
        let _ = fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// All files below a folder, in a stable order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Changes one byte, or truncates the file there.
pub fn damage(file: &Path, at: usize, is_truncated: bool) {
    let mut bytes = fs::read(file).unwrap();
    if bytes.is_empty() {
        return;
    }
    let at = at % bytes.len();
    if is_truncated {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 0x55;
    }
    fs::write(file, bytes).unwrap();
}
