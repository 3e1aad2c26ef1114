//! The data directory, held by one process at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// The file that the process holding the directory has locked, with its name inside.
pub const LOCK: &str = "aggregator.lock";

/// A data directory that this process holds until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock goes with the process, however it ends.
    _lock: File,
}

/// A data directory as somebody finds it who changes nothing in it.
#[derive(Debug)]
pub enum Found {
    /// A process holds it.
    InUse,
    /// Nobody does, and until this is dropped nobody will.
    Free {
        /// The lock.
        _lock: File,
    },
    /// Nobody ever did: it has no lock file, so nobody can be kept out either.
    Unlocked,
}

/// Looks whether a process holds the directory, and keeps others out where none does.
///
/// # Errors
/// [`DataDirError::Unusable`].
pub fn look(path: &Path) -> Result<Found, DataDirError> {
    let unusable = |source| DataDirError::Unusable {
        path: path.to_owned(),
        source,
    };
    let lock = match File::open(path.join(LOCK)) {
        Ok(lock) => lock,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Found::Unlocked),
        Err(err) => return Err(unusable(err)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Found::Free { _lock: lock }),
        Err(TryLockError::WouldBlock) => Ok(Found::InUse),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or written.
    #[error("data directory {path} cannot be used: {source}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process holds it.
    #[error(
        "data directory {path} is in use by {holder}; stop that one first, or give this one a data directory of its own"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// What the other process wrote of itself.
        holder: String,
    },
}

impl DataDir {
    /// Makes the directory where it is not there, and locks it.
    ///
    /// # Errors
    /// As [`DataDirError`] tells.
    pub fn hold(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable {
            path: path.to_owned(),
            source,
        };
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
                let mut holder = String::new();
                let read = lock.read_to_string(&mut holder);
                if read.is_err() || holder.trim().is_empty() {
                    "an aggregator that is just starting".clone_into(&mut holder);
                }
                return Err(DataDirError::Held {
                    path,
                    holder: holder.trim().to_owned(),
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, for people on other machines: `host:/path`.
    pub fn place(&self) -> String {
        format!("{}:{}", host(), self.path.display())
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/here");
        let first = DataDir::hold(&path).unwrap();
        let refused = DataDir::hold(&path).unwrap_err().to_string();
        let process = format!("process id {}", std::process::id());
        assert!(refused.contains(&process), "{refused}");
        assert!(matches!(look(&path).unwrap(), Found::InUse));
        drop(first);
        let free = look(&path).unwrap();
        assert!(matches!(free, Found::Free { .. }));
        DataDir::hold(&path).unwrap_err();
        drop(free);
        DataDir::hold(&path).unwrap();
    }
}
