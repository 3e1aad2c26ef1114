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
    #[error("no connection: {0}; the server does not answer, or is too slow; it is tried again")]
    Pool(String),
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    Silent(std::time::Duration),
    /// A setting of the server would lose what was acked, or its version is too old.
    #[error("{0}")]
    Setting(String),
}

/// What fails, the server's message with its code, and what an operator can do.
fn described(err: &tokio_postgres::Error) -> String {
    let message = match err.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => causes(err),
    };
    let (what, advice) = Fault::of(err).description(err.code());
    match (what, advice) {
        ("", "") => message,
        (what, "") => format!("{what}: {message}"),
        ("", advice) => format!("{message}; {advice}"),
        (what, advice) => format!("{what}: {message}; {advice}"),
    }
}

/// An error and its causes, each said once.
fn causes(err: &tokio_postgres::Error) -> String {
    let mut text = err.to_string();
    let mut cause = std::error::Error::source(err);
    while let Some(err) = cause {
        let next = err.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = err.source();
    }
    text
}

/// What fails, as operators tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Two transactions waited for each other.
    Deadlock,
    /// Two transactions cannot be put into an order.
    Serialization,
    /// A lock was not free in time.
    LockTimeout,
    /// A statement took too long, or was cancelled.
    StatementTimeout,
    /// The server cannot be reached, does not answer, or ended the connection.
    Connection,
    /// The answer to a COMMIT did not come.
    CommitUnknown,
    /// The user, its password or its rights.
    Authentication,
    /// The server is a standby, or allows no writes.
    ReadOnly,
    /// The server's disk.
    DiskFull,
    /// The server, the database or the user has no connection left.
    TooManyConnections,
    /// A setting or a version that could lose what was acked.
    Setting,
    /// All others.
    Other,
}

impl Fault {
    pub const ALL: [Self; 12] = [
        Self::Deadlock,
        Self::Serialization,
        Self::LockTimeout,
        Self::StatementTimeout,
        Self::Connection,
        Self::CommitUnknown,
        Self::Authentication,
        Self::ReadOnly,
        Self::DiskFull,
        Self::TooManyConnections,
        Self::Setting,
        Self::Other,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadlock => "deadlock",
            Self::Serialization => "serialization",
            Self::LockTimeout => "lock_timeout",
            Self::StatementTimeout => "statement_timeout",
            Self::Connection => "connection",
            Self::CommitUnknown => "commit_unknown",
            Self::Authentication => "authentication",
            Self::ReadOnly => "read_only",
            Self::DiskFull => "disk_full",
            Self::TooManyConnections => "too_many_connections",
            Self::Setting => "setting",
            Self::Other => "other",
        }
    }

    /// What fails and what an operator can do about it; either may be empty.
    fn description(self, code: Option<&SqlState>) -> (&'static str, &'static str) {
        match self {
            Self::Connection if code.is_some() => (
                "the server closes connections",
                "it is starting, stopping or failing over; the connection is made again by itself",
            ),
            Self::Connection => (
                "no connection",
                "start the server, or correct the hosts in --store; the connection is made again by itself",
            ),
            Self::Authentication if code == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => (
                "permission denied",
                "grant it USAGE on the schema, and SELECT, INSERT, UPDATE and DELETE on the tables; who creates or changes them must own them",
            ),
            Self::Authentication => (
                "authentication failed",
                "correct the user or password in --store, or the server's pg_hba.conf",
            ),
            Self::ReadOnly => (
                "the server is a standby or read-only",
                "name the primary too in --store, promote the standby, or set default_transaction_read_only to off",
            ),
            Self::DiskFull => (
                "disk full",
                "free space on the database's disk; writing then resumes by itself",
            ),
            Self::TooManyConnections => (
                "too many connections",
                "raise max_connections or the limit of the user or the database, or start fewer aggregators: each opens up to 10",
            ),
            Self::Other if code == Some(&SqlState::INVALID_CATALOG_NAME) => (
                "no such database",
                "create it, or correct its name in --store",
            ),
            Self::Deadlock
            | Self::Serialization
            | Self::LockTimeout
            | Self::StatementTimeout
            | Self::CommitUnknown
            | Self::Setting
            | Self::Other => ("", ""),
        }
    }

    fn of(err: &tokio_postgres::Error) -> Self {
        let Some(code) = err.code() else {
            return Self::without_code(err);
        };
        match *code {
            SqlState::T_R_DEADLOCK_DETECTED => Self::Deadlock,
            SqlState::T_R_SERIALIZATION_FAILURE => Self::Serialization,
            SqlState::LOCK_NOT_AVAILABLE => Self::LockTimeout,
            SqlState::QUERY_CANCELED => Self::StatementTimeout,
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Connection,
            SqlState::INVALID_PASSWORD
            | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            | SqlState::INSUFFICIENT_PRIVILEGE => Self::Authentication,
            SqlState::READ_ONLY_SQL_TRANSACTION => Self::ReadOnly,
            SqlState::DISK_FULL => Self::DiskFull,
            SqlState::TOO_MANY_CONNECTIONS => Self::TooManyConnections,
            _ if code.code().starts_with("08") => Self::Connection,
            _ => Self::Other,
        }
    }

    /// What fails if the server did not say it: mostly the connection.
    fn without_code(err: &tokio_postgres::Error) -> Self {
        let source = std::error::Error::source(err);
        let says = |text: &str| source.is_some_and(|source| source.to_string().contains(text));
        // The texts of the client, which has no other sign of them.
        if says("does not allow writes") {
            Self::ReadOnly
        } else if says("password missing") {
            Self::Authentication
        } else {
            Self::Connection
        }
    }
}

impl DatabaseError {
    /// What fails.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Client(err) => Fault::of(err),
            Self::Pool(_) | Self::Silent(_) => Fault::Connection,
            Self::Setting(_) => Fault::Setting,
        }
    }

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
                        &SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
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
                // The server ends, or lost another one: it may have committed before.
                !matches!(
                    *code,
                    SqlState::ADMIN_SHUTDOWN
                        | SqlState::CRASH_SHUTDOWN
                        | SqlState::CANNOT_CONNECT_NOW
                        | SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
                ) && !code.code().starts_with("08")
            }),
            Self::Pool(_) | Self::Silent(_) => false,
            Self::Setting(_) => true,
        }
    }

    /// Whether a row has the key of another one.
    pub(super) fn is_repeated_key(&self) -> bool {
        matches!(self, Self::Client(err) if err.code() == Some(&SqlState::UNIQUE_VIOLATION))
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
