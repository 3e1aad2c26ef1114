//! `store init`: what it shows is what it does, on a plain database and on one with a stand-in for Citus.

pub(super) use super::super::schema::{MAKE_VERSION, STEPS, VERSION};
use super::{super::schema::init, Address, Opened, with_database};
use crate::store::{
    SchemaChange, StoreError,
    tests::{
        arrivals::{delivery, event},
        database::Database,
    },
};

const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";

pub async fn run(database: &Database, is_dry: bool) -> Result<SchemaChange, StoreError> {
    let address: Address = database.url().parse().unwrap();
    let mut shown = Vec::new();
    init(&address, 0, is_dry, &mut |change| {
        shown.push((change.from, change.to, change.statements.clone()));
    })
    .await?;
    assert_eq!(shown.len(), 1, "it is shown once");
    let (from, to, statements) = shown.remove(0);
    Ok(SchemaChange {
        from,
        to,
        statements,
    })
}

/// What Citus offers, with its rule for unique keys: the distribution is only noted.
const CITUS: &str = "\
CREATE TABLE pg_dist_partition (logicalrel regclass);
CREATE TABLE calls (number serial, call text);
CREATE FUNCTION create_distributed_table(t regclass, c text, colocate_with text DEFAULT 'default') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = t AND i.indisunique AND NOT EXISTS
      (SELECT 1 FROM pg_attribute a WHERE a.attrelid = t AND a.attname = c AND a.attnum = ANY (i.indkey))) THEN
    RAISE EXCEPTION 'a unique key of % does not contain %', t, c;
  END IF;
  INSERT INTO pg_dist_partition VALUES (t);
  INSERT INTO calls (call) VALUES (t || ' by ' || c || ' with ' || colocate_with);
END $$;
CREATE FUNCTION create_reference_table(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO pg_dist_partition VALUES (t);
  INSERT INTO calls (call) VALUES (t || ' on all nodes');
END $$;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) VALUES (99999, 'citus', 10, 11, false, '0');";

const CALLS: &str = "SELECT string_agg(call, ', ' ORDER BY number) FROM calls";

const EXPECTED: &str = "store on all nodes, incarnations on all nodes, passed on all nodes, missing on all nodes, \
     events by fingerprint with none, conflicts by fingerprint with events, applied by sequence with none, \
     rejected by place with none, topics by topic with none, counters by writer with none, minutes by writer with counters, \
     topic_minutes by topic with topics, repeats by writer with counters";

#[test]
fn a_dry_run_shows_the_statements_and_changes_nothing() {
    with_database(async |database| {
        let change = run(&database, true).await.unwrap();
        assert_eq!(change.from, 0);
        assert_eq!(database.sql(TABLES), "0");
        // Without Citus nothing is distributed, and what is shown can be run as it is.
        let script = change.script();
        assert!(!script.contains("create_distributed_table"), "{script}");
        database.sql(&script);
        assert_eq!(
            run(&database, false).await.unwrap().script(),
            "",
            "nothing is left to do"
        );
        let opened = Opened::with_stream(&database, 1).await;
        assert_eq!(opened.append(&[delivery(1, &event(1))]).await.unique, 1);
    });
}

#[test]
fn of_several_at_once_one_makes_the_tables() {
    with_database(async |database| {
        let (one, other, third) = tokio::join!(
            run(&database, false),
            run(&database, false),
            run(&database, false),
        );
        let changes = [one, other, third].map(Result::unwrap);
        let made = changes.iter().filter(|change| !change.is_empty());
        assert_eq!(made.count(), 1);
        let opened = Opened::at(&database.url()).await;
        assert_eq!(
            opened.writer.store_id(),
            database.sql("SELECT store_id FROM store")
        );
        database.sql("UPDATE schema_version SET version = 99");
        for is_dry in [true, false] {
            let err = run(&database, is_dry).await.unwrap_err();
            assert!(matches!(err, StoreError::Newer { found: 99, .. }), "{err}");
        }
    });
}

#[test]
fn with_citus_each_table_is_distributed_by_a_column_of_its_unique_keys() {
    with_database(async |database| {
        database.sql(CITUS);
        let shown = run(&database, true).await.unwrap();
        assert_eq!(database.sql(CALLS), "");
        let done = run(&database, false).await.unwrap();
        assert_eq!(shown, done);
        assert_eq!(database.sql(CALLS), EXPECTED);
        assert!(run(&database, false).await.unwrap().is_empty());
        let opened = Opened::with_stream(&database, 1).await;
        assert_eq!(opened.append(&[delivery(1, &event(1))]).await.unique, 1);
    });
}

#[test]
fn tables_that_were_made_before_citus_are_distributed_by_the_command_and_not_at_a_start() {
    with_database(async |database| {
        drop(Opened::at(&database.url()).await);
        database.sql(CITUS);
        drop(Opened::at(&database.url()).await);
        assert_eq!(database.sql(CALLS), "");
        let change = run(&database, false).await.unwrap();
        assert_eq!(change.from, change.to);
        assert_eq!(database.sql(CALLS), EXPECTED);
    });
}

#[test]
fn an_aggregator_distributes_the_tables_that_it_makes() {
    with_database(async |database| {
        database.sql(CITUS);
        drop(Opened::at(&database.url()).await);
        assert_eq!(database.sql(CALLS), EXPECTED);
    });
}

#[test]
fn after_it_an_aggregator_needs_no_right_to_create_tables() {
    with_database(async |database| {
        run(&database, false).await.unwrap();
        let name = database.sql("SELECT current_database()");
        // PostgreSQL 14 still lets every user create tables.
        database.sql(&format!(
            "CREATE ROLE service_of_{name} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO service_of_{name}"
        ));
        let url = database
            .url()
            .replace("postgres@", &format!("service_of_{name}@"));
        let opened = Opened::at(&url).await;
        let stream = crate::store::tests::arrivals::stream(1, 1);
        opened.writer.meet(&stream.into(), 0).await.unwrap();
        assert_eq!(opened.append(&[delivery(1, &event(1))]).await.unique, 1);
        opened.pass().await;
        assert_eq!(opened.writer.standing().floor, 1);
    });
}
