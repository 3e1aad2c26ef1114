//! Checks that the record adds up: its counters must agree with each other and with the rows kept for review.

use super::{
    snapshot::{ReviewRows, Snapshot, TopicNames},
    temporary::TemporaryError,
    topics::Topics,
};
use crate::store::{
    sqlite::writer::state::Kept,
    verify::{
        Check, Report,
        balance::{self, Counts, Recorded},
    },
};

/// Adds to `report` the checks that need only the record.
pub(super) fn check(
    snapshot: &Snapshot,
    topics: &mut Topics,
    report: &mut Report,
) -> Result<(), TemporaryError> {
    let counters = &snapshot.counters;
    let counts = snapshot.counts();
    report.add(balance::received(&counts));
    report.add(by_topic(&counts, counters.topics, topics)?);
    report.add(names(snapshot.names));
    report.add(review_rows(
        "rejected rows and evicted",
        counters.rejected,
        counters.rejected_kept,
        snapshot.rejected,
    ));
    report.add(review_rows(
        "conflict rows and evicted",
        counters.conflicts,
        counters.conflicts_kept,
        snapshot.conflicts,
    ));
    Ok(())
}

fn names(names: TopicNames) -> Check {
    let mut check = Check::equal("topics, by name", names.by_id, names.by_name);
    if names.by_id == names.by_name && !names.are_equal {
        check.differs(|| "the names of topics by id and by name are not the same".to_owned());
    }
    check
}

fn by_topic(counts: &Counts, recorded: i64, topics: &mut Topics) -> Result<Check, TemporaryError> {
    let (mut unique, mut duplicates) = (0, 0);
    topics.each(|topic, _| {
        unique += topic.unique;
        duplicates += topic.duplicates;
    })?;
    let mut check = balance::by_topic(counts, unique, duplicates);
    let topics = topics.recorded();
    if u64::try_from(recorded) != Ok(topics) {
        check.differs(|| format!("topics: recorded {recorded}, found {topics}"));
    }
    Ok(check)
}

fn review_rows(name: &'static str, counted: u64, recorded: Kept, rows: ReviewRows) -> Check {
    let recorded = Recorded {
        all: counted,
        evicted: recorded.evicted,
        bytes: recorded.bytes,
    };
    let ReviewRows { latest, rows } = rows;
    let mut check = balance::review_rows(name, recorded, rows);
    if rows.rows > 0 && latest != counted {
        check.differs(|| {
            format!("{name}: the latest row has id {latest}, but the counter is {counted}")
        });
    }
    check
}
