//! Property tests of the dedup index against the model, with any actions in any order.

use proptest::{prelude::*, sample::Index as Pick};

use super::{
    harness::{Arrival, Failure, break_writes, delivery, repair_writes},
    model::{Model, totals},
    trial::{THREAD_STEPS, Trial, copy, damage, files, restore},
};
use crate::store::sqlite::{
    INDEX_FOLDER,
    dedup::index::{FaultPoint, discard},
};

#[derive(Debug, Clone)]
enum Act {
    Send(Vec<Vec<Arrival>>),
    Redeliver(Pick),
    FailWrite(Failure, Vec<Vec<Arrival>>),
    FailAfterCommit(Vec<Vec<Arrival>>),
    HoldAt(FaultPoint, Vec<Vec<Arrival>>),
    KillAt(FaultPoint, Vec<Vec<Arrival>>),
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

/// A copy of a store's files and the state of the model at that time.
struct Copy {
    folder: tempfile::TempDir,
    model: Model,
    sent: usize,
}

impl Trial {
    fn redeliver(&mut self, pick: Pick) {
        if self.sent.is_empty() {
            return;
        }
        let from = pick.index(self.sent.len());
        let again: Vec<_> = self.sent.iter().enumerate().skip(from).take(4).collect();
        let mut batch = Vec::new();
        for (index, message) in again {
            batch.push(delivery(index as u64 + 1, message));
            self.model.append(index as u64 + 1, message);
        }
        self.append(&batch);
    }

    fn fail_write(&mut self, failure: Failure, messages: Vec<Vec<Arrival>>) {
        let before = totals(&self.store);
        let next = self.sent.len() as u64 + 1;
        let batch: Vec<_> = (next..)
            .zip(&messages)
            .map(|(n, m)| delivery(n, m))
            .collect();
        break_writes(&self.store.raw_connection(), failure);
        assert!(self.store.append(&batch).is_err());
        assert_eq!(totals(&self.store), before);
        repair_writes(&self.store.raw_connection());
        self.send(messages);
    }

    fn fail_after_commit(&mut self, messages: Vec<Vec<Arrival>>) {
        let next = self.sent.len() as u64 + 1;
        let batch: Vec<_> = (next..)
            .zip(&messages)
            .map(|(n, m)| delivery(n, m))
            .collect();
        let before = totals(&self.store);
        self.store.options.faults.fail(FaultPoint::Committed);
        assert!(self.store.append(&batch).is_err());
        self.store.options.faults.clear_all();
        // Damage may have failed the batch before its COMMIT.
        if totals(&self.store) != before {
            for (sequence, message) in (next..).zip(&messages) {
                self.model.append(sequence, message);
            }
            self.sent.extend(messages);
        }
    }

    fn act(&mut self, act: Act, backup: &mut Option<Copy>) {
        match act {
            Act::Send(messages) => self.send(messages),
            Act::Redeliver(pick) => self.redeliver(pick),
            Act::FailWrite(failure, messages) => self.fail_write(failure, messages),
            Act::FailAfterCommit(messages) => self.fail_after_commit(messages),
            // Closing an index because of its damage would wait for the thread that is held.
            Act::HoldAt(_, messages) if self.is_damaged => self.send(messages),
            Act::HoldAt(step, messages) => {
                self.hold(step);
                self.send(messages.clone());
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
            Act::RestartDamaged(file, at, is_truncated) => {
                self.store.close();
                // Earlier damage may have made the aggregator discard the index.
                if self.index().exists() {
                    self.is_damaged = true;
                    let files = files(&self.index());
                    damage(&files[file.index(files.len())], at, is_truncated);
                }
                self.store.reopen();
            }
            // The index reads a table back right after writing it and trusts its table of contents: a damaged length
            // would be allocated. Damage done while no file is written does not reach that code.
            Act::DamageRunning(..) if self.is_damaged => {}
            Act::DamageRunning(file, at, is_truncated) => {
                self.store.idle();
                let files = files(&self.index());
                let file = &files[file.index(files.len())];
                // A merge may have just deleted it.
                if file.exists() {
                    self.is_damaged = true;
                    damage(file, at, is_truncated);
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
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_index_is_exact_after_any_steps(acts in prop::collection::vec(act(), 1..25)) {
        let mut trial = Trial::new();
        let mut backup = None;
        for act in acts {
            trial.act(act, &mut backup);
            trial.check();
        }
        let all = trial.model.stored.clone();
        for (topic, id) in all.keys() {
            let found = trial.store.reader().event(format!("t{topic}"), id.to_string());
            // Damage to a file of the running store may be detected here first.
            if let Ok(found) = trial.store.runtime.block_on(found) {
                prop_assert!(found.is_some());
            }
        }
    }
}
