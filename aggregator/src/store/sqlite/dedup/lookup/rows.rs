//! The rows of conflicts, read by the lookup stage: each is at a random place in the file, which takes long
//! if the store is larger than memory.
//!
//! What is read here stays valid: a committed row never changes, and the index has an event only after its commit. Rows that
//! cannot be read here are read by the writer.

use std::{path::PathBuf, thread};

use rusqlite::{Connection, OptionalExtension};
use shared::event::{Content, Event};
use tracing::debug;

use super::LookupEvent;
use crate::store::{
    StoreError,
    sqlite::{
        file::{connection::connect_again, files::Files},
        gate::Gate,
    },
};

/// Connections that read concurrently. They wait for the disk, not for a processor.
const CONNECTIONS: usize = 8;

/// Rows for which another connection and its thread are worthwhile.
const EACH: usize = 64;

/// Rows per read transaction, so that none holds the WAL for long.
const ROWS: usize = 64;

/// The comparison of a stored event with one that has its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Compared {
    pub sequence: i64,
    pub topic_id: i64,
    pub is_event_id: bool,
    /// Their contents are equal, though perhaps not byte for byte; a timestamp that was filled in on arrival is not compared.
    pub is_same: bool,
}

impl Compared {
    /// Reads and compares the event of this sequence; `None` if it has no row.
    pub fn read(
        connection: &Connection,
        sequence: i64,
        event: &Event,
    ) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT topic_id, event_id, source, payload, timestamp, timestamp_filled FROM events WHERE sequence = ?1",
            )?
            .query_row([sequence], |row| {
                let is_filled: bool = row.get(5)?;
                let timestamp = row.get_ref(4)?.as_bytes()?;
                let stored = Content {
                    timestamp: (!is_filled).then_some(timestamp),
                    source: row.get_ref(2)?.as_bytes()?,
                    payload: row.get_ref(3)?.as_bytes()?,
                };
                Ok(Self {
                    sequence,
                    topic_id: row.get(0)?,
                    is_event_id: row.get_ref(1)?.as_str()? == event.event_id.as_str(),
                    is_same: event.differing(&stored).is_none(),
                })
            })
            .optional()
    }
}

/// The connections that read rows. They are opened when they are first needed.
#[derive(Debug)]
pub(in crate::store) struct Rows {
    file: PathBuf,
    files: Files,
    gate: Gate,
    /// The database pages that each connection may cache, in bytes.
    pages: u64,
    /// The number of times that the files had been replaced when the connections were opened.
    replaced: u64,
    connections: Vec<Connection>,
}

impl Rows {
    /// For the store in this file, whose writer has these files open.
    pub fn of(file: PathBuf, files: Files, gate: Gate, pages: u64) -> Self {
        Self {
            file,
            replaced: files.replaced(),
            files,
            gate,
            pages,
            connections: Vec::new(),
        }
    }

    /// Compares the events whose content differs from their entry's with their rows.
    pub(super) fn compare(&mut self, events: &[&Event], lookups: &mut [LookupEvent]) {
        // The writer, too, opens the file again then.
        let replaced = self.files.replaced();
        if std::mem::replace(&mut self.replaced, replaced) != replaced {
            self.connections.clear();
        }
        let mut wanted: Vec<(i64, usize)> = lookups
            .iter()
            .enumerate()
            .filter_map(
                |(
                    index,
                    LookupEvent {
                        fingerprint, found, ..
                    },
                )| {
                    let entry = found.filter(|entry| !entry.has_content(fingerprint.content))?;
                    Some((entry.sequence, index))
                },
            )
            .collect();
        if wanted.is_empty() {
            return;
        }
        // In the order of the pages.
        wanted.sort_unstable();
        match self.read(events, &wanted) {
            Ok(compared) => {
                for (index, compared) in compared {
                    lookups[index].compared = Some(compared);
                }
            }
            Err(err) => {
                debug!(error = %err, "the rows of conflicts are left to the writer");
                self.connections.clear();
            }
        }
    }

    fn read(
        &mut self,
        events: &[&Event],
        wanted: &[(i64, usize)],
    ) -> Result<Vec<(usize, Compared)>, StoreError> {
        let each = wanted.len().div_ceil(CONNECTIONS).max(EACH);
        let parts: Vec<_> = wanted.chunks(each).collect();
        while self.connections.len() < parts.len() {
            let connection = connect_again(&self.file, &self.files, self.pages)?;
            self.connections.push(connection);
        }
        let gate = &self.gate;
        let mut work = self.connections.iter_mut().zip(parts);
        let first = work.next();
        let compared: Vec<_> = thread::scope(|scope| {
            let helpers: Vec<_> = work
                .map(|(connection, part)| {
                    scope.spawn(move || read_part(gate, connection, events, part))
                })
                .collect();
            let own = first.map(|(connection, part)| read_part(gate, connection, events, part));
            let others = helpers
                .into_iter()
                .map(|helper| helper.join().unwrap_or(Ok(Vec::new())));
            own.into_iter().chain(others).collect::<Result<_, _>>()
        })?;
        Ok(compared.into_iter().flatten().collect())
    }
}

/// Compares in short reads, so that the writer never waits long for one.
fn read_part(
    gate: &Gate,
    connection: &mut Connection,
    events: &[&Event],
    wanted: &[(i64, usize)],
) -> rusqlite::Result<Vec<(usize, Compared)>> {
    let mut all = Vec::with_capacity(wanted.len());
    let mut wanted = wanted.iter().peekable();
    while wanted.peek().is_some() {
        let inside = gate.enter();
        let transaction = connection.transaction()?;
        for _ in 0..ROWS {
            let Some((sequence, index)) = wanted.next_if(|_| inside.has_time()) else {
                break;
            };
            if let Some(compared) = Compared::read(&transaction, *sequence, events[*index])? {
                all.push((*index, compared));
            }
        }
    }
    Ok(all)
}
