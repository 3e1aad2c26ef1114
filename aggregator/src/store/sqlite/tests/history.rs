//! The counts over time: exact for any minutes and hours, through failures, restarts and a clock that jumps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    harness::{
        Arrival, Failure, Store, break_writes, delivery, event, mixed_delivery, repair_writes,
        to_version_5,
    },
    verify::{differences, verify},
};
use crate::store::query::{
    Bucket, Histogram, HistogramQuery, MICROS_PER_MINUTE, Review, Seen, TOPICS_KEPT, TopicQuery,
    Visible, Window,
};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 60 * MICROS_PER_MINUTE;
const DAY: i64 = 24 * HOUR;

/// Some time after 1970, so that windows begin after it too.
const START: i64 = 20_000 * DAY + 17 * SECOND;

/// Stored events, duplicates and rejected arrivals.
type Counts = (u64, u64, u64);

/// The counts of all topics and of each, after each change.
#[derive(Debug, Default)]
struct Log(Vec<(i64, Counts, BTreeMap<String, Counts>)>);

impl Log {
    /// Notes the store's present counts.
    fn note(&mut self, store: &Store) {
        let stats = store.stats();
        let topics = store
            .runtime
            .block_on(store.reader().topics(TopicQuery::default(), 1_000));
        let topics = topics.unwrap().topics.into_iter();
        let of = |topic: &crate::store::query::TopicCounts| {
            (topic.unique_processed, topic.duplicate_dropped, 0)
        };
        self.0.push((
            stats.processed_at,
            (
                stats.unique_processed,
                stats.duplicate_dropped,
                stats.rejected,
            ),
            topics
                .map(|topic| (topic.name.clone(), of(&topic)))
                .collect(),
        ));
    }

    /// The counts before a time, of these topics or of all.
    fn before(&self, time: i64, selected: &[&str]) -> Counts {
        let earlier = self.0.iter().rev().find(|(at, ..)| *at < time);
        let Some((_, all, topics)) = earlier else {
            return Counts::default();
        };
        if selected.is_empty() {
            return *all;
        }
        let counts = selected.iter().filter_map(|topic| topics.get(*topic));
        counts.fold(Counts::default(), |sum, counts| {
            (sum.0 + counts.0, sum.1 + counts.1, sum.2 + counts.2)
        })
    }

    fn buckets(&self, window: Window, topics: &[&str]) -> Vec<Bucket> {
        let bounds: Vec<_> = window
            .bounds()
            .map(|minute| minute * MICROS_PER_MINUTE)
            .collect();
        let bucket = |pair: &[i64]| {
            let (from, to) = (self.before(pair[0], topics), self.before(pair[1], topics));
            Bucket {
                at: pair[0],
                unique: to.0 - from.0,
                duplicates: to.1 - from.1,
                rejected: to.2 - from.2,
            }
        };
        bounds.windows(2).map(bucket).collect()
    }

    /// Compares what the store counted over several spans of time with this log.
    fn check(&self, store: &Store) {
        let now = store.now;
        for span in [
            5 * MICROS_PER_MINUTE,
            2 * HOUR,
            DAY,
            7 * DAY - MICROS_PER_MINUTE,
            60 * DAY,
        ] {
            // Up to now, and wholly in the past.
            for until in [now, now - span / 2] {
                for topics in [
                    &[][..],
                    &["t0"],
                    &["t1"],
                    &["never"],
                    &["t0", "never", "t1"],
                ] {
                    let histogram = histogram(store, topics, now - span, until).unwrap();
                    let expected = self.buckets(histogram.window, topics);
                    assert_eq!(histogram.buckets, expected, "{span} {until} {topics:?}");
                }
            }
        }
        for (topic, received) in recent(store) {
            let buckets = self.buckets(Window::last_minutes(30, now), &[&topic]);
            let expected = buckets
                .iter()
                .map(|bucket| bucket.unique + bucket.duplicates);
            assert_eq!(received, expected.collect::<Vec<_>>(), "{topic}");
        }
    }
}

/// The histogram of a span of time, if there is one.
fn histogram(store: &Store, topics: &[&str], since: i64, until: i64) -> Option<Histogram> {
    let query = HistogramQuery {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        visible: Visible::default(),
        since,
        until,
        now: store.now,
    };
    let histogram = store.reader().histogram(query);
    store.runtime.block_on(histogram).unwrap().ok()
}

