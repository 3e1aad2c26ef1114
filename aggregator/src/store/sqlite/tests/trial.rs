//! A store with an index of small tables, the model, and what the stream has sent: and what is done to its files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    harness::{Arrival, Store, delivery, event},
    model::{Model, check},
};
use crate::store::{
    Appended, Delivery, StoreError,
    sqlite::{FILE, INDEX_FOLDER, dedup::index::Step, options::Options},
};

/// Small, so that a few events fill a table, some dozens are merged, and what is remembered is forgotten often.
pub fn small() -> Options {
    Options {
        table_entries: 5,
        replay_rows: 3,
        split_events: 4,
        topics: 1,
        ..Options::default()
    }
}

pub const THREAD_STEPS: [Step; 6] = [
    Step::Sort,
    Step::Ingest,
    Step::Register,
    Step::Ingested,
    Step::Merge,
    Step::Merged,
];

/// The store, the model, and what the stream has sent.
pub struct Trial {
    pub store: Store,
    pub model: Model,
    pub sent: Vec<Vec<Arrival>>,
    /// Damage may show itself at any later time, while this is set.
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

    /// Sends messages that follow those before.
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

    /// Sends messages once; they may be refused.
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

    /// Appends until it succeeds: what fails has changed nothing.
    pub fn append(&mut self, batch: &[Delivery]) -> Appended {
        for _ in 0..5 {
            match self.store.append(batch) {
                Ok(appended) => return appended,
                // A fault was met; a killed process does not meet it again.
                Err(StoreError::Index(_)) => self.store.options.faults.clear_all(),
                Err(err) => panic!("{err}"),
            }
        }
        panic!("the store does not recover");
    }

    /// Holds a thread at a step, once no table waits for it any more.
    pub fn hold(&self, step: Step) {
        self.store.settle();
        self.store.options.faults.hold(step);
    }

    /// Many new events, each twice: within the batch, and what was sent long ago.
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

/// Puts the database of a copy in the place of another, and leaves the index as it is.
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

/// Changes one byte, or cuts the file there.
pub fn damage(file: &Path, at: usize, is_cut: bool) {
    let mut bytes = fs::read(file).unwrap();
    if bytes.is_empty() {
        return;
    }
    let at = at % bytes.len();
    if is_cut {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 0x55;
    }
    fs::write(file, bytes).unwrap();
}
