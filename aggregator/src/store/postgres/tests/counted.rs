//! What several aggregators count and mark at once.

use std::sync::Arc;

use super::{
    super::reader::duplicates,
    Opened,
    verify::{differences, verified},
    with_database,
};
use crate::store::{
    StoreError,
    query::{
        Histogram, HistogramQuery, MINUTES_KEPT, NoHistogram, Review, ReviewQuery, Seen,
        TOPICS_KEPT, Visible,
    },
    tests::{
        arrivals::{Arrival, delivery, event, mixed_delivery},
        database::Database,
    },
};

const MINUTE: i64 = 60_000_000;

async fn is_consistent(database: &Database) {
    let report = verified(database).await;
    assert_eq!(differences(&report), "");
}

async fn histogram(
    opened: &Opened,
    topic: &str,
    (since, until): (i64, i64),
) -> Result<Histogram, NoHistogram> {
    let query = HistogramQuery {
        topics: vec![topic.to_owned()],
        visible: Visible::default(),
        since: since * MINUTE,
        until: until * MINUTE,
        now: until * MINUTE,
    };
    opened.reader.histogram(&query).await.unwrap()
}

fn sums(histogram: &Histogram) -> (u64, u64) {
    let buckets = histogram.buckets.iter();
    buckets.fold((0, 0), |(unique, duplicates), bucket| {
        (unique + bucket.unique, duplicates + bucket.duplicates)
    })
}

#[test]
fn aggregators_that_meet_new_topics_at_once_count_the_same_ones() {
    with_database(async |database| {
        let mut tasks = Vec::new();
        for number in 0..3_u8 {
            let opened = Opened::with_stream(&database, 0).await;
            tasks.push(tokio::spawn(async move {
                for round in 0..4_u8 {
                    // Each begins with other topics.
                    let arrivals: Vec<_> = (0..5)
                        .map(|n| Arrival::Event {
                            topic: (number + n + round) % 5,
                            id: round,
                            content: 0,
                        })
                        .collect();
                    let sequence = u64::from(round * 3 + number) + 1;
                    opened.append(&[mixed_delivery(sequence, &arrivals)]).await;
                }
                opened
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap());
        }
        let mut counted = 0;
        for topic in (0..5).map(|topic| format!("t{topic}")) {
            let answers = [
                histogram(&all[0], &topic, (0, 1)).await,
                histogram(&all[2], &topic, (0, 1)).await,
            ];
            assert_eq!(answers[0], answers[1]);
            if let Ok(found) = &answers[0] {
                counted += 1;
                assert_eq!(sums(found), (4, 8));
            }
        }
        assert_eq!(counted, TOPICS_KEPT);
        let listed = all[1]
            .reader
            .duplicates(None, &Visible::default(), 99)
            .await;
        let listed = listed.unwrap();
        assert_eq!((listed.total, listed.recent.len()), (Some(40), 40));
        assert!(
            listed
                .often
                .iter()
                .all(|one| (one.least, one.most) == (2, 2))
        );
        assert_eq!(listed.often.len(), 20);
        is_consistent(&database).await;
    });
}

#[test]
fn only_as_many_duplicates_are_read_as_are_listed_since_a_time() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        // 40 are read in tests.
        for sequence in 1..=30_u64 {
            let again = [event(1), event(1), event(2)].concat();
            let now = i64::try_from(sequence).unwrap();
            opened
                .writer
                .append(&[delivery(sequence, &again)], now)
                .await
                .unwrap();
        }
        let list = async || {
            let listed = opened
                .reader
                .duplicates(None, &Visible::default(), 99)
                .await;
            listed.unwrap()
        };
        let listed = list().await;
        assert_eq!(listed.total, Some(88));
        let since = listed.since.unwrap();
        let covered = u64::try_from(30 - since + 1).unwrap() * 3;
        assert!((30..=40).contains(&covered), "{since}");
        assert_eq!(listed.recent.len() as u64, covered);
        assert!(
            listed
                .recent
                .iter()
                .all(|again| again.processed_at >= since)
        );
        let often: Vec<_> = listed
            .often
            .iter()
            .map(|one| (one.event_id.as_str(), one.least))
            .collect();
        assert_eq!(often, [("1", covered / 3 * 2), ("2", covered / 3)]);
        // Each event's own count is of all of them.
        let one = opened.reader.event("t0", "1").await.unwrap().unwrap();
        assert_eq!(one.again, (59, 59));
        // Of earlier ones only the number may be known.
        database.sql(
            "UPDATE repeats SET topics = NULL, counts = NULL, stored = NULL, places = NULL, sources = NULL WHERE processed_at <= 28; \
             UPDATE topic_counting SET since = 3600000000",
        );
        let listed = list().await;
        assert_eq!((listed.since, listed.recent.len()), (Some(29), 6));
        let one = opened.reader.event("t0", "1").await.unwrap().unwrap();
        assert_eq!(one.again, (4, 86));
        is_consistent(&database).await;
    });
}

