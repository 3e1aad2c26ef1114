//! The threads that seal and merge in the background.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use tracing::debug;

use super::{FaultPoint, IndexError, Shared, memory::Sealing, table::sorted};

/// Unmerged tables in the tree beyond which sealing waits for merging: each slows every lookup a little.
const MAX_UNMERGED: usize = 24;

/// Added to the niceness of these threads; with 10 they receive a tenth of the time of a busy thread on the same processor.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// The running threads.
pub(super) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    pub fn start(shared: &Arc<Shared>) -> Result<Self, IndexError> {
        let mut threads = Self(Vec::new());
        for (name, work) in [
            ("store-sealer", seal as fn(&Shared) -> _),
            ("store-merger", merge),
        ] {
            let own = Arc::clone(shared);
            let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
                yield_to_ingest();
                let ended = catch_unwind(AssertUnwindSafe(|| work(&own)));
                if let Err(err) = ended.unwrap_or(Err(IndexError::Panicked)) {
                    own.memory().failure.get_or_insert(err);
                    own.changed.notify_all();
                }
            });
            match started {
                Ok(thread) => threads.0.push(thread),
                Err(err) => {
                    threads.end(shared);
                    return Err(err.into());
                }
            }
        }
        Ok(threads)
    }

    /// Ends the threads and waits for them. A running seal is finished, a running merge is abandoned.
    pub fn end(&mut self, shared: &Shared) {
        shared.memory().stop = true;
        shared.sealed.stop_merging();
        shared.changed.notify_all();
        for thread in self.0.drain(..) {
            // Its error is already the index's failure.
            let _ = thread.join();
        }
    }
}

/// Lowers this thread's priority below those that events wait for, if the system has thread priorities.
fn yield_to_ingest() {
    #[cfg(target_os = "linux")]
    if let Err(err) = rustix::process::nice(NICENESS) {
        debug!(error = %err, "sealing and merging run at normal priority");
    }
}

/// Hands full tables to the tree, the oldest first.
fn seal(shared: &Shared) -> Result<(), IndexError> {
    while let Some(sealing) = next_full(shared) {
        shared.faults.at(FaultPoint::Sort)?;
        shared.faults.at(FaultPoint::Ingest)?;
        let written = shared.sealed.write(sorted(&sealing.table), sealing.seal)?;
        shared.faults.at(FaultPoint::Register)?;
        shared.sealed.register(&written)?;
        shared.faults.at(FaultPoint::Ingested)?;
        let unmerged = shared.sealed.unmerged();
        {
            let mut memory = shared.memory();
            memory.sealing.pop_front();
            memory.sealed = sealing.seal.reach;
            memory.unmerged = unmerged;
        }
        shared.changed.notify_all();
        debug!(
            seal.entries = sealing.table.len(),
            seal.reach = sealing.seal.reach,
            "sealed"
        );
    }
    Ok(())
}

/// Waits for the oldest full table, until merging is not too far behind; `None` at the end.
fn next_full(shared: &Shared) -> Option<Arc<Sealing>> {
    let mut memory = shared.memory();
    loop {
        if memory.stop || memory.failure.is_some() {
            return None;
        }
        if let Some(oldest) = memory.sealing.front()
            && memory.unmerged < MAX_UNMERGED
        {
            return Some(Arc::clone(oldest));
        }
        memory = shared.wait(memory);
    }
}

/// Merges whenever the tree has grown.
fn merge(shared: &Shared) -> Result<(), IndexError> {
    loop {
        let reach = {
            let mut memory = shared.memory();
            loop {
                if memory.stop || memory.failure.is_some() {
                    return Ok(());
                }
                if memory.merged != Some(memory.sealed) {
                    break memory.sealed;
                }
                memory = shared.wait(memory);
            }
        };
        shared.faults.at(FaultPoint::Merge)?;
        loop {
            let has_merged = shared.sealed.merge()?;
            shared.faults.at(FaultPoint::Merged)?;
            // Without the lock on the memory: the tree may be writing its list of tables to disk.
            let unmerged = shared.sealed.unmerged();
            shared.memory().unmerged = unmerged;
            // Sealing may wait for it.
            shared.changed.notify_all();
            if !has_merged {
                break;
            }
        }
        shared.memory().merged = Some(reach);
    }
}
