//! Damage: any change made to a store by hand is found and described.

use super::{
    harness::{change, delivery},
    verify::{compare, differences, event, messages, store, verify},
};
use crate::store::verify::Report;

/// The reports after these statements, without and with messages.
fn damaged(sql: &str) -> (Report, Report) {
    let mut store = store();
    store.close();
    change(&store.raw_connection(), sql);
    (verify(&store), compare(&store, &messages(), 6))
}

/// Checks that the damage by each of these statements is found from the rows alone and described with these words.
fn are_found(damages: &[(&str, &str)]) {
    for (sql, named) in damages {
        let (report, _) = damaged(sql);
        assert!(!report.is_consistent(), "{sql}");
        let found = differences(&report);
        assert!(found.contains(named), "{sql}: {found}");
    }
}

#[test]
fn a_change_to_the_events_is_found() {
    let twice = "INSERT INTO events SELECT 6, topic_id, previous, event_id, timestamp, source, \
                 payload, processed_at, incarnation, stream_sequence, position, timestamp_filled \
                 FROM events WHERE sequence = 2";
    are_found(&[
        (
            "DELETE FROM events WHERE sequence = 3",
            "event 3 is missing",
        ),
        (
            "DELETE FROM events WHERE sequence BETWEEN 2 AND 3",
            "events 2 to 3 are missing",
        ),
        (
            "DELETE FROM events WHERE sequence = 5",
            "topic \"t1\": 1 events are stored, recorded 2",
        ),
        (
            "UPDATE seals SET reach = 9",
            "1 seals of the index reach beyond the last event, 5",
        ),
        (
            "UPDATE events SET sequence = 9223372036854775807 WHERE sequence = 5",
            "events 5 to 9223372036854775806 are missing",
        ),
        ("DELETE FROM events", "events: recorded 5, found 0"),
        (
            twice,
            "events 2 and 6 have the same identity: \"2\" of topic \"t0\"",
        ),
        (
            "UPDATE events SET payload = '{}' WHERE sequence = 4",
            "topic \"t1\": its events do not match",
        ),
        (
            "UPDATE events SET payload = '{}' WHERE sequence = 4",
            "the timestamp, source or payload of event 4 does not match the dedup index",
        ),
        (
            "UPDATE events SET payload = x'ff' WHERE sequence = 2",
            "event 2 cannot be read",
        ),
        (
            "UPDATE events SET event_id = 'x' WHERE sequence = 1",
            "event 1 is not in the dedup index",
        ),
        (
            "UPDATE events SET event_id = 'x' WHERE sequence = 1",
            "the dedup index has event 1, under an identity that is not stored",
        ),
        (
            "UPDATE events SET topic_id = 2 WHERE sequence = 2",
            "but that is event 0",
        ),
        (
            "UPDATE events SET previous = 1 WHERE sequence = 3",
            "event 3 names event 1 as the previous one",
        ),
        (
            "UPDATE events SET processed_at = 0 WHERE sequence = 5",
            "event 5 was stored at 0, an earlier one at",
        ),
        (
            "UPDATE events SET stream_sequence = 77 WHERE sequence = 5",
            "message 77 of incarnation 1, which is not recorded as applied",
        ),
    ]);
}

#[test]
fn a_change_to_the_marks_is_found() {
    let mut store = store();
    let more: Vec<_> = (3..20).map(|id| event(1, id, 0)).collect();
    store.append(&[delivery(7, &more)]).unwrap();
    store.close();
    let marks = store.raw_connection();
    let damages = [
        ("", ""),
        (
            "DELETE FROM marks WHERE ordinal = 8",
            "has no mark as event number 8",
        ),
        (
            "UPDATE marks SET ordinal = 9 WHERE ordinal = 8",
            "has no mark as event number 8",
        ),
        (
            "UPDATE marks SET sequence = 4 WHERE ordinal = 8",
            "has no mark as event number 8",
        ),
        (
            "INSERT INTO marks VALUES (1, 3, 3)",
            "1 marks belong to events that should have none",
        ),
        (
            "INSERT INTO marks VALUES (1, 2, 4), (2, 5, 2)",
            "2 marks belong to events that should have none",
        ),
        (
            "INSERT INTO marks VALUES (1, 5, 4)",
            "one is for event 5, which is not in its topic",
        ),
        (
            "INSERT INTO marks VALUES (9, 5, 4)",
            "one is for event 5, which is not in its topic",
        ),
        (
            "INSERT INTO marks VALUES (1, -7, 4)",
            "one is for event -7, which is not in its topic",
        ),
    ];
    marks
        .execute_batch("CREATE TABLE right AS SELECT * FROM marks")
        .unwrap();
    for (sql, named) in damages {
        marks.execute_batch(sql).unwrap();
        let report = verify(&store);
        assert_eq!(report.is_consistent(), named.is_empty(), "{sql}");
        let found = differences(&report);
        assert!(found.contains(named), "{sql}: {found}");
        marks
            .execute_batch("DELETE FROM marks; INSERT INTO marks SELECT * FROM right")
            .unwrap();
    }
}

