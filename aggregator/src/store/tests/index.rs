//! The dedup index at every boundary: duplicates within a batch and across seals, while a table is sealed and merged,
//! across restarts and kills at each step, with files that are missing, damaged, older or newer than the store.

use std::{collections::BTreeMap, fs, path::Path};

use proptest::{prelude::*, sample::Index as Pick};
use shared::event::Event;

use super::{
    harness::{Arrival, Failure, Store, break_writes, delivery, event, json, mend_writes},
    model::{Model, check, totals},
};
use crate::store::{
    Delivery, FILE, INDEX_FOLDER, StoreError,
    fingerprint::{Fields, Key},
    index::{Entry, Index, NOT_ASKED, Seal, Step, discard, recover},
};

/// Small, so that a few events fill a table and some dozens are merged.
const TABLE: usize = 5;

const THREAD_STEPS: [Step; 5] = [
    Step::Sort,
    Step::Ingest,
    Step::Ingested,
    Step::Merge,
    Step::Merged,
];

/// The store, the model, and what the stream has sent.
struct Trial {
    store: Store,
    model: Model,
    sent: Vec<Vec<Arrival>>,
    /// Damage may show itself at any later time, while this is set.
    is_damaged: bool,
}

impl Trial {
    fn new() -> Self {
        let store = Store::with_tables_of(TABLE);
        store.meet(1, 1, 0);
        Self {
            store,
            model: Model::default(),
            sent: Vec::new(),
            is_damaged: false,
        }
    }