#[test]
fn few_rows_of_many_duplicates_are_read_at_once() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        opened.append(&[delivery(1, &event(1))]).await;
        // 10 duplicates are read at once in tests, and 3 rows.
        let numbers = [6, 6, 12, 2, 2, 2, 2];
        for (sequence, number) in (2..).zip(numbers) {
            let again = vec![event(1); number].concat();
            let now = i64::try_from(sequence).unwrap();
            let delivery = delivery(sequence, &again);
            opened.writer.append(&[delivery], now).await.unwrap();
        }
        let client = opened.writer.shared().pool.get().await.unwrap();
        let (mut after, mut pages) = (duplicates::NEWEST, Vec::new());
        loop {
            let rows = duplicates::rows_after(&client, &after).await.unwrap();
            let Some(last) = rows.last() else { break };
            after = (last.get(0), last.get(1), last.get(2));
            let numbers: Vec<i64> = rows.iter().map(|row| row.get(3)).collect();
            pages.push(numbers);
        }
        assert_eq!(pages, [vec![2, 2, 2], vec![2], vec![12], vec![6], vec![6]]);
    });
}

#[test]
fn minutes_that_are_old_are_added_to_their_hour() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        for (sequence, minute) in [(1, 61), (2, 62), (3, 119), (4, 120)] {
            let arrivals = [event(u8::try_from(sequence).unwrap()), event(1)].concat();
            let delivery = delivery(sequence, &arrivals);
            opened
                .writer
                .append(&[delivery], minute * MINUTE)
                .await
                .unwrap();
        }
        opened.pass().await;
        let rows = "SELECT string_agg(minute::text, ' ' ORDER BY minute) FROM topic_minutes";
        assert_eq!(database.sql(rows), "61 62 119 120");
        // The first hour is old by now, and the next is not.
        let now = (MINUTES_KEPT + 120) * MINUTE;
        opened
            .writer
            .append(&[delivery(5, &event(5))], now)
            .await
            .unwrap();
        opened.pass().await;
        assert_eq!(database.sql(rows), format!("60 120 {}", MINUTES_KEPT + 120));
        let found = histogram(&opened, "t0", (0, 120)).await.unwrap();
        assert_eq!(found.window.step_seconds(), 3_600);
        let counts: Vec<_> = found
            .buckets
            .iter()
            .map(|b| (b.unique, b.duplicates))
            .collect();
        assert_eq!(counts, [(0, 0), (3, 3)]);
        // Also what several writers counted in the first minute of an hour.
        database.sql(
            "INSERT INTO topic_minutes SELECT topic, minute, writer + 9, 0, 0 FROM topic_minutes WHERE minute = 60",
        );
        opened.pass().await;
        let rows = "SELECT string_agg(minute || ' ' || writer, ', ' ORDER BY minute) FROM topic_minutes WHERE minute = 60";
        assert_eq!(database.sql(rows), "60 0");
        is_consistent(&database).await;
    });
}

fn noise(sequence: u64) -> crate::store::Delivery {
    delivery(sequence, &[Arrival::Noise])
}

