//! Stores that were altered by SQL, each in one way: verification finds and names it.

mod counted;

use std::sync::Arc;

use super::verify::{compared, differences, filled, messages, verified};
use crate::store::{
    tests::{arrivals::mixed_delivery, database::Database},
    verify::Report,
};

/// What is done to a store, and what is then found.
type Damage = (&'static str, &'static [&'static str]);

/// Of events. Their places are 2^17 times the message, and the position.
const OF_EVENTS: &[Damage] = &[
    (
        "UPDATE events SET payload = '{\"content\": 0}' WHERE place = 131072",
        &[
            "source or payload of event 131072 does not match its hash",
            "topic \"t0\": its events do not match the recorded digest",
        ],
    ),
    (
        "UPDATE events SET \"timestamp\" = '2026-01-31T12:00:01Z' WHERE place = 131072",
        &["the timestamp, source or payload of event 131072"],
    ),
    (
        "UPDATE events SET event_id = 'x' WHERE place = 131073",
        &["event 131073 has a fingerprint that is not that of its topic and event_id"],
    ),
    (
        "UPDATE events SET topic = 't9' WHERE place = 131073",
        &[
            "1 events belong to topic \"t9\", which does not exist",
            "topic \"t1\": 0 events are stored, recorded 1",
        ],
    ),
    (
        "UPDATE events SET topic = '\\xff' WHERE place = 131073",
        &["event 131073 cannot be read"],
    ),
    (
        "UPDATE events SET processed_at = 7 WHERE place = 131073",
        &["event 131073 was stored at 7, later than the latest recorded, 1"],
    ),
    (
        "UPDATE events SET processed_at = 60000001 WHERE place = 131073",
        &[
            "1970-01-01T00:01:00",
            "0 unique events are recorded, found 1",
        ],
    ),
    (
        "UPDATE events SET place = 131072 WHERE place = 131073",
        &["two events have the place 131072"],
    ),
    (
        "UPDATE events SET place = 131072 + 100001 WHERE place = 131073",
        &["event 231073 has position 100001 in its message"],
    ),
    (
        "UPDATE events SET place = 4 * 131072 WHERE place = 131073",
        &["message 4 of incarnation 1, which is not recorded as applied"],
    ),
    (
        "UPDATE events SET place = 9 * 131072 WHERE place = 131073",
        &["message 9 of incarnation 1, which is not recorded as applied"],
    ),
    (
        "UPDATE events SET place = -5 WHERE place = 131073",
        &["event -5 has no valid place"],
    ),
    (
        "DELETE FROM events WHERE place = 131073",
        &[
            "events: recorded 6, found 5",
            "topic \"t1\": 0 events are stored, recorded 1",
        ],
    ),
    (
        "ALTER TABLE events DROP CONSTRAINT events_pkey; INSERT INTO events SELECT fingerprint, content, 131080, topic, event_id, \
             \"timestamp\", timestamp_filled, source, payload, processed_at FROM events WHERE place = 131072",
        &[
            "events has no valid primary key; it must be fingerprint",
            "events: recorded 6, found 7",
        ],
    ),
    (
        "ALTER TABLE events DROP CONSTRAINT events_pkey; CREATE INDEX ON events (fingerprint); INSERT INTO events SELECT fingerprint, \
             content, 131080, topic, event_id, \"timestamp\", timestamp_filled, source, payload, processed_at FROM events WHERE place = 131072",
        &["events 131072 and 131080 have the same identity"],
    ),
    (
        // The row is not in the index, as it is not maintained meanwhile.
        "CREATE TEMPORARY TABLE one AS SELECT * FROM events WHERE place = 131073; DELETE FROM events WHERE place = 131073; \
             UPDATE pg_index SET indisready = false WHERE indexrelid = 'events_pkey'::regclass; INSERT INTO events SELECT * FROM one; \
             UPDATE pg_index SET indisready = true WHERE indexrelid = 'events_pkey'::regclass",
        &["the index of fingerprints has 5 events, but 6 were read by their places"],
    ),
];

/// Of counts, over all, of topics, and of minutes.
const OF_COUNTS: &[Damage] = &[
    (
        "UPDATE topics SET digest = digest + 1 WHERE topic = 't1'",
        &["topic \"t1\": its events do not match the recorded digest"],
    ),
    (
        "UPDATE topics SET digest = -1 WHERE topic = 't1'",
        &["topic \"t1\": its events do not match the recorded digest"],
    ),
    (
        "UPDATE topics SET unique_processed = 7 WHERE topic = 't1'",
        &[
            "unique events, summed over topics: recorded 6, found 12",
            "topic \"t1\": 1 events are stored, recorded 7",
        ],
    ),
    (
        "UPDATE topics SET duplicate_dropped = 5 WHERE topic = 't1'",
        &["duplicates, summed over topics: recorded 2, found 7"],
    ),
    (
        "UPDATE topics SET last_at = 0 WHERE topic = 't1'",
        &["topic \"t1\": an event was stored at 1, later than the latest recorded, 0"],
    ),
    (
        "DELETE FROM topics WHERE topic = 't1'",
        &["1 events belong to topic \"t1\", which does not exist"],
    ),
    (
        "UPDATE counters SET received = received + 1 WHERE writer = 0",
        &[
            "received = unique + duplicates + rejected: recorded 11, found 10",
            "writer 0: received 5",
        ],
    ),
    (
        "UPDATE counters SET unique_processed = unique_processed + (CASE writer WHEN 0 THEN 1 ELSE -1 END), \
             received = received + (CASE writer WHEN 0 THEN 1 ELSE -1 END) WHERE writer IN (0, 8)",
        &[
            "writer 0: unique events and duplicates, summed over topics",
            "writer 8: unique events",
        ],
    ),
    (
        "UPDATE counters SET conflicts = 3 WHERE writer = 8",
        &[
            "there are 3 conflicts but only 2 duplicates",
            "conflict rows and evicted: recorded 3, found 1",
        ],
    ),
    (
        "UPDATE counters SET processed_at = 0",
        &["later than the latest recorded, 0"],
    ),
    (
        "UPDATE minutes SET duplicate_dropped = 9 WHERE writer = 8",
        &[
            "writer 8: unique events, duplicates and rejected arrivals, summed over minutes: recorded [2, 2, 2], found [2, 9, 2]",
        ],
    ),
    (
        "UPDATE minutes SET unique_processed = 9 WHERE writer = 8",
        &[
            "the minute from 1970-01-01T00:00:00",
            "13 unique events are recorded, found 6",
        ],
    ),
    (
        "UPDATE minutes SET first_place = 7 WHERE writer = 8",
        &["places 7 to 655361 are recorded, found 131072 to 655361"],
    ),
];

/// Of rows kept for review.
const OF_REVIEW: &[Damage] = &[
    (
        "DELETE FROM rejected WHERE stream_sequence = 3",
        &[
            "rejected rows and evicted: recorded 2, found 1",
            "rejected rows and evicted: bytes of the rows",
        ],
    ),
    (
        "UPDATE rejected SET body = '12345' WHERE stream_sequence = 3",
        &["rejected rows and evicted: bytes of the rows"],
    ),
    (
        "UPDATE rejected SET position = 1 WHERE stream_sequence = 3",
        &["rejected rows and evicted: row 393218 is not at the place of message 3, position 1"],
    ),
    (
        "UPDATE rejected SET place = 131072, stream_sequence = 1, position = 0 WHERE stream_sequence = 3",
        &["rejected rows and evicted: row 131072 is the arrival that is stored as an event, too"],
    ),
    (
        "UPDATE rejected SET place = 4 * 131072, stream_sequence = 4, position = 0 WHERE stream_sequence = 3",
        &["1 rows belong to messages that are not applied; the first is row 524288"],
    ),
    (
        "UPDATE rejected SET incarnation = 3 WHERE stream_sequence = 3",
        &["row 393218 is not at the place of message 3"],
    ),
    (
        "UPDATE conflicts SET fingerprint = '\\x00'",
        &["conflict rows and evicted: row 262145 conflicts with an event that is not stored"],
    ),
    (
        "DELETE FROM conflicts",
        &["conflict rows and evicted: recorded 1, found 0"],
    ),
];

/// Of the lives of the stream and their messages.
const OF_LIVES: &[Damage] = &[
    (
        "ALTER TABLE applied DROP CONSTRAINT applied_pkey, ADD PRIMARY KEY (sequence)",
        &["the primary key of applied is sequence; it must be incarnation, sequence"],
    ),
    (
        "UPDATE incarnations SET floor = 1, witness = 1",
        &[
            "message 2 of incarnation 1, which is not recorded as applied",
            "2 rows belong to messages that are not applied",
        ],
    ),
    (
        "UPDATE incarnations SET witness = 7",
        &["message 7 is recorded as the last one up to the floor, which is 3"],
    ),
    (
        "UPDATE incarnations SET witness_time = latest_time + 1",
        &["the last message up to the floor is later than the latest"],
    ),
    (
        "UPDATE incarnations SET evicted_to = 6",
        &["arrivals up to message 6 were evicted, but none is applied beyond 5"],
    ),
    (
        "UPDATE incarnations SET epoch = 2",
        &["incarnation 1 has epoch 2 of its stream; it must be 1"],
    ),
    (
        "UPDATE incarnations SET id = 2",
        &[
            "incarnation 1 is missing; the next is 2",
            "a row of applied belongs to incarnation 1, which does not exist",
        ],
    ),
    (
        "INSERT INTO incarnations (id, stream, created, epoch, base, begun_at) VALUES (2, 'EVENTS', 1, 2, 4, 0)",
        &[
            "the places of incarnation 2 begin at message 4, within those of the one before it, which end at 6",
        ],
    ),
    (
        "INSERT INTO applied VALUES (1, -3, 1)",
        &["-3 to -3 of applied is not a valid range of sequences"],
    ),
    (
        "INSERT INTO passed VALUES (1, 8, 7)",
        &["8 to 7 of passed is not a valid range of sequences"],
    ),
    (
        "INSERT INTO missing VALUES (1, 4, 4, 0)",
        &["4 to 4 are missing, but not in the applied or passed ranges"],
    ),
    (
        "INSERT INTO missing VALUES (1, 1, 1, 0)",
        &["message 1 of incarnation 1, which is not recorded as applied"],
    ),
];

#[test]
fn an_altered_event_is_found_and_named() {
    each_damaged(OF_EVENTS, async |database| verified(&database).await);
}

#[test]
fn an_altered_count_is_found_and_named() {
    each_damaged(OF_COUNTS, async |database| verified(&database).await);
}

#[test]
fn an_altered_row_that_is_kept_for_review_is_found_and_named() {
    each_damaged(OF_REVIEW, async |database| verified(&database).await);
}

#[test]
fn an_altered_life_of_the_stream_is_found_and_named() {
    each_damaged(OF_LIVES, async |database| verified(&database).await);
}

/// Verifies stores that were altered, each in one way.
fn each_damaged<F: Future<Output = Report>>(
    damages: &[Damage],
    verified: impl Fn(Arc<Database>) -> F,
) {
    let Some(template) = Database::new() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { drop(filled(&template).await) });
    // Their connections end with it.
    drop(runtime);
    for (sql, expected) in damages {
        let database = Arc::new(template.copy());
        database.sql(sql);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let report = runtime.block_on(verified(database));
        assert!(!report.is_consistent(), "{sql}");
        let found = differences(&report);
        for expected in *expected {
            assert!(found.contains(expected), "{sql}\n{expected}\n{found}");
        }
    }
}

#[test]
fn what_differs_from_the_retained_messages_is_found_and_named() {
    let damages: &[Damage] = &[
        (
            "DELETE FROM events WHERE place = 131073",
            &[
                "message 1 is applied, but its event \"2\" of topic \"t1\" at position 1 is not stored",
            ],
        ),
        (
            "UPDATE events SET content = 7 WHERE place = 131073",
            &[
                "event 131073 (\"2\" of topic \"t1\") has a different timestamp, source or payload than message 1 at position 1",
            ],
        ),
        (
            "UPDATE events SET \"timestamp\" = '2026-01-31T12:00:00.0Z' WHERE place = 131073",
            &["event 131073 (\"2\" of topic \"t1\") has a different timestamp"],
        ),
        (
            "UPDATE events SET place = 131072 + 5 WHERE place = 131073",
            &[
                "event 131077 does not match message 1",
                "duplicates, counted from the messages: recorded 2, found 3",
            ],
        ),
        (
            "UPDATE rejected SET body = '4' WHERE stream_sequence = 3",
            &["rejected row 393218 does not match message 3 at position 2"],
        ),
        (
            "DELETE FROM rejected WHERE stream_sequence = 3",
            &[
                "message 3 is applied, but its arrival at position 2 (invalid_event) is not kept as rejected",
            ],
        ),
        (
            "UPDATE rejected SET place = place + 1 WHERE stream_sequence = 3",
            &["rejected row 393219 is from message 3, which has no such arrival at its position"],
        ),
        (
            "UPDATE counters SET conflicts = 0",
            &["conflicts, counted from the messages: recorded 0, found 1"],
        ),
        (
            "UPDATE topics SET duplicate_dropped = 7 WHERE topic = 't1'",
            &["topic \"t1\": received, counted from the messages: recorded 8, found 1"],
        ),
    ];
    each_damaged(damages, async |database| {
        let [first, second, third, fifth] = messages();
        let fourth = mixed_delivery(4, &[]);
        let all = [first, second, third, fourth, fifth];
        compared(&database, &all, 3).await
    });
}
