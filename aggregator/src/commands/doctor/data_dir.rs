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
        Access, FILE, Record, SCHEMA_VERSION,
        inspect::{self, Inspection},
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
    /// Why the lock could not be read.
    pub lock_error: Option<String>,
    /// The size of each entry, in bytes; that of a folder is the size of all its files.
    pub files: BTreeMap<String, u64>,
    pub free_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    pub file_system: Option<FileSystem>,
    /// The store; `None` if it could not be read.
    pub store: Option<Inspection>,
    /// Why the store could not be read.
    pub store_error: Option<String>,
    /// The file that reading the store created and left behind.
    pub left: Option<PathBuf>,
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
        let lock_error = lock.as_ref().err();
        let lock_error = lock_error.map(|err| unreadable(&path.join(LOCK), err));
        let (access, in_use_by) = match &lock {
            Ok(LockState::Free { .. }) => (Access::Alone, None),
            Ok(LockState::Unlocked) => (Access::Unlocked, None),
            Ok(LockState::InUse { holder }) => (Access::InUse, Some(holder.clone())),
            Err(_) => {
                let unknown = "a process that cannot be determined";
                (Access::InUse, Some(unknown.to_owned()))
            }
        };
        let (read, left) = inspect::inspect(&path, access);
        // A process that holds the lock creates that file itself.
        let left = left.filter(|_| !matches!(lock, Ok(LockState::InUse { .. })));
        drop(lock);
        let space = machine::space(&path).ok();
        let (store, store_error) = match read {
            Ok(store) => (Some(store), None),
            Err(err) => (None, Some(err.to_string())),
        };
        Ok(Self {
            in_use_by,
            lock_error,
            files,
            free_bytes: space.map(|(free, _)| free),
            total_bytes: space.map(|(_, total)| total),
            file_system: FileSystem::of(&path),
            store,
            store_error,
            left,
            path,
        })
    }

    /// This directory if a running service uses it. That of another machine or container may have the same path.
    ///
    /// # Errors
    /// Why it is not, or cannot be recognized.
    pub fn used_by(self, service: &Service) -> Result<Self, String> {
        let (path, url) = (self.path.display(), &service.url);
        let Some(id) = service.store_id() else {
            return Err(format!(
                "the aggregator at {url} does not say which store it uses; give its directory with --data-dir"
            ));
        };
        let is_same = self.record().is_none_or(|record| record.store_id == id);
        if self.in_use_by.is_none() || !is_same {
            return Err(format!(
                "{path} does not contain the store that the aggregator at {url} uses; give its directory with --data-dir"
            ));
        }
        Ok(self)
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
        match (&self.in_use_by, &self.lock_error, service) {
            (Some(holder), Some(err), None) => add(
                format!("{err}; {holder} may hold {}", self.path.display()),
                "run doctor as the user that runs the aggregator",
            ),
            (Some(holder), None, None) => add(
                format!("{holder} holds {}", self.path.display()),
                "it is running: give its address with --url, or stop that process if it does not respond",
            ),
            _ => {}
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
        sizes.extend(machine::entry_bytes(&entry).map(|bytes| (name, bytes)));
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        Directory {
            path: "/data".into(),
            in_use_by: None,
            lock_error: None,
            files: BTreeMap::new(),
            free_bytes: Some(1 << 40),
            total_bytes: Some(1 << 40),
            file_system: None,
            store: None,
            store_error: None,
            left: None,
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

    #[test]
    fn a_directory_is_that_of_a_service_if_it_is_in_use_and_has_the_same_store() {
        let store = |store_id: &str| {
            let record = Record {
                store_id: store_id.to_owned(),
                received: 0,
                unique_processed: 0,
                duplicate_dropped: 0,
                rejected: 0,
                conflicts: 0,
                redelivered: 0,
                consistent: true,
                topics: 0,
                missing: 0,
                stream: None,
                applied_floor: 0,
                processed_at: None,
            };
            Inspection {
                schema_version: SCHEMA_VERSION,
                record: Some(record),
            }
        };
        let service = |store_id: Option<&str>| Service::with_store("http://here", store_id);
        let holder = || Some("aggregator with process id 7".to_owned());
        for (in_use_by, found, used, is_same) in [
            (holder(), Some(store("a")), Some("a"), true),
            (holder(), Some(store("b")), Some("a"), false),
            // Such as a copy of the service's store.
            (None, Some(store("a")), Some("a"), false),
            // It cannot be read.
            (holder(), None, Some("a"), true),
            (None, None, Some("a"), false),
            // The service is opening its store.
            (holder(), Some(store("a")), None, false),
        ] {
            let case = format!("{in_use_by:?} {found:?} {used:?}");
            let found = Directory {
                in_use_by,
                store: found,
                ..directory()
            };
            let used_by = found.used_by(&service(used));
            assert_eq!(used_by.is_ok(), is_same, "{case}");
        }
    }

    #[test]
    fn a_lock_that_cannot_be_read_is_named_and_its_holder_is_not() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(FILE), "").unwrap();
        // Not even root can read a link to itself.
        let lock = place.path().canonicalize().unwrap().join(LOCK);
        std::os::unix::fs::symlink(&lock, &lock).unwrap();
        let found = Directory::read(place.path()).unwrap();
        let problem = found.findings(None).remove(0).problem;
        let begin = format!("{} cannot be read: ", lock.display());
        assert!(problem.starts_with(&begin), "{problem}");
        let holder = "; a process that cannot be determined may hold /";
        assert!(problem.contains(holder), "{problem}");
    }
}