/// The events of each topic in the last 30 minutes before the store's time.
fn recent(store: &Store) -> BTreeMap<String, Vec<u64>> {
    let query = TopicQuery {
        recent: Some(Window::last_minutes(30, store.now)),
        ..TopicQuery::default()
    };
    let page = store.runtime.block_on(store.reader().topics(query, 10));
    let topics = page.unwrap().topics.into_iter();
    topics.map(|topic| (topic.name, topic.recent)).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Arrival>),
    Fail(Failure, Vec<Arrival>),
    Restart,
}

fn step() -> impl Strategy<Value = (i64, Step)> {
    let arrival = prop_oneof![
        6 => (0u8..2, 0u8..9).prop_map(|(topic, id)| Arrival::Event { topic, id, content: 0 }),
        1 => Just(Arrival::Noise),
    ];
    let arrivals = prop::collection::vec(arrival, 1..5).boxed();
    let failure = prop_oneof![Just(Failure::Middle), Just(Failure::Commit)];
    let step = prop_oneof![
        8 => arrivals.clone().prop_map(Step::Append),
        2 => (failure, arrivals).prop_map(|(failure, arrivals)| Step::Fail(failure, arrivals)),
        1 => Just(Step::Restart),
    ];
    let pause = prop_oneof![
        1 => Just(0),
        // The clock is set back.
        1 => -7 * DAY..0,
        4 => 0..2 * MICROS_PER_MINUTE,
        2 => 0..3 * HOUR,
        1 => 0..9 * DAY,
    ];
    (pause, step)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_counts_of_every_minute_and_hour_are_exact(steps in prop::collection::vec(step(), 1..25)) {
        let mut store = Store::new();
        store.now = START;
        store.meet(1, 1, 0);
        let mut log = Log::default();
        let mut sequence = 0;
        for (pause, step) in steps {
            store.now += pause;
            match step {
                Step::Append(arrivals) => {
                    sequence += 1;
                    store.append(&[delivery(sequence, &arrivals)]).unwrap();
                }
                Step::Fail(failure, arrivals) => {
                    sequence += 1;
                    let batch = [delivery(sequence, &arrivals)];
                    break_writes(&store.raw_connection(), failure);
                    prop_assert!(store.append(&batch).is_err());
                    repair_writes(&store.raw_connection());
                    store.append(&batch).unwrap();
                    // A redelivery changes nothing, whenever it arrives.
                    store.now += HOUR;
                    store.append(&batch).unwrap();
                }
                Step::Restart => {
                    store.reopen();
                    store.meet(1, 1, sequence);
                }
            }
            log.note(&store);
        }
        log.check(&store);
        store.close();
        prop_assert_eq!(differences(&verify(&store)), "");
    }
}

#[test]
fn minutes_are_deleted_after_seven_days_and_hours_stay() {
    let mut store = Store::new();
    store.now = START;
    store.meet(1, 1, 0);
    let mut log = Log::default();
    for sequence in 1..=10 {
        store.now += DAY + 90 * SECOND;
        store
            .append(&[delivery(sequence.into(), &event(sequence))])
            .unwrap();
        log.note(&store);
    }
    let rows = |step: i64| -> u64 {
        let sql = "SELECT count(*) FROM history WHERE topic_id > 0 AND step = ?1";
        let count = store
            .raw_connection()
            .query_row(sql, [step], |row| row.get(0));
        count.unwrap()
    };
    // The last one is not closed yet.
    assert_eq!((rows(1), rows(60)), (7, 9));
    log.check(&store);
}

