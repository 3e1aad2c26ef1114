//! Errors of the database, by what can be done about them.

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server reported an error, or the connection failed.
    #[error("{}", described(.0))]
    Client(#[from] tokio_postgres::Error),
    /// There was no connection in time.
    #[error("no connection: {0}")]
    Pool(String),
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    Silent(std::time::Duration),
    /// A setting of the server would lose what was acked, or its version is too old.
    #[error("{0}")]
    Setting(String),
}

/// The server's message with its code, and what an operator can do.
fn described(err: &tokio_postgres::Error) -> String {
    let Some(db) = err.as_db_error() else {
        let mut text = err.to_string();
        let mut cause = std::error::Error::source(err);
        while let Some(err) = cause {
            let next = err.to_string();
            if !text.contains(&next) {
                text = format!("{text}: {next}");
            }
            cause = err.source();
        }
        return text;
    };
    format!(
        "{} ({}){}",
        db.message(),
        db.code().code(),
        advice(db.code())
    )
}

fn advice(code: &SqlState) -> &'static str {
    match *code {
        SqlState::DISK_FULL => {
            "; free space on the database's disk; writing then resumes by itself"
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            "; raise max_connections, or start fewer aggregators: each opens up to 8 connections"
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            "; the server is a standby or read-only; name the primary too in --store"
        }
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "; correct the user or password in --store"
        }
        SqlState::INVALID_CATALOG_NAME => "; create the database, or correct its name in --store",
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "; the user must own the tables, and may create them in its schema"
        }
        _ => "",
    }
}

impl DatabaseError {
    /// Whether a transaction that failed so may succeed if it is tried again at once: it lost against another one, or its
    /// connection.
    pub(super) fn is_retried(&self) -> bool {
        match self {
            Self::Client(err) => match err.code() {
                Some(code) => {
                    [
                        &SqlState::T_R_DEADLOCK_DETECTED,
                        &SqlState::T_R_SERIALIZATION_FAILURE,
                        &SqlState::LOCK_NOT_AVAILABLE,
                        &SqlState::QUERY_CANCELED,
                        &SqlState::ADMIN_SHUTDOWN,
                        &SqlState::CRASH_SHUTDOWN,
                        &SqlState::CANNOT_CONNECT_NOW,
                        &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                        &SqlState::UNIQUE_VIOLATION,
                    ]
                    .contains(&code)
                        || code.code().starts_with("08")
                }
                // The connection.
                None => true,
            },
            Self::Pool(_) | Self::Silent(_) => true,
            Self::Setting(_) => false,
        }
    }

    /// Whether the server reported this error, so that it is certain that the statement had no effect.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::Client(err) => err.code().is_some_and(|code| {
                // The server ends: it may have committed before.
                !matches!(
                    *code,
                    SqlState::ADMIN_SHUTDOWN
                        | SqlState::CRASH_SHUTDOWN
                        | SqlState::CANNOT_CONNECT_NOW
                )
            }),
            Self::Pool(_) | Self::Silent(_) => false,
            Self::Setting(_) => true,
        }
    }

    /// Whether the cause is expected to pass within a moment.
    pub(in crate::store) fn is_passing(&self) -> bool {
        self.is_retried()
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(err: tokio_postgres::Error) -> Self {
        Self::Postgres(DatabaseError::Client(err))
    }
}
