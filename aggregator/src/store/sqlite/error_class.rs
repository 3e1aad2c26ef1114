//! What SQLite reports, sorted by what there is to do about it.

use rusqlite::{Error, ErrorCode};

/// Whether it goes away by itself within a moment.
pub(in crate::store) fn is_passing(err: &Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, OperationInterrupted};
    let code = err.sqlite_error_code();
    code.is_some_and(|code| matches!(code, DatabaseBusy | DatabaseLocked | OperationInterrupted))
}

/// What a person can do, to be put behind the message; nothing where that is not known.
pub(in crate::store) fn advice(err: &Error) -> &'static str {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
        PermissionDenied, ReadOnly, SystemIoFailure,
    };
    let Some(code) = err.sqlite_error_code() else {
        return "";
    };
    match code {
        DatabaseBusy | DatabaseLocked => "; another program holds a lock on it",
        DiskFull => "; make room on the disk of the data directory, it goes on by itself then",
        SystemIoFailure => {
            "; look at the disk and the system's log, it goes on by itself when the disk works"
        }
        CannotOpen | PermissionDenied | ReadOnly => {
            "; the file and its directory must be writable, it goes on by itself then"
        }
        DatabaseCorrupt | NotADatabase => {
            "; stop the aggregator, see what `aggregator verify` finds, and restore a backup"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn failure(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn only_locks_and_interruptions_pass_by_themselves() {
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_LOCKED, ffi::SQLITE_INTERRUPT] {
            assert!(is_passing(&failure(code)), "{code}");
        }
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_CORRUPT,
        ] {
            assert!(!is_passing(&failure(code)), "{code}");
        }
    }

    #[test]
    fn what_needs_a_person_says_what_to_do() {
        for (code, words) in [
            (ffi::SQLITE_FULL, "make room"),
            (ffi::SQLITE_IOERR_FSYNC, "look at the disk"),
            (ffi::SQLITE_READONLY, "writable"),
            (ffi::SQLITE_CORRUPT, "restore a backup"),
        ] {
            assert!(advice(&failure(code)).contains(words), "{code}");
        }
    }
}
