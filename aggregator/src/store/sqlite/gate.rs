//! The gate that reads pass: the writer closes it for a moment to reset the WAL, which no read may be in the middle of.
//!
//! SQLite starts the WAL again from its beginning only when nobody reads from it. Reads that overlap leave no such moment
//! by themselves, and the WAL would grow for as long as they come.

use std::{
    cell::Cell,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a read goes on before it ends with what it has, or is continued as another one.
pub const READ_TIME: Duration = Duration::from_millis(150);

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
    /// Read for each row, without the lock.
    is_closing: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Reads under way.
    inside: usize,
    #[cfg(test)]
    entered: u64,
    is_closed: bool,
}

/// A read under way.
#[derive(Debug)]
pub(in crate::store) struct Inside {
    gate: Gate,
    begun: Instant,
    has_row: Cell<bool>,
}

/// While this lives no read is under way.
#[derive(Debug)]
pub(in crate::store) struct Closed<'a>(&'a Gate);

impl Gate {
    /// Waits while the gate is closed, which blocks the thread.
    pub fn enter(&self) -> Inside {
        let mut state = self.state();
        while state.is_closed {
            let waited = self.0.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.inside += 1;
        #[cfg(test)]
        {
            state.entered += 1;
        }
        Inside {
            gate: self.clone(),
            begun: Instant::now(),
            has_row: Cell::new(false),
        }
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Relaxed)
    }

    /// As if it were about to be closed, from now on, though all are let in: each read gets one row.
    #[cfg(test)]
    pub fn hurry(&self) {
        self.0.is_closing.store(true, Ordering::Relaxed);
    }

    /// How many reads there were.
    #[cfg(test)]
    pub fn entered(&self) -> u64 {
        self.state().entered
    }

    /// Lets no further read in and waits for those under way; none where one of them lasts longer than `patience`.
    pub fn close(&self, patience: Duration) -> Option<Closed<'_>> {
        let mut state = self.state();
        state.is_closed = true;
        self.0.is_closing.store(true, Ordering::Relaxed);
        // Opens it again, also where it comes to nothing.
        let closed = Closed(self);
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, patience, |state| state.inside > 0);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_empty = state.inside == 0;
        drop(state);
        is_empty.then_some(closed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// To be asked before each row: whether it may still be read. The first one always may, so that there is progress.
    pub fn has_time(&self) -> bool {
        !self.has_row.replace(true) || !self.gate.is_closing() && self.begun.elapsed() < READ_TIME
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.gate.state().inside -= 1;
        self.gate.0.changed.notify_all();
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.state().is_closed = false;
        self.0.0.is_closing.store(false, Ordering::Relaxed);
        self.0.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn who_comes_while_it_is_closed_waits_and_then_enters() {
        let gate = Gate::default();
        drop(gate.enter());
        let closed = gate.close(Duration::ZERO).unwrap();
        assert!(gate.is_closing());
        let (sender, entered) = mpsc::channel();
        let late = gate.clone();
        let reader = thread::spawn(move || {
            let _inside = late.enter();
            sender.send(()).unwrap();
        });
        assert_eq!(entered.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(closed);
        entered.recv().unwrap();
        reader.join().unwrap();
        assert!(!gate.is_closing());
    }

    #[test]
    fn it_opens_again_where_a_read_does_not_end_in_time() {
        let gate = Gate::default();
        let long = gate.enter();
        assert!(gate.close(Duration::from_millis(1)).is_none());
        drop(gate.enter());
        drop(long);
        assert!(gate.close(Duration::ZERO).is_some());
    }
}