async fn latest(opened: &Opened) -> u64 {
    let query = ReviewQuery::default();
    let page = opened.reader.rejected(&query, 1, Vec::new());
    page.await.unwrap().rows[0].id.unsigned_abs()
}

#[test]
fn rows_are_not_marked_before_which_another_aggregator_may_store_one() {
    with_database(async |database| {
        let [one, other] = [
            Opened::with_stream(&database, 0).await,
            Opened::with_stream(&database, 0).await,
        ];
        one.append(&[noise(1), noise(3)]).await;
        let last = latest(&one).await;
        let marked = one
            .writer
            .seen(Review::Rejected, last)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((marked.number, marked.up_to < last), (1, true));
        // The other one had it in hand.
        other.append(&[noise(2)]).await;
        let stats = other.reader.stats(0).await.unwrap();
        assert_eq!((stats.rejected, stats.rejected_seen), (3, marked));
        let marked = other.writer.seen(Review::Rejected, last).await.unwrap();
        let all = Seen {
            up_to: last,
            number: 3,
        };
        assert_eq!(marked, Some(all));
        assert_eq!(one.reader.stats(0).await.unwrap().rejected_seen, all);
        is_consistent(&database).await;
    });
}

#[test]
fn of_marks_at_once_the_highest_one_is_kept() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        for sequence in 1..=12 {
            opened.append(&[noise(sequence)]).await;
        }
        let query = ReviewQuery::default();
        let page = opened.reader.rejected(&query, 99, Vec::new());
        let ids: Vec<_> = page.await.unwrap().rows.iter().map(|row| row.id).collect();
        let mut tasks = Vec::new();
        for (number, id) in ids.into_iter().enumerate() {
            let writer = if number % 2 == 0 {
                opened.writer.clone()
            } else {
                Opened::at(&database.url()).await.writer
            };
            tasks.push(tokio::spawn(async move {
                let marked = writer.seen(Review::Rejected, id.unsigned_abs()).await;
                (id.unsigned_abs(), marked.unwrap().unwrap())
            }));
        }
        let mut highest = 0;
        for task in tasks {
            let (id, marked) = task.await.unwrap();
            assert!(marked.up_to >= id);
            highest = highest.max(id);
        }
        let seen = opened.reader.stats(0).await.unwrap().rejected_seen;
        assert_eq!((seen.up_to, seen.number), (highest, 12));
        is_consistent(&database).await;
    });
}

#[test]
fn a_batch_that_fails_counts_nothing_of_its_topics_and_duplicates() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        opened.append(&[delivery(1, &event(1))]).await;
        database.sql(
            "CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'on purpose'; END $$; \
             CREATE CONSTRAINT TRIGGER broken AFTER INSERT ON repeats DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION break()",
        );
        let again = [delivery(2, &event(1))];
        let err = opened.writer.append(&again, 1).await.unwrap_err();
        assert!(matches!(err, StoreError::Postgres(_)), "{err}");
        is_consistent(&database).await;
        database.sql("DROP FUNCTION break CASCADE");
        assert_eq!(opened.append(&again).await.duplicates, 1);
        let listed = opened
            .reader
            .duplicates(None, &Visible::default(), 9)
            .await
            .unwrap();
        assert_eq!((listed.total, listed.recent.len()), (Some(1), 1));
        is_consistent(&database).await;
    });
}

#[test]
fn batches_of_one_aggregator_at_once_count_in_rows_of_their_own() {
    with_database(async |database| {
        let opened = Arc::new(Opened::with_stream(&database, 0).await);
        let mut tasks = Vec::new();
        for sequence in 1..=12 {
            let opened = Arc::clone(&opened);
            let arrivals = [event(1), event(2)].concat();
            tasks.push(tokio::spawn(async move {
                opened.append(&[delivery(sequence, &arrivals)]).await
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let found = histogram(&opened, "t0", (0, 1)).await.unwrap();
        assert_eq!(sums(&found), (2, 22));
        is_consistent(&database).await;
    });
}
