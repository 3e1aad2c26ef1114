//! The steps at which tests hold a thread or make it end, as a kill would. Outside of tests there is nothing here.

use super::IndexError;

/// A step on the way of events into the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::store) enum Step {
    /// A transaction has committed; the index does not know its events yet.
    Committed,
    /// A full table is about to be sorted.
    Sort,
    /// It is sorted; its ingestion is about to begin.
    Ingest,
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
        collections::HashMap,
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

    /// What is to happen where.
    #[derive(Debug, Clone, Default)]
    pub(in crate::store) struct Faults(Arc<(Mutex<HashMap<Step, Action>>, Condvar)>);

    impl Faults {
        pub fn at(&self, step: Step) -> Result<(), IndexError> {
            let (actions, changed) = &*self.0;
            let mut actions = actions.lock().unwrap();
            while actions.get(&step) == Some(&Action::Hold) {
                actions = changed.wait(actions).unwrap();
            }
            match actions.get(&step) {
                Some(Action::Fail) => Err(IndexError::Fault),
                _ => Ok(()),
            }
        }

        pub fn fail(&self, step: Step) {
            self.set(step, Action::Fail);
        }

        pub fn hold(&self, step: Step) {
            self.set(step, Action::Hold);
        }

        /// Takes all faults away; who is held goes on.
        pub fn clear_all(&self) {
            self.0.0.lock().unwrap().clear();
            self.0.1.notify_all();
        }

        fn set(&self, step: Step, action: Action) {
            self.0.0.lock().unwrap().insert(step, action);
        }
    }
}
