//! Checks that the record adds up: its counters must agree with each other and with the rows kept for review.

use super::Check;

/// The counters of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Counts {
    pub received: u64,
    pub unique: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub conflicts: u64,
}

/// The counters of the rows of `rejected` or `conflicts`.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Recorded {
    /// All that there have ever been.
    pub all: u64,
    pub evicted: u64,
    pub bytes: u64,
}

/// The rows of `rejected` or `conflicts`.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store) struct ReviewRows {
    pub rows: u64,
    pub bytes: u64,
    /// Rows of messages that are not applied.
    pub stray: u64,
    /// The id of the first such row.
    pub first_stray: Option<u64>,
}

/// Checks that each arrival is counted as one thing.
pub(in crate::store) fn received(counts: &Counts) -> Check {
    let sum = counts
        .unique
        .saturating_add(counts.duplicates)
        .saturating_add(counts.rejected);
    Check::equal(
        "received = unique + duplicates + rejected",
        counts.received,
        sum,
    )
}

/// Checks the counters against the sums over all topics.
pub(in crate::store) fn by_topic(counts: &Counts, unique: u64, duplicates: u64) -> Check {
    let mut check = Check::equal(
        "duplicates, summed over topics",
        counts.duplicates,
        duplicates,
    );
    if unique != counts.unique {
        check.differs(|| {
            format!(
                "unique events, summed over topics: recorded {}, found {unique}",
                counts.unique
            )
        });
    }
    if counts.conflicts > counts.duplicates {
        check.differs(|| {
            format!(
                "there are {} conflicts but only {} duplicates; every conflict is also a duplicate",
                counts.conflicts, counts.duplicates
            )
        });
    }
    check
}

/// Checks rows that are kept for review, and those that were evicted, against their counters.
pub(in crate::store) fn review_rows(
    name: &'static str,
    recorded: Recorded,
    rows: ReviewRows,
) -> Check {
    let mut check = Check::equal(
        name,
        recorded.all,
        rows.rows.saturating_add(recorded.evicted),
    );
    if rows.bytes != recorded.bytes {
        check.differs(|| {
            format!(
                "{name}: bytes of the rows: recorded {}, found {}",
                recorded.bytes, rows.bytes
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