#[test]
fn a_change_to_the_counters_is_found() {
    are_found(&[
        (
            "UPDATE counters SET received = received + 1",
            "received = unique + duplicates",
        ),
        (
            "UPDATE counters SET unique_processed = 6, received = 11",
            "events: recorded 6, found 5",
        ),
        (
            "UPDATE counters SET duplicate_dropped = 2, received = 9",
            "duplicates, summed over topics: recorded 2, found 3",
        ),
        (
            "UPDATE counters SET rejected = 1, received = 9",
            "rejected rows and evicted: recorded 1, found 2",
        ),
        (
            "UPDATE counters SET conflicts = 2",
            "conflict rows and evicted: recorded 2, found 1",
        ),
        (
            "UPDATE counters SET rejected_bytes = 1",
            "bytes of the rows: recorded 1, found",
        ),
        (
            "UPDATE counters SET topics = 3",
            "topics: recorded 3, found 2",
        ),
        (
            "UPDATE counters SET processed_at = 1",
            "later than the latest recorded",
        ),
        (
            "UPDATE topics SET duplicate_dropped = 4 WHERE id = 1",
            "duplicates, summed over topics: recorded 3, found 5",
        ),
        (
            "UPDATE topics SET unique_processed = 2 WHERE id = 1",
            "topic \"t0\": 3 events are stored, recorded 2",
        ),
        (
            "UPDATE topics SET digest = zeroblob(16) WHERE id = 2",
            "topic \"t1\": its events do not match",
        ),
        (
            "UPDATE topics SET last_sequence = 4 WHERE id = 2",
            "topic \"t1\": its last event is 5, recorded 4",
        ),
        (
            "DELETE FROM topics WHERE id = 2",
            "2 events belong to topic number 2, which does not exist",
        ),
    ]);
}

#[test]
fn a_change_to_the_record_of_repeated_events_is_found() {
    are_found(&[
        (
            "DELETE FROM repeats WHERE id = 2",
            "duplicates, by event: recorded 3, found 2",
        ),
        (
            "UPDATE repeats SET number = 2 WHERE id = 1",
            "row 1 of repeats is damaged",
        ),
        (
            "UPDATE repeats SET events = x'80' WHERE id = 1",
            "row 1 of repeats is damaged",
        ),
        (
            "UPDATE repeats SET first = 0, last = 0 WHERE id = 3",
            "row 3 of repeats is damaged",
        ),
        (
            "UPDATE repeats SET last = 6 WHERE id = 3",
            "row 3 of repeats is damaged",
        ),
        (
            "UPDATE repeats SET events = NULL WHERE id = 3",
            "row 3 of repeats is damaged",
        ),
        (
            "UPDATE repeats SET number = -1 WHERE id = 2",
            "nothing can be read of repeats before row 3",
        ),
        (
            "UPDATE repeats SET reach = 9 WHERE id = 3",
            "row 3 of repeats is damaged",
        ),
    ]);
}

#[test]
fn a_change_to_the_counts_over_time_is_found() {
    are_found(&[
        (
            "INSERT INTO history VALUES (0, 1, 1, 4, 0, 0)",
            "all topics, the minute until 1970-01-01T00:01:00.000000Z: 4 unique events are recorded, but another number was stored by then",
        ),
        (
            "INSERT INTO history VALUES (0, 60, 0, 5, 3, 2)",
            "all topics, the hour until 1970-01-01T00:00:00.000000Z: 5 unique events are recorded, but another number",
        ),
        (
            "INSERT INTO history VALUES (0, 1, 1, 5, 3, 3)",
            "unique 5, duplicates 3, rejected 3; they must be from [0, 0, 0] to [5, 3, 2]",
        ),
        (
            "INSERT INTO history VALUES (1, 1, 1, 2, 1, 0), (1, 1, 2, 1, 1, 0)",
            "the topic with id 1, the minute until 1970-01-01T00:02:00.000000Z: unique 1, duplicates 1, rejected 0; they must be from [2, 1, 0] to [3, 2, 0]",
        ),
        (
            "INSERT INTO history VALUES (7, 60, 60, 1, 0, 0)",
            "they must be from [0, 0, 0] to [0, 0, 0]",
        ),
    ]);
}

