//! Verification of a store with more topics than fit into the cache: the report does not depend on the cache.

use super::{
    harness::{Store, change, delivery},
    verify::{check, compare_with, differences, event, stream},
};
use crate::store::{
    Access, Delivery, Verification,
    verify::{Report, Verdict},
};

const TOPICS: u8 = 40;

/// Events per topic: enough for a mark along its chain.
const ROUNDS: u8 = 9;

/// One event of each topic in turn, so that events of all other topics lie between two events of one topic. Each event is
/// repeated with the next one of its topic.
fn messages() -> Vec<Delivery> {
    let rounds = (0..ROUNDS).flat_map(|round| (0..TOPICS).map(move |topic| (round, topic)));
    let arrivals = rounds.map(|(round, topic)| match round {
        0 => vec![event(topic, 0, 0)],
        _ => vec![event(topic, round, 0), event(topic, round - 1, 0)],
    });
    (1..)
        .zip(arrivals)
        .map(|(sequence, arrivals)| delivery(sequence, &arrivals))
        .collect()
}

/// A closed store with these messages, changed by `sql`.
fn store(sql: &str) -> Store {
    let mut store = Store::new();
    store.meet(1, 1, 6);
    store.append(&messages()).unwrap();
    store.close();
    change(&store.raw_connection(), sql);
    store
}

/// The report of a verification with at most `cached` topics in memory.
fn report(store: &Store, cached: usize) -> Report {
    let stream = Some(stream());
    let verification =
        Verification::begin_with(store.path(), Access::Alone, stream, cached).unwrap();
    compare_with(verification, &messages(), 6)
}

#[test]
fn a_store_with_more_topics_than_the_cache_is_consistent_in_every_check() {
    let store = store("");
    let all = usize::from(TOPICS);
    for cached in [1, 7, all - 1, all, all + 1] {
        let report = report(&store, cached);
        assert_eq!(differences(&report), "", "{cached}");
        for check in &report.checks {
            assert_eq!(check.verdict, Verdict::Ok, "{cached}: {check:?}");
            assert_eq!(check.expected, check.found, "{cached}: {check:?}");
        }
        for (name, found) in [
            ("topics whose events", u64::from(TOPICS)),
            ("topics whose digest", u64::from(TOPICS)),
            ("events", u64::from(TOPICS) * u64::from(ROUNDS)),
            (
                "duplicates, summed",
                u64::from(TOPICS) * u64::from(ROUNDS - 1),
            ),
        ] {
            assert_eq!(check(&report, name).found, Some(found), "{cached}: {name}");
        }
    }
}

#[test]
fn every_difference_of_a_topic_has_the_same_text_with_a_small_cache() {
    let twice = "INSERT INTO events SELECT 361, topic_id, previous, event_id, timestamp, source, \
                 payload, processed_at, incarnation, stream_sequence, position, timestamp_filled \
                 FROM events WHERE sequence = 20";
    for (sql, named) in [
        (
            "UPDATE topics SET unique_processed = 8 WHERE id = 20",
            &["topic \"t19\": 9 events are stored, recorded 8"][..],
        ),
        (
            "UPDATE topics SET digest = zeroblob(16) WHERE id IN (7, 20)",
            &[
                "topic \"t6\": its events do not match the recorded digest",
                "topic \"t19\": its events do not match the recorded digest",
            ],
        ),
        (
            "UPDATE topics SET last_sequence = 20 WHERE id IN (20, 21, 7)",
            &[
                "topic \"t6\": its last event is 327, recorded 20",
                "topic \"t19\": its last event is 340, recorded 20",
                "topic \"t20\": its last event is 341, recorded 20",
            ],
        ),
        (
            "UPDATE events SET previous = 59 WHERE sequence = 100",
            &[
                "event 100 names event 59 as the previous one in topic \"t19\", but that is event 60",
            ],
        ),
        (
            "UPDATE events SET topic_id = 21 WHERE sequence = 100",
            &[
                "topic \"t19\": 8 events are stored, recorded 9",
                "topic \"t20\": 10 events are stored, recorded 9",
                "event 100 names event 60 as the previous one in topic \"t20\", but that is event 61",
                "event 101 names event 61 as the previous one in topic \"t20\", but that is event 100",
                "event 140 names event 100 as the previous one in topic \"t19\", but that is event 60",
            ],
        ),
        (
            "UPDATE topics SET duplicate_dropped = 8 + id WHERE id IN (20, 7)",
            &[
                "topic \"t6\": received, counted from the messages: recorded 24, found 17",
                "topic \"t19\": received, counted from the messages: recorded 37, found 17",
            ],
        ),
        (
            "DELETE FROM topics WHERE id IN (20, 7); DELETE FROM events WHERE sequence = 360",
            &[
                "topic \"t39\": 8 events are stored, recorded 9",
                "9 events belong to topic number 7, which does not exist",
                "9 events belong to topic number 20, which does not exist",
            ],
        ),
        (
            twice,
            &["events 20 and 361 have the same identity: \"0\" of topic \"t19\""],
        ),
    ] {
        let store = store(sql);
        let expected = report(&store, usize::from(TOPICS) + 1);
        let found = differences(&expected);
        let mut rest = found.as_str();
        for named in named {
            let at = rest.find(named);
            let at =
                at.unwrap_or_else(|| panic!("{sql}: {named} is missing or out of order: {found}"));
            rest = &rest[at + named.len()..];
        }
        for cached in [1, 7] {
            assert_eq!(report(&store, cached), expected, "{sql}, {cached}");
        }
    }
}
