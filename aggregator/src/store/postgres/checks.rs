//! What a database must be set to, checked for each connection: with other settings, what was acked could be lost.

use std::time::Instant;

use tokio_postgres::{Client, Row};

use super::{connect::Pool, error::DatabaseError};
use crate::clock::Clock;

/// The oldest supported version, as `server_version_num` gives it.
const OLDEST: i32 = 140_000;

/// Checks the server's settings.
pub(super) async fn run(pool: &Pool) -> Result<(), DatabaseError> {
    let client = pool.get().await?;
    of(&client).await
}

/// Checks the server's settings, and reads its clock.
pub(super) async fn run_with_clock(pool: &Pool, clock: &Clock) -> Result<(), DatabaseError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(SETTINGS).await?;
    let asked = Instant::now();
    let row = client.query_one(&statement, &[]).await?;
    clock.read(row.get(TIME), asked);
    of_row(&row)
}

/// The settings of a connection, and the server's time; NULL for settings that the database does not have.
pub(super) const SETTINGS: &str = "SELECT current_setting('server_version_num', true), current_setting('fsync', true), \
     current_setting('full_page_writes', true), current_setting('synchronous_commit', true), \
     current_setting('server_encoding', true), current_setting('default_transaction_read_only', true), \
     (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The column with the time.
const TIME: usize = 6;

/// Checks the server's settings as a connection has them.
pub(super) async fn of(client: &Client) -> Result<(), DatabaseError> {
    of_row(&client.query_one(SETTINGS, &[]).await?)
}

/// Checks the row that [`SETTINGS`] returns.
pub(super) fn of_row(row: &Row) -> Result<(), DatabaseError> {
    let setting = |column: usize| row.get::<_, Option<String>>(column);
    let settings = Settings {
        version: setting(0).and_then(|version| version.parse().ok()),
        fsync: setting(1),
        full_page_writes: setting(2),
        synchronous_commit: setting(3),
        encoding: setting(4),
        read_only: setting(5),
    };
    settings.check().map_err(DatabaseError::Setting)
}

/// As the server reports them; `None` for a setting that it does not have.
#[derive(Debug, Clone, Default)]
struct Settings {
    version: Option<i32>,
    fsync: Option<String>,
    full_page_writes: Option<String>,
    synchronous_commit: Option<String>,
    encoding: Option<String>,
    read_only: Option<String>,
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        let Self {
            version,
            fsync,
            full_page_writes,
            synchronous_commit,
            encoding,
            read_only,
        } = self;
        if let Some(version) = version.filter(|version| *version < OLDEST) {
            return Err(format!(
                "the server has version {}; at least PostgreSQL {} is needed",
                version / 10_000,
                OLDEST / 10_000
            ));
        }
        let is = |setting: &Option<String>, allowed: &[&str]| {
            setting
                .as_deref()
                .is_none_or(|value| allowed.contains(&value))
        };
        let lost = "what was acked could be lost; set it to on";
        if !is(fsync, &["on"]) {
            return Err(format!("fsync is off in the database: {lost}"));
        }
        if !is(full_page_writes, &["on"]) {
            return Err(format!("full_page_writes is off in the database: {lost}"));
        }
        if !is(synchronous_commit, &["on", "remote_apply"]) {
            let value = synchronous_commit.as_deref().unwrap_or_default();
            return Err(format!(
                "synchronous_commit is {value} for this user or database: {lost} or remote_apply"
            ));
        }
        if !is(encoding, &["UTF8"]) {
            return Err(
                "the database's encoding is not UTF8; create it with ENCODING 'UTF8'".to_owned(),
            );
        }
        if !is(read_only, &["off"]) {
            return Err(
                "default_transaction_read_only is on in the database; name the primary in --store"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe() -> Settings {
        let on = || Some("on".to_owned());
        Settings {
            version: Some(150_018),
            fsync: on(),
            full_page_writes: on(),
            synchronous_commit: on(),
            encoding: Some("UTF8".to_owned()),
            read_only: Some("off".to_owned()),
        }
    }

    #[test]
    fn settings_with_which_a_commit_may_be_lost_are_refused_by_name() {
        safe().check().unwrap();
        Settings::default().check().unwrap();
        let text = |text: &str| Some(text.to_owned());
        for (settings, name) in [
            (
                Settings {
                    fsync: text("off"),
                    ..safe()
                },
                "fsync",
            ),
            (
                Settings {
                    full_page_writes: text("off"),
                    ..safe()
                },
                "full_page_writes",
            ),
            (
                Settings {
                    synchronous_commit: text("off"),
                    ..safe()
                },
                "synchronous_commit",
            ),
            (
                Settings {
                    synchronous_commit: text("local"),
                    ..safe()
                },
                "synchronous_commit",
            ),
            (
                Settings {
                    synchronous_commit: text("remote_write"),
                    ..safe()
                },
                "synchronous_commit",
            ),
            (
                Settings {
                    encoding: text("SQL_ASCII"),
                    ..safe()
                },
                "encoding",
            ),
            (
                Settings {
                    read_only: text("on"),
                    ..safe()
                },
                "read_only",
            ),
            (
                Settings {
                    version: Some(130_014),
                    ..safe()
                },
                "version 13",
            ),
        ] {
            let err = settings.check().unwrap_err();
            assert!(err.contains(name), "{err}");
        }
    }
}
