//! Pages of tables with many rows: each ends, and together they have every row once.

use std::time::Duration;

use tokio::time::timeout;

use super::{Opened, with_database};
use crate::store::{
    query::{ReviewQuery, TopicQuery, TopicSort},
    tests::database::Database,
};

const TOPICS: usize = 5_000;

fn fill(database: &Database) {
    database.sql(
        "INSERT INTO topics SELECT convert_to('topic-' || lpad(g::text, 5, '0'), 'UTF8'), g % 2, g, 0, 0, 0, 0, 4 FROM generate_series(1, 5000) g",
    );
}

#[test]
fn pages_of_many_topics_end_and_have_each_once() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        fill(&database);
        let mut query = TopicQuery::default();
        let mut names = Vec::new();
        loop {
            let page = timeout(Duration::from_secs(60), opened.reader.topics(&query, 700));
            let page = page.await.expect("it ends").unwrap();
            assert_eq!(page.total, Some(TOPICS as u64));
            names.extend(page.topics.into_iter().map(|topic| topic.name));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(names.len(), TOPICS);
        assert!(names.is_sorted_by(|one, other| one < other));
    });
}

#[test]
fn topics_in_other_orders_are_those_at_the_end() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        fill(&database);
        for sort in [TopicSort::Name, TopicSort::Unique] {
            for contains in ["", "topic-0497"] {
                let query = TopicQuery {
                    sort,
                    is_descending: true,
                    contains: contains.to_owned(),
                    ..TopicQuery::default()
                };
                let page = opened.reader.topics(&query, 30).await.unwrap();
                let names: Vec<_> = page.topics.into_iter().map(|topic| topic.name).collect();
                // A filtered page reads fewer rows than the topics here.
                let expected = (4_951..=5_000)
                    .rev()
                    .map(|topic| format!("topic-{topic:05}"));
                let expected = expected.filter(|name| name.contains(contains));
                let expected: Vec<_> = expected.take(30).collect();
                assert_eq!(names, expected, "{sort:?} {contains}");
            }
        }
    });
}

#[test]
fn pages_of_many_rejected_arrivals_have_each_once() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        database.sql(
            "INSERT INTO rejected (place, incarnation, stream_sequence, position, reason, detail, subject, processed_at, body) \
             SELECT g, 1, g, 0, 'invalid', '', '', g, '' FROM generate_series(1, 300) g",
        );
        for (since, limit) in [(None, 77), (Some(101), 9)] {
            let mut query = ReviewQuery {
                since,
                ..ReviewQuery::default()
            };
            let mut ids = Vec::new();
            loop {
                let page = opened.reader.rejected(&query, limit, Vec::new());
                let page = page.await.unwrap();
                assert!(page.rows.len() <= limit);
                ids.extend(page.rows.into_iter().map(|rejected| rejected.id));
                query.before = page.next;
                if query.before.is_none() {
                    break;
                }
            }
            let expected: Vec<i64> = (since.unwrap_or(1)..=300).rev().collect();
            assert_eq!(ids, expected);
        }
    });
}
