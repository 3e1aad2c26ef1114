//! The gate that every read passes: the writer closes it for a moment to reset the WAL, which is possible only while no read
//! is running.
//!
//! SQLite restarts the WAL from its beginning only while no connection reads from it. Overlapping reads leave no such
//! moment, and the WAL would grow for as long as they continue.

use std::{
    cell::Cell,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a read may last before it returns what it has, or continues as another read. In tests it is longer than any read
/// takes, so that the pages that they expect do not depend on the machine.
const READ_TIME: Duration = Duration::from_millis(if cfg!(test) { 60_000 } else { 150 });

/// The gate. Cheap to clone; clones share one state.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<GateState>,
    changed: Condvar,
    /// Read for each row, without the lock.
    is_closing: AtomicBool,
}

#[derive(Debug, Default)]
struct GateState {
    /// Running reads.
    inside: usize,
    #[cfg(test)]
    entered: u64,
    is_closed: bool,
}

/// A running read.
#[derive(Debug)]
pub(in crate::store) struct Inside {
    gate: Gate,
    start: Instant,
    has_row: Cell<bool>,
}

/// The closed gate: until this is dropped, no read is running.
#[derive(Debug)]
pub(in crate::store) struct Closed<'a>(&'a Gate);

impl Gate {
    /// Enters, blocking the thread while the gate is closed.
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
            start: Instant::now(),
            has_row: Cell::new(false),
        }
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Relaxed)
    }

    /// Behaves from now on as if the gate were about to close, but lets all reads in: each gets one row.
    #[cfg(test)]
    pub fn hurry(&self) {
        self.0.is_closing.store(true, Ordering::Relaxed);
    }

    /// The number of reads so far.
    #[cfg(test)]
    pub fn entered(&self) -> u64 {
        self.state().entered
    }

    /// Lets no further read in and waits for the running ones; `None` if one of them lasts longer than `patience`.
    pub fn close(&self, patience: Duration) -> Option<Closed<'_>> {
        let mut state = self.state();
        state.is_closed = true;
        self.0.is_closing.store(true, Ordering::Relaxed);
        // Dropping it opens the gate again, also if a read does not end.
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

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Whether the next row may still be read; called before each row. The first row may always be read, so that there is progress.
    pub fn has_time(&self) -> bool {
        !self.has_row.replace(true) || !self.gate.is_closing() && self.start.elapsed() < READ_TIME
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
    fn a_read_waits_while_the_gate_is_closed_and_then_enters() {
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
    fn the_gate_opens_again_if_a_read_does_not_end_in_time() {
        let gate = Gate::default();
        let long = gate.enter();
        assert!(gate.close(Duration::from_millis(1)).is_none());
        drop(gate.enter());
        drop(long);
        assert!(gate.close(Duration::ZERO).is_some());
    }
}
