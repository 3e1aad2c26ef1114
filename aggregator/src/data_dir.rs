//! The data directory, locked by one process at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::machine::host;

/// The lock file. It contains the name of the process that holds the lock.
pub const LOCK: &str = "aggregator.lock";

/// A data directory, locked by this process until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The system releases the lock when the process ends, however it ends.
    _lock: File,
}

/// The lock of a data directory, as found by a process that changes nothing in it.
#[derive(Debug)]
pub enum LockState {
    /// Another process holds it.
    InUse {
        /// What that process wrote into the lock file.
        holder: String,
    },
    /// No process held it; this value holds it until it is dropped.
    Free {
        /// The lock.
        _lock: File,
    },
    /// The directory has no lock file, so no process can be kept out.
    Unlocked,
}

/// Checks whether a process holds the directory, and locks it if none does.
///
/// # Errors
/// If the lock file cannot be read.
pub fn probe(path: &Path) -> io::Result<LockState> {
    let lock = match File::open(path.join(LOCK)) {
        Ok(lock) => lock,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(LockState::Unlocked),
        Err(err) => return Err(err),
    };
    match lock.try_lock() {
        Ok(()) => Ok(LockState::Free { _lock: lock }),
        Err(TryLockError::WouldBlock) => Ok(LockState::InUse {
            holder: holder(lock),
        }),
        Err(TryLockError::Error(err)) => Err(err),
    }
}

/// The process that holds a lock, as the lock file names it.
fn holder(mut lock: File) -> String {
    let mut name = String::new();
    let read = lock.read_to_string(&mut name);
    if read.is_err() || name.trim().is_empty() {
        "an aggregator that is starting".clone_into(&mut name);
    }
    name.trim().to_owned()
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be created or written.
    #[error("data directory {path} cannot be used: {source}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process holds it.
    #[error(
        "data directory {path} is in use by {holder}; stop that process first, or use another data directory"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// What the other process wrote into the lock file.
        holder: String,
    },
}

impl DataDir {
    /// Creates the directory if it does not exist, and locks it.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn hold(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable {
            path: path.to_owned(),
            source,
        };
        if path.exists() && !path.is_dir() {
            return Err(unusable(ErrorKind::NotADirectory.into()));
        }
        std::fs::create_dir_all(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirError::Held {
                    path,
                    holder: holder(lock),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let name = format!(
            "aggregator with process id {} on {}\n",
            std::process::id(),
            host()
        );
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(name.as_bytes()));
        written.map_err(unusable)?;
        Ok(Self { path, _lock: lock })
    }

    /// Its canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its location for people on other machines: `host:/path`.
    pub fn location(&self) -> String {
        format!("{}:{}", host(), self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_with_the_name_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/here");
        let first = DataDir::hold(&path).unwrap();
        let refused = DataDir::hold(&path).unwrap_err().to_string();
        let process = format!("process id {}", std::process::id());
        assert!(refused.contains(&process), "{refused}");
        let found = probe(&path).unwrap();
        let is_named = matches!(&found, LockState::InUse { holder } if holder.contains(&process));
        assert!(is_named, "{found:?}");
        drop(first);
        let free = probe(&path).unwrap();
        assert!(matches!(free, LockState::Free { .. }));
        DataDir::hold(&path).unwrap_err();
        drop(free);
        DataDir::hold(&path).unwrap();
    }
}
