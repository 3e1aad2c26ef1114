//! The threads that seal and merge, beside the writer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use tracing::debug;

use super::{IndexError, Shared, Step, memory::Sealing, table::Entry};

/// Unmerged tables in the tree, beyond which sealing waits for merging: each costs every lookup a little.
const MAX_UNMERGED: usize = 24;

/// Added to the niceness of these threads; with 10 they get a tenth of what a busy thread beside them gets.
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

    /// Ends them and waits for it. A seal under way is finished, a merge under way is given up.
    pub fn end(&mut self, shared: &Shared) {
        shared.memory().stop = true;
        shared.sealed.stop_merging();
        shared.changed.notify_all();
        for thread in self.0.drain(..) {
            // What it failed with is the index's failure already.
            let _ = thread.join();
        }
    }
}

/// Lets the threads that events wait for go first. Where the system has no priorities of threads, all are equal.
fn yield_to_ingest() {
    #[cfg(target_os = "linux")]
    if let Err(err) = rustix::process::nice(NICENESS) {
        debug!(error = %err, "sealing and merging run at the priority of the rest");
    }
}

/// Hands full tables to the tree, the oldest first.
fn seal(shared: &Shared) -> Result<(), IndexError> {
    while let Some(sealing) = next_full(shared) {
        shared.faults.at(Step::Sort)?;
        let mut sorted: Vec<(u128, Entry)> = sealing
            .table
            .iter()
            .map(|(identity, entry)| (*identity, *entry))
            .collect();
        sorted.sort_unstable_by_key(|(identity, _)| *identity);
        shared.faults.at(Step::Ingest)?;
        let written = shared.sealed.write(&sorted, sealing.seal)?;
        shared.faults.at(Step::Register)?;
        shared.sealed.register(&written)?;
        shared.faults.at(Step::Ingested)?;
        let unmerged = shared.sealed.unmerged();
        {
            let mut memory = shared.memory();
            memory.sealing.pop_front();
            memory.sealed = sealing.seal.reach;
            memory.unmerged = unmerged;
        }
        shared.changed.notify_all();
        debug!(
            seal.entries = sorted.len(),
            seal.reach = sealing.seal.reach,
            "sealed"
        );
    }
    Ok(())
}

/// The oldest full table, once there is one and the tree is not too far behind with merging; none at the end.
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
        shared.faults.at(Step::Merge)?;
        loop {
            let has_merged = shared.sealed.merge()?;
            shared.faults.at(Step::Merged)?;
            // The tree is asked without the lock: it may be writing its list of tables to disk.
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
