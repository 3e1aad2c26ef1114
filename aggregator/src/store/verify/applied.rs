//! What is remarked about applied and missing sequences.

use super::Check;
use crate::store::ranges::Ranges;

/// The maximum number of ranges named in a note.
const NAMED: usize = 3;

/// Notes the messages before the latest applied one that are not applied yet, as can happen after a kill. That is correct as
/// long as no row originates from them, which the scan of the rows checks.
pub(in crate::store) fn note_gaps(applied: &Ranges, why: &str, check: &mut Check) {
    let highest = applied.highest();
    let absent = applied.absent_within(1, highest);
    if absent == 0 {
        return;
    }
    let named: Vec<_> = applied
        .gaps(1, highest)
        .take(NAMED)
        .map(|(first, last)| format!("{first} to {last}"))
        .collect();
    check.note(format!(
        "{absent} messages before the latest applied are not applied yet; {why}: {}",
        named.join(", ")
    ));
}

/// Notes the messages that the stream lost.
pub(in crate::store) fn note_missing(missing: u64, unacknowledged: u64, check: &mut Check) {
    if missing > 0 {
        check.note(format!(
            "the stream lost {missing} messages before they were applied; {unacknowledged} of them are not acknowledged"
        ));
    }
}
