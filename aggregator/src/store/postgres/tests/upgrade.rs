//! A store that an earlier version wrote is brought to the current one with all of its data.

use super::{
    Opened, schema,
    verify::{differences, verified},
    with_database,
};
use crate::store::{
    query::{HistogramQuery, NoHistogram, Review, ReviewQuery, Seen, Visible},
    tests::{
        arrivals::{Arrival, delivery, event, mixed_delivery},
        database::Database,
    },
};

const MINUTE: i64 = 60_000_000;

/// What the current version has that the one before it does not have, for each version from the latest on.
const BACK: [(i64, &str); 3] = [
    (
        3,
        "DROP TABLE repeats, topic_minutes, counted_topics, topic_counting, seen_marks; ALTER TABLE topics DROP COLUMN schema",
    ),
    (
        2,
        "ALTER TABLE store DROP COLUMN copied_from, DROP COLUMN copied_at; ALTER TABLE incarnations DROP COLUMN copied; DROP TABLE copy_progress",
    ),
    (
        1,
        "ALTER TABLE aggregators DROP COLUMN name, DROP COLUMN since",
    ),
];

/// The tables with their columns and indexes.
const TABLES: &str = "SELECT string_agg(line, E'\\n' ORDER BY line) FROM ( \
     SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || coalesce(' ' || column_default, '') AS line \
     FROM information_schema.columns WHERE table_schema = 'public' \
     UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public') lines";

/// Makes the tables of the current version those of an earlier one, which no aggregator uses.
fn go_back(database: &Database, version: i64) {
    for (to, sql) in BACK {
        if to >= version {
            database.sql(sql);
        }
    }
    database.sql(&format!(
        "UPDATE schema_version SET version = {version}; UPDATE aggregators SET alive_until = clock_timestamp()"
    ));
    let fresh = Database::new().unwrap();
    let steps = usize::try_from(version).unwrap();
    for step in &schema::STEPS[..steps] {
        fresh.sql(step);
    }
    fresh.sql(schema::MAKE_VERSION);
    let (found, expected) = (database.sql(TABLES), fresh.sql(TABLES));
    assert_eq!(found, expected, "as version {version} made them");
}

/// Events of two topics in the minute 10, a duplicate, a conflict and a rejected arrival.
async fn fill(database: &Database) {
    let opened = Opened::with_stream(database, 0).await;
    let conflict = Arrival::Event {
        topic: 0,
        id: 1,
        content: 1,
    };
    let mixed = [event(1), event(1), vec![conflict, Arrival::Noise]].concat();
    let other = Arrival::Event {
        topic: 1,
        id: 1,
        content: 0,
    };
    let batch = [mixed_delivery(1, &mixed), delivery(2, &[other])];
    opened.writer.append(&batch, 10 * MINUTE).await.unwrap();
    opened.pass().await;
}

