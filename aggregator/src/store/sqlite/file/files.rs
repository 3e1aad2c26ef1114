//! The identities of the store's files as opened, and a check that the same files are still at their paths.
//!
//! A file that is deleted or renamed stays open and writable, and anything committed to it is lost when the process ends.
//! SQLite does not notice that in WAL mode, so the device and inode at each path are compared.
//!
//! A database that is truncated or overwritten in place keeps its inode, but is usually shorter than before. This program
//! never shortens it, so a shorter file is an error. The WAL is different: other programs may legitimately truncate it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    data_dir,
    store::{StoreError, sqlite::FILE},
};

/// The file that a path refers to. It is read with `stat` on the path, without opening the file: closing a second
/// descriptor of the database would release the locks that SQLite holds on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self::from(&found))
    }
}

impl From<&fs::Metadata> for Identity {
    fn from(found: &fs::Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

/// The files of an open store. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::store) struct Files {
    opened: Arc<[(PathBuf, Identity)]>,
    database: Arc<Path>,
    wal: Arc<Path>,
    observed: Arc<Observed>,
}

#[derive(Debug)]
struct Observed {
    /// The largest length of the database so far, in bytes; [`TRUNCATED`] once it was shorter, because its content is unknown
    /// then.
    database: AtomicU64,
    /// The number of failed checks.
    replaced: AtomicU64,
}

/// Greater than the length of any database.
const TRUNCATED: u64 = u64::MAX;

impl Files {
    /// Records the files of the store in `directory`, which a connection has opened and read from. `given` is the same
    /// directory as named by the user, possibly through a symbolic link.
    pub fn opened(directory: &Path, given: &Path) -> Result<Self, StoreError> {
        let file = |end: &str| directory.join(format!("{FILE}{end}"));
        let mut paths = vec![file(""), file("-wal"), file("-shm")];
        if given != directory {
            paths.push(given.join(FILE));
        }
        // Without the lock file a second aggregator could start on the same store. Tests and benchmarks do not lock theirs.
        let lock = directory.join(data_dir::LOCK);
        if lock.exists() {
            paths.push(lock);
        }
        let (database, wal) = (file(""), file("-wal"));
        let length = fs::metadata(&database).map_err(|err| replaced(&database, &err))?;
        let observed = Observed {
            database: AtomicU64::new(length.len()),
            replaced: AtomicU64::new(0),
        };
        let opened = paths.into_iter().map(|path| {
            let identity = Identity::of(&path).map_err(|err| replaced(&path, &err))?;
            Ok((path, identity))
        });
        Ok(Self {
            opened: opened.collect::<Result<_, StoreError>>()?,
            database: database.into(),
            wal: wal.into(),
            observed: Arc::new(observed),
        })
    }

    /// Checks that each file is still at its path and that the database is not shorter than before; returns the size of the
    /// WAL in bytes.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] with the first file that was replaced.
    pub fn check(&self) -> Result<u64, StoreError> {
        self.compare().inspect_err(|_| {
            self.observed.replaced.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// The number of checks that have failed. A connection opened before the last failure must be reopened.
    pub fn replaced(&self) -> u64 {
        self.observed.replaced.load(Ordering::Relaxed)
    }

    fn compare(&self) -> Result<u64, StoreError> {
        let mut wal = 0;
        for (path, identity) in &*self.opened {
            let found = fs::metadata(path).map_err(|err| replaced(path, &err))?;
            if Identity::from(&found) != *identity {
                return Err(replaced(path, &"another file is in its place"));
            }
            if *path == *self.wal {
                wal = found.len();
            }
            if *path == *self.database
                && found.len()
                    < self
                        .observed
                        .database
                        .fetch_max(found.len(), Ordering::Relaxed)
            {
                self.observed.database.store(TRUNCATED, Ordering::Relaxed);
                return Err(replaced(path, &"it was truncated or overwritten in place"));
            }
        }
        Ok(wal)
    }
}

fn replaced(path: &Path, how: &dyn std::fmt::Display) -> StoreError {
    StoreError::Replaced {
        path: path.to_owned(),
        how: how.to_string(),
    }
}
