//! The steps at which tests hold a thread or make it end, as a kill would. Outside of tests there is nothing here.

use super::IndexError;

/// A step on the way of events into the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::store) enum Step {
    /// The writer is given a batch that was looked up.
    LookedUp,
    /// A transaction has committed; the index does not know its events yet.
    Committed,
    /// A full table is about to be sorted.
    Sort,
    /// It is sorted; its ingestion is about to begin.
    Ingest,
    /// Its files are written; the tree does not know of them yet.
    Register,
    /// It is in the tree, and in memory still.
    Ingested,
    /// Tables of the tree are about to be merged.
    Merge,
    /// They are merged.
    Merged,
    /// Rows are read again into the index.
    Replay,
}

#[cfg(not(test))]
pub(in crate::store) use real::Faults;
#[cfg(test)]
pub(in crate::store) use testing::Faults;

#[cfg(not(test))]
mod real {
    /// None.
    #[derive(Debug, Clone, Default)]
    pub(in crate::store) struct Faults(());

    impl Faults {
        #[expect(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "tests have faults"
        )]
        pub fn at(&self, _: super::Step) -> Result<(), super::IndexError> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod testing {
    use std::{
        collections::{HashMap, HashSet},
        sync::{Arc, Condvar, Mutex},
    };

    use super::{IndexError, Step};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        /// Ends with an error, as often as it is tried.
        Fail,
        /// Waits until it is let go.
        Hold,
    }

    #[derive(Debug, Default)]
    struct State {
        actions: HashMap<Step, Action>,
        /// Steps at which somebody was held or ended.
        met: HashSet<Step>,
    }

    /// What is to happen where.
    #[derive(Debug, Clone, Default)]
    pub(in crate::store) struct Faults(Arc<(Mutex<State>, Condvar)>);

    impl Faults {
        pub fn at(&self, step: Step) -> Result<(), IndexError> {
            let (state, changed) = &*self.0;
            let mut state = state.lock().unwrap();
            if state.actions.contains_key(&step) {
                state.met.insert(step);
                changed.notify_all();
            }
            while state.actions.get(&step) == Some(&Action::Hold) {
                state = changed.wait(state).unwrap();
            }
            match state.actions.get(&step) {
                Some(Action::Fail) => Err(IndexError::Fault),
                _ => Ok(()),
            }
        }

        pub fn fail(&self, step: Step) {
            self.0.0.lock().unwrap().actions.insert(step, Action::Fail);
        }

        pub fn hold(&self, step: Step) {
            self.0.0.lock().unwrap().actions.insert(step, Action::Hold);
        }

        /// Waits until somebody has met the fault at this step.
        pub fn wait_until_met(&self, step: Step) {
            let (state, changed) = &*self.0;
            let mut state = state.lock().unwrap();
            while !state.met.contains(&step) {
                state = changed.wait(state).unwrap();
            }
        }

        /// Takes the fault at this step away; who is held goes on.
        pub fn clear(&self, step: Step) {
            self.0.0.lock().unwrap().actions.remove(&step);
            self.0.1.notify_all();
        }

        /// Takes all faults away.
        pub fn clear_all(&self) {
            *self.0.0.lock().unwrap() = State::default();
            self.0.1.notify_all();
        }
    }
}