#[test]
fn a_change_to_the_applied_sequences_or_to_kept_rows_is_found() {
    let split = "DELETE FROM applied; INSERT INTO applied VALUES (1, 1, 2), (1, 4, 6)";
    are_found(&[
        (
            split,
            "event 4 is from message 3 of incarnation 1, which is not recorded as applied",
        ),
        (
            "UPDATE applied SET last = 5",
            "message 6 is recorded as the latest applied, but is in no applied range",
        ),
        (
            "INSERT INTO applied VALUES (1, 7, 9)",
            "the applied range that ends at 6 overlaps or touches the one that begins at 7",
        ),
        (
            "INSERT INTO applied VALUES (1, 3, 3)",
            "the applied range that ends at 6 overlaps or touches the one that begins at 3",
        ),
        (
            "INSERT INTO missing VALUES (1, 9, 9, 0, NULL)",
            "9 to 9 are missing, but not in the applied ranges",
        ),
        (
            "DELETE FROM rejected WHERE id = 1",
            "rejected rows and evicted: recorded 2, found 1",
        ),
        (
            "DELETE FROM rejected WHERE id = 2; UPDATE counters SET rejected_evicted = 1",
            "the latest row has id 1, but the counter is 2",
        ),
        (
            "UPDATE rejected SET stream_sequence = 77 WHERE id = 1",
            "rows belong to messages that are not applied; the first is row 1",
        ),
        (
            "DELETE FROM conflicts",
            "conflict rows and evicted: recorded 1, found 0",
        ),
    ]);
}

#[test]
fn damage_that_the_rows_do_not_show_is_found_by_comparing_messages() {
    for (sql, named) in [
        (
            "UPDATE events SET payload = '{}' WHERE sequence = 5",
            "event 5 (\"2\" of topic \"t1\") has a different payload than message 5 at position 0",
        ),
        (
            "UPDATE events SET source = 'x' WHERE sequence = 1",
            "a different source than message 1",
        ),
        (
            "UPDATE events SET timestamp = 'x' WHERE sequence = 1",
            "a different timestamp than message 1",
        ),
        (
            "UPDATE events SET event_id = 'x' WHERE sequence = 1",
            "message 1 is applied, but its event \"1\" of topic \"t0\" at position 0 is not stored",
        ),
        (
            "UPDATE events SET event_id = 'x' WHERE sequence = 1",
            "event 1 does not match message 1 at position 0",
        ),
        (
            "UPDATE events SET position = 7 WHERE sequence = 4",
            "event 4 does not match message 3 at position 7",
        ),
        (
            "UPDATE events SET stream_sequence = 1 WHERE sequence = 4",
            "event 4 does not match message 1 at position 0",
        ),
        (
            "DELETE FROM events WHERE sequence = 4",
            "message 3 is applied, but its event",
        ),
        (
            "DELETE FROM rejected WHERE id = 2",
            "message 4 is applied, but its arrival at position 1 (invalid_event) is not kept as rejected",
        ),
        (
            "UPDATE rejected SET body = '4' WHERE id = 2",
            "rejected row 2 does not match message 4 at position 1",
        ),
        (
            "UPDATE rejected SET position = 9 WHERE id = 2",
            "rejected row 2 is from message 4, which has no such arrival at position 9",
        ),
        (
            "DELETE FROM applied; INSERT INTO applied VALUES (1, 1, 5)",
            "message 6 was acked but is not recorded as applied",
        ),
        (
            "UPDATE counters SET received = 11",
            "received, from the messages: recorded 11, found 10",
        ),
        (
            "UPDATE counters SET duplicate_dropped = 4, received = 11",
            "duplicates, counted from the messages: recorded 4, found 3",
        ),
        (
            "UPDATE counters SET conflicts = 2",
            "conflicts, counted from the messages: recorded 2, found 1",
        ),
        (
            "UPDATE topics SET duplicate_dropped = 6 WHERE id = 1",
            "topic \"t0\": received, counted from the messages: recorded 9, found 5",
        ),
        (
            "UPDATE events SET position = 'x' WHERE sequence = 4",
            "the comparison stopped after message 3",
        ),
    ] {
        let (_, report) = damaged(sql);
        assert!(!report.is_consistent(), "{sql}");
        let found = differences(&report);
        assert!(found.contains(named), "{sql}: {found}");
    }
}
