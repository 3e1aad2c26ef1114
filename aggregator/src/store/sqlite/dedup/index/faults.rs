//! The steps at which tests hold a thread or make it fail, as a kill would. Outside tests, faults do nothing.

use super::IndexError;

/// A step of entering events into the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::store) enum FaultPoint {
    /// The writer has received a batch that was looked up.
    LookedUp,
    /// A transaction has committed; the index does not have its events yet.
    Committed,
    /// A full table is about to be sorted.
    Sort,
    /// The table is sorted, and is about to be added to the tree.
    Ingest,
    /// Its files are written; the tree does not include them yet.
    Register,
    /// It is in the tree, and still in memory.
    Ingested,
    /// Tables of the tree are about to be merged.
    Merge,
    /// The tables are merged.
    Merged,
    /// Rows are being read into the index again.
    Replay,
}

#[cfg(not(test))]
pub(in crate::store) use real::Faults;
#[cfg(test)]
pub(in crate::store) use testing::Faults;

#[cfg(not(test))]
mod real {
    /// No faults.
    #[derive(Debug, Clone, Default)]
    pub(in crate::store) struct Faults(());

    impl Faults {
        #[expect(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "tests have faults"
        )]
        pub fn at(&self, _: super::FaultPoint) -> Result<(), super::IndexError> {
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

    use super::{FaultPoint, IndexError};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        /// Fails, each time it is reached.
        Fail,
        /// Waits until the fault is cleared.
        Hold,
    }

    #[derive(Debug, Default)]
    struct FaultState {
        actions: HashMap<FaultPoint, Action>,
        /// Steps at which a thread was held or failed.
        met: HashSet<FaultPoint>,
    }

    /// The injected faults.
    #[derive(Debug, Clone, Default)]
    pub(in crate::store) struct Faults(Arc<(Mutex<FaultState>, Condvar)>);

    impl Faults {
        pub fn at(&self, step: FaultPoint) -> Result<(), IndexError> {
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

        pub fn fail(&self, step: FaultPoint) {
            self.0.0.lock().unwrap().actions.insert(step, Action::Fail);
        }

        pub fn hold(&self, step: FaultPoint) {
            self.0.0.lock().unwrap().actions.insert(step, Action::Hold);
        }

        /// Waits until a thread has reached the fault at this step.
        pub fn wait_until_met(&self, step: FaultPoint) {
            let (state, changed) = &*self.0;
            let mut state = state.lock().unwrap();
            while !state.met.contains(&step) {
                state = changed.wait(state).unwrap();
            }
        }

        /// Clears the fault at this step; a thread that is held continues.
        pub fn clear(&self, step: FaultPoint) {
            self.0.0.lock().unwrap().actions.remove(&step);
            self.0.1.notify_all();
        }

        /// Clears all faults.
        pub fn clear_all(&self) {
            *self.0.0.lock().unwrap() = FaultState::default();
            self.0.1.notify_all();
        }
    }
}