    /// Sends messages that follow those before.
    fn send(&mut self, messages: Vec<Vec<Arrival>>) {
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

    /// Appends until it succeeds: what fails has changed nothing.
    fn append(&mut self, batch: &[Delivery]) {
        for _ in 0..5 {
            match self.store.append(batch) {
                Ok(_) => return,
                // A fault was met; a killed process does not meet it again.
                Err(StoreError::Index(_)) => self.store.options.faults.clear_all(),
                Err(err) => panic!("{err}"),
            }
        }
        panic!("the store does not recover");
    }

    /// Holds a thread at a step, once no table waits for it any more.
    fn hold(&self, step: Step) {
        self.store.settle();
        self.store.options.faults.hold(step);
    }

    /// Many new events, each twice: within the batch, and what was sent long ago.
    fn fill(&mut self, ids: std::ops::Range<u8>) {
        for id in ids {
            self.send(vec![event(id), event(id), event(id / 2)]);
        }
    }

    fn check(&self) {
        check(&self.store, &self.model);
    }

    fn index(&self) -> std::path::PathBuf {
        self.store.path().join(INDEX_FOLDER)
    }
}

fn copy(from: &Path, to: &Path) {
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
fn restore(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let name = format!("{FILE}{end}");
        let _ = fs::remove_file(to.join(&name));
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// All files below a folder, in a stable order.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
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
fn damage(file: &Path, at: usize, is_cut: bool) {
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

#[test]
fn duplicates_are_found_while_a_table_is_sealed_and_merged() {
    for step in THREAD_STEPS {
        let mut trial = Trial::new();
        trial.fill(0..40);
        trial.hold(step);
        // Full tables wait behind the one that is held, fewer than the writer would wait for.
        trial.fill(40..48);
        trial.check();
        trial.store.options.faults.clear_all();
        trial.fill(50..90);
        trial.check();
    }
}

#[test]
fn a_kill_at_any_step_of_sealing_or_merging_loses_nothing() {
    for step in THREAD_STEPS {
        let mut trial = Trial::new();
        trial.fill(0..40);
        // The thread ends at the step, and leaves the files as a killed process would.
        trial.store.options.faults.fail(step);
        trial.fill(40..43);
        trial.store.close();
        trial.store.options.faults.clear_all();
        trial.store.reopen();
        trial.fill(30..60);
        trial.check();
    }
}

#[test]
fn a_thread_that_fails_is_replaced_with_its_index() {
    for step in THREAD_STEPS {
        let mut trial = Trial::new();
        trial.fill(0..40);
        trial.store.options.faults.fail(step);
        let mut sequence = trial.sent.len() as u64 + 1;
        let is_refused = (100..200).any(|id| {
            let refused = trial
                .store
                .append(&[delivery(sequence, &event(id))])
                .is_err();
            if !refused {
                trial.model.append(sequence, &event(id));
                trial.sent.push(event(id));
                sequence += 1;
            }
            refused
        });
        assert!(is_refused, "{step:?} was never reached");
        trial.store.options.faults.clear_all();
        trial.fill(30..60);
        trial.check();
    }
}

#[test]
fn what_has_committed_is_known_though_memory_was_not_told() {
    let mut trial = Trial::new();
    trial.fill(0..12);
    trial.store.options.faults.fail(Step::Committed);
    let sequence = trial.sent.len() as u64 + 1;
    let batch = [delivery(sequence, &event(100))];
    assert!(trial.store.append(&batch).is_err());
    trial.store.options.faults.clear_all();
    trial.model.append(sequence, &event(100));
    trial.sent.push(event(100));
    let again = trial.store.append(&batch).unwrap();
    assert_eq!((again.redelivered, again.unique), (1, 0));
    trial.model.append(sequence, &event(100));
    trial.fill(5..20);
    trial.check();
}

#[test]
fn a_kill_while_the_index_is_made_anew_costs_only_time() {
    let mut trial = Trial::new();
    trial.fill(0..40);
    trial.store.close();
    discard(&trial.index()).unwrap();
    for step in [Step::Replay, Step::Ingest, Step::Ingested] {
        trial.store.options.faults.fail(step);
        // It may be complete before the thread meets the fault.
        let _ = trial.store.try_reopen();
        trial.store.close();
        trial.store.options.faults.clear_all();
    }
    trial.store.reopen();
    trial.fill(30..60);
    trial.check();
}

#[test]
fn an_index_that_knows_more_than_its_store_is_discarded() {
    let mut trial = Trial::new();
    trial.fill(0..20);
    trial.store.close();
    let backup = tempfile::tempdir().unwrap();
    copy(trial.store.path(), backup.path());
    trial.store.reopen();
    // Events that the restored store has lost: its index must not take them for duplicates.
    let batch: Vec<_> = (61..90)
        .map(|n| delivery(n, &event(u8::try_from(n).unwrap())))
        .collect();
    assert_eq!(trial.store.append(&batch).unwrap().unique, 29);
    trial.store.close();
    restore(backup.path(), trial.store.path());
    trial.store.reopen();
    trial.check();
    assert_eq!(trial.store.append(&batch).unwrap().unique, 29);
}

#[test]
fn an_index_of_another_store_and_an_older_one_are_no_danger() {
    let mut other = Trial::new();
    other.fill(50..90);
    other.store.close();
    let mut trial = Trial::new();
    trial.fill(0..20);
    trial.store.close();
    let older = tempfile::tempdir().unwrap();
    copy(&trial.index(), older.path());
    trial.store.reopen();
    trial.fill(20..40);
    for index in [older.path().to_owned(), other.index()] {
        trial.store.close();
        discard(&trial.index()).unwrap();
        copy(&index, &trial.index());
        trial.store.reopen();
        trial.check();
        trial.fill(30..60);
        trial.check();
    }
}

#[test]
fn every_file_of_the_index_may_be_damaged_or_missing() {
    let mut trial = Trial::new();
    trial.fill(0..60);
    trial.store.close();
    let sound = tempfile::tempdir().unwrap();
    copy(&trial.index(), sound.path());
    let count = files(sound.path()).len();
    assert!(count > 2, "there are tables");
    for file in 0..count {
        for how in 0..4 {
            trial.store.close();
            discard(&trial.index()).unwrap();
            copy(sound.path(), &trial.index());
            let file = &files(&trial.index())[file];
            let bytes = usize::try_from(fs::metadata(file).unwrap().len()).unwrap();
            match how {
                0 => fs::remove_file(file).unwrap(),
                1 => damage(file, bytes / 2, true),
                2 => damage(file, bytes / 2, false),
                _ => damage(file, bytes.saturating_sub(20), false),
            }
            trial.store.reopen();
            trial.fill(0..60);
            trial.check();
        }
    }
}

#[test]
fn another_identity_with_the_same_fingerprint_is_rejected_and_kept() {
    let (first, second) = (event(1), event(2));
    let parse = |arrivals: &[Arrival]| Event::parse(&json(&arrivals[0]).into()).unwrap();
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store.append(&[delivery(1, &first)]).unwrap();
    let key = store
        .aside()
        .query_row("SELECT hash_key FROM store", [], |row| row.get(0));
    let print = Key(key.unwrap()).print(&Fields::from(&parse(&second)));
    // As if the second event's fingerprint were that of the first, which is stored.
    let entry = Entry {
        sequence: 1,
        content: print.content ^ 1,
    };
    store.with_index(|index| index.enter([(print.identity, entry)], 1, None));
    let appended = store.append(&[delivery(2, &second)]).unwrap();
    assert_eq!((appended.unique, appended.rejected), (0, 1));
    let (reason, body): (String, Vec<u8>) = store
        .aside()
        .query_row("SELECT reason, body FROM rejected", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(reason, "fingerprint_collision");
    assert_eq!(Event::parse(&body.into()).unwrap(), parse(&second));
    // It is applied, so it is a redelivery when it comes again.
    assert_eq!(
        store.append(&[delivery(2, &second)]).unwrap().redelivered,
        1
    );
}

#[test]
fn an_event_is_found_by_its_identity_wherever_the_index_has_it() {
    let mut trial = Trial::new();
    trial.fill(0..43);
    let find = |id: &str| {
        let found = trial.store.reader().event("t0".to_owned(), id.to_owned());
        trial.store.runtime.block_on(found).unwrap()
    };
    for id in 0..43 {
        assert_eq!(find(&id.to_string()).unwrap().event_id, id.to_string());
    }
    assert_eq!(find("43"), None);
}

#[test]
fn an_answer_of_the_tree_that_is_too_old_is_asked_for_again() {
    let store = Store::with_tables_of(1);
    let connection = store.aside();
    let folder = tempfile::tempdir().unwrap();
    let (key, options) = (Key([0; 16]), &store.options);
    let index: Index = recover(None, folder.path(), &connection, &key, 0, options).unwrap();
    let entry = |sequence| Entry {
        sequence,
        content: 7,
    };
    assert_eq!(index.find_sealed(11).unwrap(), None);
    let reach = index.sealed_reach();
    index.enter([(11, entry(1))], 1, Some(Seal::new(1)));
    index.enter([(12, entry(2))], 2, Some(Seal::new(2)));
    // Wherever the entry is by now, in memory or in the tree, it is found.
    while index.sealed_reach() < 2 {
        assert_eq!(index.find_again(11, None, reach).unwrap(), Some(entry(1)));
    }
    assert_eq!(index.find_again(11, None, reach).unwrap(), Some(entry(1)));
    assert_eq!(
        index.find_again(12, None, NOT_ASKED).unwrap(),
        Some(entry(2))
    );
    assert_eq!(
        index.find_again(13, None, index.sealed_reach()).unwrap(),
        None
    );
}

#[derive(Debug, Clone)]
enum Act {
    Send(Vec<Vec<Arrival>>),
    Redeliver(Pick),
    FailWrite(Failure, Vec<Vec<Arrival>>),
    FailAfterCommit(Vec<Vec<Arrival>>),
    HoldAt(Step, Vec<Vec<Arrival>>),
    KillAt(Step, Vec<Vec<Arrival>>),
    Restart,
    RestartWithoutIndex,
    RestartDamaged(Pick, usize, bool),
    DamageRunning(Pick, usize, bool),
    Backup,
    RestoreStore,
    RestoreIndex,
}

fn messages(most: usize) -> impl Strategy<Value = Vec<Vec<Arrival>>> {
    let event = (0u8..2, 0u8..40, 0u8..12).prop_map(|(topic, id, content)| Arrival::Event {
        topic,
        id,
        content: content / 11,
    });
    let arrival = prop_oneof![19 => event, 1 => Just(Arrival::Noise)];
    prop::collection::vec(prop::collection::vec(arrival, 1..6), 1..=most)
}

fn act() -> impl Strategy<Value = Act> {
    let step = || prop::sample::select(&THREAD_STEPS[..]);
    let failure = prop_oneof![Just(Failure::Middle), Just(Failure::Commit)];
    let damage = || (any::<Pick>(), any::<usize>(), any::<bool>());
    prop_oneof![
        12 => messages(5).prop_map(Act::Send),
        2 => any::<Pick>().prop_map(Act::Redeliver),
        2 => (failure, messages(2)).prop_map(|(failure, messages)| Act::FailWrite(failure, messages)),
        2 => messages(2).prop_map(Act::FailAfterCommit),
        3 => (step(), messages(3)).prop_map(|(step, messages)| Act::HoldAt(step, messages)),
        3 => (step(), messages(3)).prop_map(|(step, messages)| Act::KillAt(step, messages)),
        2 => Just(Act::Restart),
        1 => Just(Act::RestartWithoutIndex),
        1 => damage().prop_map(|(file, at, cut)| Act::RestartDamaged(file, at, cut)),
        1 => damage().prop_map(|(file, at, cut)| Act::DamageRunning(file, at, cut)),
        1 => Just(Act::Backup),
        1 => Just(Act::RestoreStore),
        1 => Just(Act::RestoreIndex),
    ]
}

/// A copy of a store's files, and what the model was then.
struct Copy {
    folder: tempfile::TempDir,
    model: Model,
    sent: usize,
}

impl Trial {
    fn act(&mut self, act: Act, backup: &mut Option<Copy>) {
        match act {
            Act::Send(messages) => self.send(messages),
            Act::Redeliver(pick) if !self.sent.is_empty() => {
                let from = pick.index(self.sent.len());
                let again: Vec<_> = self.sent.iter().enumerate().skip(from).take(4).collect();
                let mut batch = Vec::new();
                for (index, message) in again {
                    batch.push(delivery(index as u64 + 1, message));
                    self.model.append(index as u64 + 1, message);
                }
                self.append(&batch);
            }
            Act::FailWrite(failure, messages) => {
                let before = totals(&self.store);
                let next = self.sent.len() as u64 + 1;
                let batch: Vec<_> = (next..)
                    .zip(&messages)
                    .map(|(n, m)| delivery(n, m))
                    .collect();
                break_writes(&self.store.aside(), failure);
                assert!(self.store.append(&batch).is_err());
                assert_eq!(totals(&self.store), before);
                mend_writes(&self.store.aside());
                self.send(messages);
            }
            Act::FailAfterCommit(messages) => {
                let next = self.sent.len() as u64 + 1;
                let batch: Vec<_> = (next..)
                    .zip(&messages)
                    .map(|(n, m)| delivery(n, m))
                    .collect();
                let before = totals(&self.store);
                self.store.options.faults.fail(Step::Committed);
                assert!(self.store.append(&batch).is_err());
                self.store.options.faults.clear_all();
                // Damage may have ended it before it could commit.
                if totals(&self.store) != before {
                    for (sequence, message) in (next..).zip(&messages) {
                        self.model.append(sequence, message);
                    }
                    self.sent.extend(messages);
                }
            }
            // An index that is closed for its damage would wait for who is held.
            Act::HoldAt(_, messages) if self.is_damaged => self.send(messages),
            Act::HoldAt(step, messages) => {
                self.hold(step);
                self.send(messages);
                self.check();
                self.store.options.faults.clear_all();
            }
            Act::KillAt(step, messages) => {
                self.store.options.faults.fail(step);
                self.send(messages);
                self.store.close();
                self.store.options.faults.clear_all();
                self.store.reopen();
            }
            Act::Restart => self.store.reopen(),
            Act::RestartWithoutIndex => {
                self.store.close();
                discard(&self.index()).unwrap();
                self.store.reopen();
            }
            Act::RestartDamaged(file, at, is_cut) => {
                self.store.close();
                self.is_damaged = true;
                let files = files(&self.index());
                damage(&files[file.index(files.len())], at, is_cut);
                self.store.reopen();
            }
            Act::DamageRunning(file, at, is_cut) => {
                let files = files(&self.index());
                let file = &files[file.index(files.len())];
                // It may have been merged away in this moment.
                if file.exists() {
                    self.is_damaged = true;
                    damage(file, at, is_cut);
                }
            }
            Act::Backup => {
                self.store.close();
                let folder = tempfile::tempdir().unwrap();
                copy(self.store.path(), folder.path());
                *backup = Some(Copy {
                    folder,
                    model: self.model.clone(),
                    sent: self.sent.len(),
                });
                self.store.reopen();
            }
            Act::RestoreStore => {
                if let Some(copy) = backup {
                    self.store.close();
                    restore(copy.folder.path(), self.store.path());
                    self.model = copy.model.clone();
                    self.sent.truncate(copy.sent);
                    self.store.reopen();
                }
            }
            Act::RestoreIndex => {
                if let Some(backup) = backup {
                    self.store.close();
                    discard(&self.index()).unwrap();
                    copy(&backup.folder.path().join(INDEX_FOLDER), &self.index());
                    self.store.reopen();
                }
            }
            Act::Redeliver(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_index_is_exact_whatever_happens(acts in prop::collection::vec(act(), 1..25)) {
        let mut trial = Trial::new();
        let mut backup = None;
        for act in acts {
            trial.act(act, &mut backup);
            trial.check();
        }
        let all: BTreeMap<_, _> = trial.model.stored.clone();
        for (topic, id) in all.keys() {
            let found = trial.store.reader().event(format!("t{topic}"), id.to_string());
            // A file that was damaged under the running store may show itself here first.
            if let Ok(found) = trial.store.runtime.block_on(found) {
                prop_assert!(found.is_some());
            }
        }
    }
}
