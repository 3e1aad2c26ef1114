//! Checks that the record adds up, over all writers and for each.

use super::record::Record;
use crate::store::verify::{Check, Report, balance};

/// Adds the checks that need only the record.
pub(super) fn check(record: &Record, report: &mut Report) {
    let mut received = balance::received(&record.counts);
    let sum = |column: usize| {
        let writers = record.writers.values();
        writers
            .map(|writer| writer.topics[column])
            .fold(0_u64, u64::saturating_add)
    };
    let mut topics = balance::by_topic(&record.counts, sum(0), sum(1));
    let mut over_time = Vec::new();
    for (number, writer) in &record.writers {
        let counts = writer.counters.unwrap_or_default();
        let all = counts
            .unique
            .saturating_add(counts.duplicates)
            .saturating_add(counts.rejected);
        if counts.received != all {
            received.differs(|| {
                format!(
                    "writer {number}: received {}, but unique + duplicates + rejected are {all}",
                    counts.received
                )
            });
        }
        let counted = [counts.unique, counts.duplicates, counts.rejected];
        if writer.topics != counted[..2] {
            topics.differs(|| {
                format!(
                    "writer {number}: unique events and duplicates, summed over topics: recorded {:?}, found {:?}",
                    &counted[..2], writer.topics
                )
            });
        }
        if writer.minutes != counted {
            over_time.push(format!(
                "writer {number}: unique events, duplicates and rejected arrivals, summed over minutes: recorded {counted:?}, found {:?}",
                writer.minutes
            ));
        }
    }
    report.add(received);
    report.add(topics);
    let mut minutes = Check::new("counts of minutes, summed");
    for difference in over_time {
        minutes.differs(|| difference);
    }
    report.add(minutes);
}

/// Adds up the record of repeated events.
pub(super) fn check_repeats(record: &Record, check: &mut Check) {
    let mut all = 0_u64;
    for (number, writer) in &record.writers {
        let (recorded, found) = (
            writer.counters.unwrap_or_default().duplicates,
            writer.repeats,
        );
        if recorded != found {
            check.differs(|| {
                format!("writer {number}: {recorded} duplicates are recorded, and {found} in rows of repeats")
            });
        }
        all = all.saturating_add(found);
    }
    check.show(record.counts.duplicates, all);
}
