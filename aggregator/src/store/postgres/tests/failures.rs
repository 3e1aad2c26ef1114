//! What the database reports when it fails: counted by reason, and said with what to do.

use super::{Opened, with_database};
use crate::store::{
    postgres::connect::Pool,
    tests::{
        arrivals::{delivery, event, stream},
        database::Database,
    },
};

/// Lets the first `times` writes of counters fail with this code.
fn fail(database: &Database, code: &str, times: u32) {
    fail_at("counters", database, code, times);
}

/// Lets the first `times` inserts into a table fail with this code.
fn fail_at(table: &str, database: &Database, code: &str, times: u32) {
    database.sql(&format!(
        "DROP SEQUENCE IF EXISTS failures CASCADE; CREATE SEQUENCE failures; GRANT ALL ON SEQUENCE failures TO PUBLIC; \
         CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('failures') <= {times} THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$; \
         CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fail()"
    ));
}

#[test]
fn failed_attempts_are_counted_by_reason_and_repeated() {
    with_database(async |database| {
        failing_at("counters", &database).await;
    });
}

#[test]
fn the_first_failure_of_statements_that_are_sent_together_is_the_reason() {
    with_database(async |database| {
        failing_at("applied", &database).await;
    });
}

/// Appends while the first inserts into a table fail.
async fn failing_at(table: &str, database: &Database) {
    let opened = Opened::with_stream(database, 0).await;
    let mut sequence = 0;
    // The writes of counters are sent together with COMMIT.
    let lost = match table {
        "counters" => "commit_unknown",
        _ => "connection",
    };
    for (code, name) in [
        ("40P01", "deadlock"),
        ("40001", "serialization"),
        ("55P03", "lock_timeout"),
        ("57014", "statement_timeout"),
        ("08006", lost),
    ] {
        fail_at(table, database, code, 2);
        sequence += 1;
        let batch = [delivery(sequence, &event(u8::try_from(sequence).unwrap()))];
        assert_eq!(opened.append(&batch).await.unique, 1, "{code}");
        let counted = opened.reader.failures();
        assert!(counted.contains(&(name, 2)), "{code}: {counted:?}");
    }
    // These last longer: the caller tries again.
    for (code, name) in [("53100", "disk_full"), ("XX000", "other")] {
        fail_at(table, database, code, 1);
        sequence += 1;
        let batch = [delivery(sequence, &event(u8::try_from(sequence).unwrap()))];
        opened.writer.append(&batch, 1).await.unwrap_err();
        assert_eq!(opened.append(&batch).await.unique, 1, "{code}");
        let counted = opened.reader.failures();
        assert!(counted.contains(&(name, 1)), "{code}: {counted:?}");
    }
    let all: u64 = opened.reader.failures().iter().map(|(_, n)| n).sum();
    assert_eq!(all, 12, "and nothing else");
}

/// Ends all connections to the database except that of the test.
fn end_connections(database: &Database) {
    database.sql(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
}

#[test]
fn what_fails_and_what_to_do_is_said() {
    with_database(async |database| {
        // A user of this test's own, whose rights it takes away.
        let name = database.sql("SELECT current_database()");
        let user = format!("user_of_{name}");
        database.sql(&format!(
            "CREATE ROLE {user} LOGIN; ALTER DATABASE {name} OWNER TO {user}"
        ));
        let url = database.url().replace("//postgres@", &format!("//{user}@"));
        let opened = Opened::at(&url).await;
        let error = async || opened.reader.stats(0).await.unwrap_err().to_string();
        for (fails, works, expected) in [
            (
                format!("ALTER ROLE {user} NOLOGIN"),
                format!("ALTER ROLE {user} LOGIN"),
                [
                    "authentication failed: ",
                    "not permitted to log in",
                    "(28000)",
                    "pg_hba.conf",
                ],
            ),
            (
                format!("ALTER ROLE {user} CONNECTION LIMIT 0"),
                format!("ALTER ROLE {user} CONNECTION LIMIT -1"),
                [
                    "too many connections: ",
                    "for role",
                    "(53300)",
                    "raise max_connections",
                ],
            ),
            (
                format!("ALTER DATABASE {name} CONNECTION LIMIT 0"),
                format!("ALTER DATABASE {name} CONNECTION LIMIT -1"),
                [
                    "too many connections: ",
                    "for database",
                    "(53300)",
                    "of the user or the database",
                ],
            ),
            (
                format!("ALTER ROLE {user} SET default_transaction_read_only = on"),
                format!("ALTER ROLE {user} RESET default_transaction_read_only"),
                [
                    "a standby or read-only: ",
                    "does not allow writes",
                    "name the primary",
                    "promote",
                ],
            ),
            (
                format!("ALTER ROLE {user} SET synchronous_commit = local"),
                format!("ALTER ROLE {user} RESET synchronous_commit"),
                [
                    "synchronous_commit is local",
                    "for this user",
                    "could be lost",
                    "set it to on",
                ],
            ),
        ] {
            database.sql(&fails);
            end_connections(&database);
            let found = error().await;
            for part in expected {
                assert!(found.contains(part), "{fails}: {found}");
            }
            database.sql(&works);
            opened.reader.stats(0).await.unwrap();
        }
        fail(&database, "53100", 1);
        let batch = [delivery(1, &event(1))];
        opened.writer.meet(&stream(1, 0).into(), 0).await.unwrap();
        let full = opened
            .writer
            .append(&batch, 1)
            .await
            .unwrap_err()
            .to_string();
        for part in ["disk full: ", "(53100)", "free space"] {
            assert!(full.contains(part), "{full}");
        }
    });
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // Bound, and never listened at.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let url = format!("postgres://user@{address}/events");
        let err = Pool::of(&url.parse().unwrap()).get().await.err().unwrap();
        let text = err.to_string();
        for part in ["no connection: ", "refused", "--store"] {
            assert!(text.contains(part), "{text}");
        }
    });
}
