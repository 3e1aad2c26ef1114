//! Damage to the counts of topics over time, the record of repeated events, and the marks.

use super::{Damage, each_damaged, verified};

/// One row has the two duplicates, both of event 131072, at the places 262145 and 393217. Of the topics, `t3` is not counted over time.
const OF_COUNTED: &[Damage] = &[
    (
        "DELETE FROM repeats",
        &[
            "writer 8: 2 duplicates are recorded, and 0 in rows of repeats",
            "topic \"t0\": 2 duplicates are recorded, and of 0 the events that they repeat",
        ],
    ),
    (
        "UPDATE repeats SET writer = 0",
        &[
            "writer 0: 0 duplicates are recorded, and 2 in rows of repeats",
            "writer 8: 2 duplicates are recorded, and 0 in rows of repeats",
        ],
    ),
    (
        "UPDATE repeats SET stored = '{5,131072}', first_stored = 5",
        &["writer 8: event 5 is recorded as repeated, and is not stored"],
    ),
    (
        "UPDATE repeats SET topics = '{t1}'",
        &[
            "writer 8: event 131072 is recorded as repeated under another topic",
            "topic \"t1\": 0 duplicates are recorded, and of 2 the events",
        ],
    ),
    (
        "UPDATE repeats SET topics = '{t0,t1}', counts = '{1,1}'",
        &["writer 8: event 131072 is recorded as repeated under two topics"],
    ),
    (
        "UPDATE repeats SET counts = '{1}'",
        &["writer 8: a row of repeated events is damaged"],
    ),
    (
        "UPDATE repeats SET last_stored = 7",
        &["writer 8: a row of repeated events is damaged"],
    ),
    (
        "UPDATE repeats SET sources = NULL",
        &["writer 8: a row of repeated events is damaged"],
    ),
    (
        "UPDATE repeats SET places = '{262145,524288}'",
        &[
            "message 4 has duplicates by the record of repeated events, and is not recorded as applied",
        ],
    ),
    (
        "UPDATE repeats SET places = '{262145,-1}'",
        &["writer 8: place -1 of a repeated event is not valid"],
    ),
    (
        "UPDATE repeats SET processed_at = 3600000000",
        &[
            "the hour from 1970-01-01T00:00:00.000000Z: the duplicates of topics over time",
            "the hour from 1970-01-01T01:00:00.000000Z: the duplicates",
        ],
    ),
    (
        "ALTER TABLE repeats DROP CONSTRAINT repeats_pkey",
        &["repeats has no valid primary key; it must be batch, writer"],
    ),
    (
        "UPDATE topic_minutes SET unique_processed = unique_processed + 1 WHERE topic = 't1'",
        &[
            "topic \"t1\": unique events and duplicates, summed over minutes: recorded [1, 0], found [2, 0]",
            "the hour from 1970-01-01T00:00:00.000000Z: the unique events of topics over time",
        ],
    ),
    (
        "UPDATE topic_minutes SET minute = 70 WHERE topic = 't1'",
        &["the hour from 1970-01-01T01:00:00.000000Z: the unique events"],
    ),
    (
        "INSERT INTO topic_minutes VALUES ('t3', 0, 0, 1, 0)",
        &[
            "topic \"t3\": unique events and duplicates, summed over minutes: recorded [1, 0], found [1, 0]",
        ],
    ),
    (
        "DELETE FROM counted_topics WHERE topic = 't1'",
        &[
            "3 topics are recorded as counted over time, found 2",
            "topic \"t1\": unique events and duplicates",
        ],
    ),
    (
        "INSERT INTO seen_marks VALUES ('rejected', 900000, 1)",
        &[
            "1 rejected arrivals are marked as seen; it must be from 2, which have ids up to 900000, to 2",
        ],
    ),
    (
        "INSERT INTO seen_marks VALUES ('conflicts', 1, 2)",
        &["2 conflicts are marked as seen; it must be from 0, which have ids up to 1, to 1"],
    ),
];

#[test]
fn an_altered_count_over_time_or_record_of_repeats_is_found_and_named() {
    each_damaged(OF_COUNTED, async |database| verified(&database).await);
}
