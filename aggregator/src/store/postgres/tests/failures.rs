//! What the database reports when it fails: counted by reason.

use super::{Opened, with_database};
use crate::store::tests::{
    arrivals::{delivery, event},
    database::Database,
};

/// Lets the first `times` writes of counters fail with this code.
fn fail(database: &Database, code: &str, times: u32) {
    database.sql(&format!(
        "DROP SEQUENCE IF EXISTS failures CASCADE; CREATE SEQUENCE failures; GRANT ALL ON SEQUENCE failures TO PUBLIC; \
         CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('failures') <= {times} THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$; \
         CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON counters FOR EACH ROW EXECUTE FUNCTION fail()"
    ));
}

#[test]
fn failed_attempts_are_counted_by_reason_and_repeated() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        let mut sequence = 0;
        for (code, name) in [
            ("40P01", "deadlock"),
            ("40001", "serialization"),
            ("55P03", "lock_timeout"),
            ("57014", "statement_timeout"),
            ("08006", "connection"),
        ] {
            fail(&database, code, 2);
            sequence += 1;
            let batch = [delivery(sequence, &event(u8::try_from(sequence).unwrap()))];
            assert_eq!(opened.append(&batch).await.unique, 1, "{code}");
            let counted = opened.reader.failures();
            assert!(counted.contains(&(name, 2)), "{code}: {counted:?}");
        }
        // These last longer: the caller tries again.
        for (code, name) in [("53100", "disk_full"), ("XX000", "other")] {
            fail(&database, code, 1);
            sequence += 1;
            let batch = [delivery(sequence, &event(u8::try_from(sequence).unwrap()))];
            opened.writer.append(&batch, 1).await.unwrap_err();
            assert_eq!(opened.append(&batch).await.unique, 1, "{code}");
            let counted = opened.reader.failures();
            assert!(counted.contains(&(name, 1)), "{code}: {counted:?}");
        }
        let all: u64 = opened.reader.failures().iter().map(|(_, n)| n).sum();
        assert_eq!(all, 12, "and nothing else");
    });
}
