//! Checks that the record adds up: its counters must agree with each other and with the rows kept for review.

use super::{
    report::{Check, Report},
    snapshot::{ReviewRows, Snapshot, TopicNames},
    temporary::TemporaryError,
    topics::Topics,
};
use crate::store::sqlite::writer::state::Kept;

/// Adds to `report` the checks that need only the record.
pub(super) fn check(
    snapshot: &Snapshot,
    topics: &mut Topics,
    report: &mut Report,
) -> Result<(), TemporaryError> {
    let counters = &snapshot.counters;
    let sum = counters.unique_processed + counters.duplicate_dropped + counters.rejected;
    let mut received = Check::new("received = unique + duplicates + rejected");
    received.compare(counters.received, sum);
    report.add(received);
    report.add(by_topic(snapshot, topics)?);
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

fn by_topic(snapshot: &Snapshot, topics: &mut Topics) -> Result<Check, TemporaryError> {
    let counters = &snapshot.counters;
    let mut check = Check::new("duplicates, summed over topics");
    let (mut unique, mut duplicates) = (0, 0);
    topics.each(|topic, _| {
        unique += topic.unique;
        duplicates += topic.duplicates;
    })?;
    check.compare(counters.duplicate_dropped, duplicates);
    if unique != counters.unique_processed {
        check.differs(|| {
            format!(
                "unique events, summed over topics: recorded {}, found {unique}",
                counters.unique_processed
            )
        });
    }
    let topics = topics.recorded();
    if u64::try_from(counters.topics) != Ok(topics) {
        check.differs(|| format!("topics: recorded {}, found {topics}", counters.topics));
    }
    if counters.conflicts > counters.duplicate_dropped {
        check.differs(|| {
            format!(
                "there are {} conflicts but only {} duplicates; every conflict is also a duplicate",
                counters.conflicts, counters.duplicate_dropped
            )
        });
    }
    Ok(check)
}

fn review_rows(name: &'static str, counted: u64, recorded: Kept, rows: ReviewRows) -> Check {
    let mut check = Check::equal(name, counted, rows.rows + recorded.evicted);
    if rows.bytes != recorded.bytes {
        check.differs(|| {
            format!(
                "{name}: bytes of the rows: recorded {}, found {}",
                recorded.bytes, rows.bytes
            )
        });
    }
    if rows.rows > 0 && rows.latest != counted {
        check.differs(|| {
            format!(
                "{name}: the latest row has id {}, but the counter is {counted}",
                rows.latest
            )
        });
    }
    if let Some(first) = rows.first_stray {
        let count = rows.stray;
        check.differs(|| {
            format!(
                "{name}: {count} rows belong to messages that are not applied; the first is row {first}"
            )
        });
    }
    check
}
