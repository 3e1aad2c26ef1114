//! Classes of SQLite errors, by what can be done about them.

use rusqlite::{Error, ErrorCode};

/// Whether the cause is expected to pass within a moment.
pub(in crate::store) fn is_passing(err: &Error) -> bool {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, OperationInterrupted};
    let code = err.sqlite_error_code();
    code.is_some_and(|code| matches!(code, DatabaseBusy | DatabaseLocked | OperationInterrupted))
}

/// What an operator can do, appended to the message; empty if that is not known.
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
        DiskFull => {
            "; free space on the disk of the data directory; writing then resumes by itself"
        }
        SystemIoFailure => {
            "; check the disk and the system log; writing resumes by itself when the disk works"
        }
        CannotOpen | PermissionDenied | ReadOnly => {
            "; make the file and its directory writable; writing then resumes by itself"
        }
        DatabaseCorrupt | NotADatabase => {
            "; stop the aggregator, run `aggregator verify`, and restore a backup"
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
    fn errors_that_need_an_operator_say_what_to_do() {
        for (code, words) in [
            (ffi::SQLITE_FULL, "free space"),
            (ffi::SQLITE_IOERR_FSYNC, "check the disk"),
            (ffi::SQLITE_READONLY, "writable"),
            (ffi::SQLITE_CORRUPT, "restore a backup"),
        ] {
            assert!(advice(&failure(code)).contains(words), "{code}");
        }
    }
}