#[test]
fn the_history_of_a_migrated_store_begins_with_the_next_minute() {
    let mut store = Store::new();
    store.now = START;
    store.meet(1, 1, 0);
    store.append(&[delivery(1, &event(1))]).unwrap();
    store.close();
    let file = store.raw_connection();
    to_version_5(&file);
    file.execute_batch(
        "DROP TABLE history; \
             ALTER TABLE store DROP COLUMN history_since; \
             ALTER TABLE counters DROP COLUMN rejected_seen; \
             ALTER TABLE counters DROP COLUMN conflicts_seen; \
             PRAGMA user_version = 4;",
    )
    .unwrap();
    store.now += 90 * SECOND;
    store.reopen();
    store.meet(1, 1, 1);
    let since = (store.now / MICROS_PER_MINUTE + 1) * MICROS_PER_MINUTE;
    store.append(&[delivery(2, &event(2))]).unwrap();
    store.now = since + SECOND;
    store
        .append(&[delivery(3, &event(3)), delivery(4, &event(3))])
        .unwrap();
    let half_day = histogram(&store, &[], START - DAY / 2, store.now).unwrap();
    assert_eq!(half_day.window.step_seconds(), 10 * 60);
    assert_eq!(
        half_day.buckets,
        [],
        "the last bucket began before the history"
    );
    let span = 5 * MICROS_PER_MINUTE;
    let minutes = histogram(&store, &[], store.now - span, store.now).unwrap();
    assert_eq!(minutes.counted_since, Some(since));
    let expected = Bucket {
        at: since,
        unique: 1,
        duplicates: 1,
        rejected: 0,
    };
    assert_eq!(minutes.buckets, [expected]);
    let of_topic = histogram(&store, &["t0"], since, store.now).unwrap();
    assert_eq!(of_topic.buckets, [expected]);
    // Not the events before the migration, whose minutes are not known.
    let received = recent(&store).remove("t0").unwrap();
    assert_eq!(received.iter().sum::<u64>(), 2, "{received:?}");
    assert_eq!(histogram(&store, &[], since, since), None);
}

#[test]
fn what_has_been_seen_survives_a_restart_and_is_never_lowered() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    store
        .append(&[delivery(
            1,
            &[Arrival::Noise, Arrival::Noise, Arrival::Noise],
        )])
        .unwrap();
    let see = |store: &Store, rows, upto| {
        store
            .runtime
            .block_on(store.writer().seen(rows, upto))
            .unwrap()
    };
    let two = Seen {
        up_to: 2,
        number: 2,
    };
    assert_eq!(see(&store, Review::Rejected, 2), Some(two));
    assert_eq!(see(&store, Review::Rejected, 1), Some(two));
    assert_eq!(see(&store, Review::Rejected, 4), None);
    assert_eq!(see(&store, Review::Conflicts, 1), None);
    store.reopen();
    let stats = store.stats();
    assert_eq!(
        (stats.rejected_seen, stats.conflicts_seen),
        (two, Seen::default())
    );
}

#[test]
fn the_disk_lasts_as_long_as_the_events_of_the_last_day_suggest() {
    let mut store = Store::new();
    store.now = START;
    store.meet(1, 1, 0);
    store
        .append(&[delivery(1, &event(1)), delivery(2, &event(2))])
        .unwrap();
    store.now += 2 * DAY;
    store
        .append(&[delivery(3, &event(3)), delivery(4, &event(1))])
        .unwrap();
    let disk = store.runtime.block_on(store.reader().disk(store.now));
    let disk = disk.unwrap().unwrap();
    assert_eq!((disk.stored, disk.stored_lately), (3, 1));
    assert_eq!(disk.duplicates_lately, 1);
    assert!(disk.used > 0 && disk.free > 0);
    assert_eq!(disk.lately.as_secs(), 24 * 3_600 + 60);
}

#[test]
fn only_the_first_topics_are_counted_over_time() {
    let mut store = Store::new();
    store.now = START;
    store.meet(1, 1, 0);
    let arrivals: Vec<_> = (0..=u8::try_from(TOPICS_KEPT).unwrap())
        .map(|topic| Arrival::Event {
            topic,
            id: 1,
            content: 0,
        })
        .collect();
    store.append(&[mixed_delivery(1, &arrivals)]).unwrap();
    store.now += 2 * MICROS_PER_MINUTE;
    store.append(&[mixed_delivery(2, &arrivals)]).unwrap();
    let sql = "SELECT max(topic_id) FROM history";
    let last: i64 = store
        .raw_connection()
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    assert_eq!(last, TOPICS_KEPT);
    for (topic, received) in recent(&store) {
        let is_counted = topic != format!("t{TOPICS_KEPT}");
        assert_eq!(!received.is_empty(), is_counted, "{topic}");
        let since = store.now - HOUR;
        let histogram = histogram(&store, &[&topic], since, store.now);
        assert_eq!(histogram.is_some(), is_counted, "{topic}");
    }
    assert_eq!(differences(&verify(&store)), "");
}
