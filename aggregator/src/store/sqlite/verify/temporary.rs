//! The directory for the temporary files of a verification. A file is deleted when its last handle is closed.

use std::{
    error::Error,
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

/// SQLite's page cache in KiB.
const CACHE_KIB: i32 = 4 * 1024;

/// The directory for temporary files.
#[derive(Debug, Clone)]
pub(super) struct TemporaryDirectory(PathBuf);

/// A temporary file cannot be written or read. The message includes the cause, so the cause is not the error's source as
/// well.
#[derive(Debug, thiserror::Error)]
#[error(
    "temporary files in {} cannot be written or read: {cause}; a verification needs 32 bytes there for each event, and about \
     100 bytes plus the name for each topic; set TMPDIR to a directory with enough space",
    directory.display()
)]
pub struct TemporaryError {
    directory: PathBuf,
    cause: Box<dyn Error + Send + Sync>,
}

impl TemporaryDirectory {
    /// `TMPDIR` if it is set; otherwise the data directory `data`, because the store has space to grow there while `/tmp` is
    /// often in memory; if that is not writable, the system's directory for temporary files.
    pub fn choose(tmpdir: Option<PathBuf>, data: &Path) -> Self {
        let tmpdir = tmpdir.filter(|tmpdir| !tmpdir.as_os_str().is_empty());
        let data = || tempfile::tempfile_in(data).is_ok().then(|| data.to_owned());
        Self(tmpdir.or_else(data).unwrap_or_else(std::env::temp_dir))
    }

    /// An empty file.
    pub fn file(&self) -> Result<File, TemporaryError> {
        tempfile::tempfile_in(&self.0).map_err(self.failed())
    }

    /// An empty database. It is deleted with the connection, so it needs neither a journal nor syncs.
    pub fn database(&self) -> Result<Connection, TemporaryError> {
        // SQLite opens files by name. The name is removed at the end of this function; the file exists until it is closed.
        let named = tempfile::Builder::new()
            .prefix("verify-")
            .tempfile_in(&self.0)
            .map_err(self.failed())?;
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(named.path(), flags)?;
            connection.pragma_update(None, "journal_mode", "OFF")?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            Ok::<_, rusqlite::Error>(connection)
        };
        open().map_err(self.failed())
    }

    pub fn failed<E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
    ) -> impl Fn(E) -> TemporaryError + use<'_, E> {
        |cause| TemporaryError {
            directory: self.0.clone(),
            cause: cause.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_are_in_the_data_directory_unless_tmpdir_is_set() {
        let data = tempfile::tempdir().unwrap();
        let chosen = |tmpdir: Option<&str>, data: &Path| {
            TemporaryDirectory::choose(tmpdir.map(PathBuf::from), data).0
        };
        assert_eq!(chosen(None, data.path()), data.path());
        assert_eq!(chosen(Some(""), data.path()), data.path());
        assert_eq!(
            chosen(Some("/elsewhere"), data.path()),
            Path::new("/elsewhere")
        );
        // Stands for a data directory that is not writable.
        assert_eq!(
            chosen(None, Path::new("/no/such/place")),
            std::env::temp_dir()
        );
    }

    #[test]
    fn the_error_names_the_directory_and_tmpdir() {
        let nowhere = TemporaryDirectory(PathBuf::from("/no/such/place"));
        for err in [nowhere.file().unwrap_err(), nowhere.database().unwrap_err()] {
            let text = err.to_string();
            for part in ["/no/such/place", "TMPDIR", "No such file"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn a_database_has_no_file_name_and_grows_beyond_its_cache() {
        let directory = tempfile::tempdir().unwrap();
        let temporary = TemporaryDirectory(directory.path().to_owned());
        let database = temporary.database().unwrap();
        let sql = "CREATE TABLE bytes (some BLOB); \
                   INSERT INTO bytes VALUES (zeroblob(10000000)), (zeroblob(10000000))";
        database.execute_batch(sql).unwrap();
        let sum = "SELECT sum(length(some)) FROM bytes";
        let grown: u64 = database.query_row(sum, [], |row| row.get(0)).unwrap();
        assert_eq!(grown, 20_000_000);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