async fn check(database: &Database, version: i64) {
    fill(database).await;
    go_back(database, version);
    let shown = super::schema::run(database, true).await.unwrap();
    assert_eq!((shown.from, shown.to), (version, schema::VERSION));
    assert_eq!(
        database.sql("SELECT version FROM schema_version"),
        version.to_string()
    );
    let script = shown.script();
    assert!(script.contains("CREATE TABLE repeats"), "{script}");
    let opened = Opened::with_stream(database, 2).await;
    assert_eq!(
        super::schema::run(database, true).await.unwrap().script(),
        ""
    );
    let report = verified(database).await;
    assert_eq!(differences(&report), "");
    let stats = opened.reader.stats(9).await.unwrap();
    assert_eq!(
        (
            stats.received,
            stats.unique_processed,
            stats.duplicate_dropped
        ),
        (5, 2, 2)
    );
    assert_eq!(
        (stats.rejected, stats.conflicts, stats.topics_total),
        (1, 1, 2)
    );
    assert_eq!(stats.rejected_seen, Seen::default());
    assert_eq!(stats.applied.floor(), 2);
    // What was not recorded is not known.
    let one = opened.reader.event("t0", "1").await.unwrap().unwrap();
    assert_eq!(one.again, (0, 2));
    let list = async || {
        opened
            .reader
            .duplicates(None, &Visible::default(), 9)
            .await
            .unwrap()
    };
    let listed = list().await;
    assert_eq!(
        (listed.total, listed.since),
        (Some(2), Some(10 * MINUTE + 1))
    );
    assert!(listed.recent.is_empty() && listed.often.is_empty());
    // From now on it is.
    let more = [[event(1), event(2)].concat(), event(2)].concat();
    opened
        .writer
        .append(&[delivery(3, &more)], 12 * MINUTE)
        .await
        .unwrap();
    let one = opened.reader.event("t0", "1").await.unwrap().unwrap();
    assert_eq!(one.again, (1, 3));
    let two = opened.reader.event("t0", "2").await.unwrap().unwrap();
    assert_eq!(two.again, (1, 3), "any of the earlier ones may be of it");
    assert_eq!(list().await.recent.len(), 2);
    let query = |topic: &str| HistogramQuery {
        topics: vec![topic.to_owned()],
        visible: Visible::default(),
        since: 9 * MINUTE,
        until: 13 * MINUTE,
        now: 13 * MINUTE,
    };
    let of_topic = opened
        .reader
        .histogram(&query("t0"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(of_topic.counted_since, Some(10 * MINUTE + 1));
    let counts = of_topic
        .buckets
        .iter()
        .map(|b| (b.at / MINUTE, b.unique, b.duplicates));
    assert_eq!(counts.collect::<Vec<_>>(), [(11, 0, 0), (12, 1, 2)]);
    let idle = opened.reader.histogram(&query("t1")).await.unwrap();
    assert_ne!(idle, Err(NoHistogram::NotCounted));
    let page = opened
        .reader
        .rejected(&ReviewQuery::default(), 9, Vec::new())
        .await
        .unwrap();
    let marked = opened
        .writer
        .seen(Review::Rejected, page.rows[0].id.unsigned_abs());
    assert_eq!(marked.await.unwrap().map(|seen| seen.number), Some(1));
    let report = verified(database).await;
    assert_eq!(differences(&report), "");
}

#[test]
fn a_store_of_version_1_is_upgraded_with_its_data() {
    with_database(async |database| check(&database, 1).await);
}

#[test]
fn a_store_of_version_2_is_upgraded_with_its_data() {
    with_database(async |database| check(&database, 2).await);
}

#[test]
fn a_store_of_version_3_is_upgraded_with_its_data() {
    with_database(async |database| check(&database, 3).await);
}

#[test]
fn a_store_that_aggregators_of_an_earlier_version_use_is_not_upgraded() {
    with_database(async |database| {
        fill(&database).await;
        go_back(&database, 3);
        database.sql("UPDATE aggregators SET alive_until = clock_timestamp() + interval '1 hour'");
        let refused = super::schema::run(&database, false).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("stop all of them"), "{refused}");
        assert_eq!(database.sql("SELECT version FROM schema_version"), "3");
        database.sql("UPDATE aggregators SET alive_until = clock_timestamp()");
        super::schema::run(&database, false).await.unwrap();
    });
}

#[test]
fn a_program_of_version_3_can_count_no_events_after_the_upgrade() {
    with_database(async |database| {
        fill(&database).await;
        let insert = "INSERT INTO topics AS t (topic, writer, unique_processed, duplicate_dropped, digest, first_at, last_at) \
             SELECT topic, writer, 1, 0, 0, 0, 0 FROM topics ON CONFLICT (topic, writer) DO UPDATE SET unique_processed = t.unique_processed + 1";
        let caught = format!(
            "DO $$ BEGIN {insert}; RAISE 'it counted'; EXCEPTION WHEN not_null_violation THEN NULL; END $$"
        );
        database.sql(&caught);
        let report = verified(&database).await;
        assert_eq!(differences(&report), "");
    });
}
