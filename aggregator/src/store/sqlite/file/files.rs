//! The store's files as they were opened, and whether they are still the ones at their paths.
//!
//! A file that is deleted or renamed stays open and can be written as before: what is committed into it is gone with the
//! process. SQLite does not notice that in WAL mode, so the device and inode at each path are compared.
//!
//! A database that is cut or overwritten in place keeps its inode, but is shorter than it was, most often: it never gets
//! shorter here. That cannot be said of the WAL, which other programs may cut rightly.

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

/// Which file a path leads to. Files are looked at by their path only: closing a second descriptor of the database would
/// release the locks that SQLite holds on it.
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
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// Bytes that the database had at least; once it had fewer, what is in it is not known any more.
    database: AtomicU64,
    /// How often a file was not the one that was opened.
    replaced: AtomicU64,
}

/// No database is so long.
const CUT: u64 = u64::MAX;

impl Files {
    /// Those of the store in `directory`, which a connection has open and has read from. `given` leads to the same
    /// directory, by the name that it was given, which may be a symbolic link.
    pub fn opened(directory: &Path, given: &Path) -> Result<Self, StoreError> {
        let file = |end: &str| directory.join(format!("{FILE}{end}"));
        let mut paths = vec![file(""), file("-wal"), file("-shm")];
        if given != directory {
            paths.push(given.join(FILE));
        }
        // Without it a second aggregator could start on the same store. Tests and benchmarks hold no directory.
        let lock = directory.join(data_dir::LOCK);
        if lock.exists() {
            paths.push(lock);
        }
        let (database, wal) = (file(""), file("-wal"));
        let length = fs::metadata(&database).map_err(|err| replaced(&database, &err))?;
        let seen = Seen {
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
            seen: Arc::new(seen),
        })
    }

    /// Whether each file is still at its path, and the database as long as it was; tells the size of the WAL in bytes.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] names the first that is not.
    pub fn check(&self) -> Result<u64, StoreError> {
        self.look().inspect_err(|_| {
            self.seen.replaced.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// How often a check has failed. Who has opened a file before the last time opens it again.
    pub fn replaced(&self) -> u64 {
        self.seen.replaced.load(Ordering::Relaxed)
    }

    fn look(&self) -> Result<u64, StoreError> {
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
                && found.len() < self.seen.database.fetch_max(found.len(), Ordering::Relaxed)
            {
                self.seen.database.store(CUT, Ordering::Relaxed);
                return Err(replaced(path, &"it was cut or overwritten in place"));
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
