//! The data directory: its lock, its files, its file system, and the record of its store.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use bytesize::ByteSize;
use serde::Serialize;

use super::{finding::Finding, service::Service};
use crate::{
    data_dir::{self, LOCK, LockState},
    machine::{self, FileSystem},
    store::{
        FILE, SCHEMA_VERSION,
        inspect::{self, Inspection, Record},
    },
};

/// Free space below which there is too little, as on the live page: a few minutes of heavy traffic, or one merge of the dedup
/// index.
const LITTLE: u64 = 1 << 30;

/// What was found in the data directory.
#[derive(Debug, Serialize)]
pub(super) struct Directory {
    pub path: PathBuf,
    /// The process that holds the lock; `None` if none does.
    pub in_use_by: Option<String>,
    /// The size of each entry, in bytes; that of a folder is the size of all its files.
    pub files: BTreeMap<String, u64>,
    pub free_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    pub file_system: Option<FileSystem>,
    /// The store; `None` if it could not be read.
    pub store: Option<Inspection>,
    /// Why the store could not be read.
    pub store_error: Option<String>,
}

impl Directory {
    /// Reads a data directory. A running aggregator is not disturbed: its store is read in one short transaction. If none is
    /// running, one that starts meanwhile waits for the lock for that long.
    ///
    /// # Errors
    /// Why there is no store.
    pub fn read(given: &Path) -> Result<Self, String> {
        let path = given
            .canonicalize()
            .map_err(|err| unreadable(given, &err))?;
        let files = sizes(&path).map_err(|err| unreadable(&path, &err))?;
        if !files.contains_key(FILE) {
            return Err(format!("there is no store in {}", path.display()));
        }
        let lock = data_dir::probe(&path);
        let is_in_use = !matches!(lock, Ok(LockState::Free { .. } | LockState::Unlocked));
        let holder = fs::read_to_string(path.join(LOCK)).unwrap_or_default();
        let read = inspect::inspect(&path, is_in_use);
        drop(lock);
        let space = machine::space(&path).ok();
        let (store, store_error) = match read {
            Ok(store) => (Some(store), None),
            Err(err) => (None, Some(err.to_string())),
        };
        Ok(Self {
            in_use_by: is_in_use.then(|| holder.trim().to_owned()),
            files,
            free_bytes: space.map(|(free, _)| free),
            total_bytes: space.map(|(_, total)| total),
            file_system: FileSystem::of(&path),
            store,
            store_error,
            path,
        })
    }

    /// The record of the store.
    pub fn record(&self) -> Option<&Record> {
        self.store.as_ref()?.record.as_ref()
    }

    /// What needs attention. `service` is the running service, if there is one.
    pub fn findings(&self, service: Option<&Service>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |problem: String, remedy: &str| {
            findings.push(Finding::new("data_dir", problem, remedy));
        };
        if let (Some(holder), None) = (&self.in_use_by, service) {
            add(
                format!("{holder} holds {}", self.path.display()),
                "it is running: give its address with --url, or stop that process if it does not respond",
            );
        }
        if let Some(err) = &self.store_error {
            add(
                format!("the store in {} cannot be read: {err}", self.path.display()),
                "if the file is damaged, stop the aggregator and restore a backup",
            );
        }
        if let Some(store) = &self.store
            && store.schema_version != SCHEMA_VERSION
        {
            let (found, known) = (store.schema_version, SCHEMA_VERSION);
            let remedy = if found < known {
                "make a backup, then start the aggregator of this version, which migrates it"
            } else {
                "use the program of the version that created it"
            };
            add(
                format!("the store has schema version {found}, and this program {known}"),
                remedy,
            );
        }
        if self.record().is_some_and(|record| !record.consistent) {
            add(
                "the counters of the store do not add up".to_owned(),
                "run aggregator verify, and attach its output to an issue",
            );
        }
        if let (Some(free), Some(total)) = (self.free_bytes, self.total_bytes)
            && free < LITTLE
        {
            add(
                format!(
                    "{} of {} are free for {}",
                    ByteSize(free),
                    ByteSize(total),
                    self.path.display()
                ),
                "free or add space: when the disk is full, nothing is applied",
            );
        }
        if let Some(found) = &self.file_system {
            if found.is_network {
                add(
                    format!(
                        "{} is on a network file system ({})",
                        self.path.display(),
                        found.kind
                    ),
                    "move the data directory to a local disk: SQLite's WAL does not work on a network file system",
                );
            }
            if found.options.split(',').any(|option| option == "ro") {
                add(
                    format!("{} is mounted read-only", found.mounted_at),
                    "mount it writable; after an I/O error, check the disk first",
                );
            }
        }
        findings
    }
}

fn unreadable(path: &Path, err: &io::Error) -> String {
    let reason = shared::command_line::failure(err);
    format!("{} cannot be read: {reason}", path.display())
}

/// The size of each entry of a folder by name.
fn sizes(folder: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A file that is deleted meanwhile, as by a merge of the index, is not counted.
        let Ok(found) = entry.metadata() else {
            continue;
        };
        let bytes = if found.is_dir() {
            sizes_of_all(&entry.path())
        } else {
            found.len()
        };
        sizes.insert(name, bytes);
    }
    Ok(sizes)
}

fn sizes_of_all(folder: &Path) -> u64 {
    sizes(folder).map_or(0, |sizes| sizes.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        Directory {
            path: "/data".into(),
            in_use_by: None,
            files: BTreeMap::new(),
            free_bytes: Some(1 << 40),
            total_bytes: Some(1 << 40),
            file_system: None,
            store: None,
            store_error: None,
        }
    }

    #[test]
    fn less_than_1_gib_of_free_space_is_a_finding() {
        for (free, is_little) in [((1 << 30) - 1, true), (1 << 30, false)] {
            let found = Directory {
                free_bytes: Some(free),
                ..directory()
            };
            assert_eq!(found.findings(None).len(), usize::from(is_little), "{free}");
        }
    }

    #[test]
    fn a_network_file_system_one_mounted_read_only_and_other_versions_are_findings() {
        let file_system = FileSystem {
            kind: "nfs4".to_owned(),
            mounted_at: "/data".to_owned(),
            options: "ro,relatime".to_owned(),
            is_network: true,
        };
        let found = Directory {
            file_system: Some(file_system),
            in_use_by: Some("aggregator with process id 7".to_owned()),
            store: Some(Inspection {
                schema_version: SCHEMA_VERSION + 1,
                record: None,
            }),
            ..directory()
        };
        let problems: Vec<_> = found
            .findings(None)
            .into_iter()
            .map(|f| f.problem)
            .collect();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].contains("process id 7"), "{problems:?}");
    }
}
