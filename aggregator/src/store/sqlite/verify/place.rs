//! Where a verification has its temporary files. A file is deleted with its last handle.

use std::{
    error::Error,
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

/// SQLite's cache of pages, in KiB.
const CACHE_KIB: i32 = 4 * 1024;

/// The directory for temporary files.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

/// Temporary files fail. The cause is a part of the message, so it is not given as the source as well.
#[derive(Debug, thiserror::Error)]
#[error(
    "temporary files in {} cannot be written or read: {cause}; a verification needs 32 bytes there for each event, and about \
     100 bytes plus the name for each topic, so set TMPDIR to a directory with more room",
    directory.display()
)]
pub struct TemporaryError {
    directory: PathBuf,
    cause: Box<dyn Error + Send + Sync>,
}

impl Place {
    /// `TMPDIR` where it is set; else `data`, the data directory, for the store has room to grow there, while `/tmp` is
    /// often memory; else, where that cannot be written, the system's directory.
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
        // SQLite opens a file by its name, which is removed at the end of this function; the file stays until it is closed.
        let named = tempfile::NamedTempFile::new_in(&self.0).map_err(self.failed())?;
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
    fn temporary_files_go_next_to_the_data_unless_tmpdir_says_otherwise() {
        let data = tempfile::tempdir().unwrap();
        let chosen =
            |tmpdir: Option<&str>, data: &Path| Place::choose(tmpdir.map(PathBuf::from), data).0;
        assert_eq!(chosen(None, data.path()), data.path());
        assert_eq!(chosen(Some(""), data.path()), data.path());
        assert_eq!(
            chosen(Some("/elsewhere"), data.path()),
            Path::new("/elsewhere")
        );
        // As a data directory that cannot be written.
        assert_eq!(
            chosen(None, Path::new("/no/such/place")),
            std::env::temp_dir()
        );
    }

    #[test]
    fn what_cannot_be_written_names_the_directory_and_tmpdir() {
        let nowhere = Place(PathBuf::from("/no/such/place"));
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
        let place = Place(directory.path().to_owned());
        let database = place.database().unwrap();
        let sql = "CREATE TABLE bytes (some BLOB); \
                   INSERT INTO bytes VALUES (zeroblob(10000000)), (zeroblob(10000000))";
        database.execute_batch(sql).unwrap();
        let sum = "SELECT sum(length(some)) FROM bytes";
        let grown: u64 = database.query_row(sum, [], |row| row.get(0)).unwrap();
        assert_eq!(grown, 20_000_000);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
