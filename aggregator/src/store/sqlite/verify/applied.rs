//! Checks of the applied sequences: ranges that neither touch nor overlap, without a gap up to their floor.

use super::snapshot::{IncarnationRow, Snapshot};
use crate::store::verify::{
    Check,
    applied::{note_gaps, note_missing},
};

/// Checks the ranges of every incarnation.
pub(super) fn check(snapshot: &Snapshot) -> Check {
    let mut check = Check::new("applied sequences");
    let (mut recorded, mut found) = (0, 0);
    for row in &snapshot.incarnations {
        for pair in row.rows.windows(2) {
            let ((_, last), (first, _)) = (pair[0], pair[1]);
            if first <= last.saturating_add(1) {
                check.differs(|| {
                    format!(
                        "incarnation {}: the applied range that ends at {last} overlaps or touches the one that begins at {first}",
                        row.id
                    )
                });
            }
        }
        for (first, last) in &row.rows {
            recorded += (last + 1).saturating_sub(*first);
            if first > last || *first == 0 {
                check.differs(|| {
                    format!(
                        "incarnation {}: {first} to {last} is not a valid range of sequences",
                        row.id
                    )
                });
            }
        }
        found += row
            .applied
            .iter()
            .map(|(first, last)| last + 1 - first)
            .sum::<u64>();
        if row.witness != 0 && !row.applied.contains(row.witness) {
            check.differs(|| {
                format!(
                    "incarnation {}: message {} is recorded as the latest applied, but is in no applied range",
                    row.id, row.witness
                )
            });
        }
        if Some(row.id) == snapshot.current {
            let why = "the broker will redeliver them";
            note_gaps(&row.applied, why, &mut check);
        }
    }
    check.show(recorded, found);
    check
}

/// Checks that missing sequences are in `applied` as well, so that the floor can advance past them.
pub(super) fn missing(snapshot: &Snapshot) -> Check {
    let mut check = Check::new("missing sequences");
    let (mut missing, mut unacknowledged) = (0, 0);
    for range in &snapshot.missing {
        let count = (range.last + 1).saturating_sub(range.first);
        missing += count;
        if !range.is_acknowledged {
            unacknowledged += count;
        }
        let row = snapshot.incarnation(range.incarnation);
        let is_passed =
            |row: &IncarnationRow| row.applied.absent_within(range.first, range.last) == 0;
        if !row.is_some_and(is_passed) {
            check.differs(|| {
                format!(
                    "incarnation {}: {} to {} are missing, but not in the applied ranges",
                    range.incarnation, range.first, range.last
                )
            });
        }
    }
    note_missing(missing, unacknowledged, &mut check);
    check
}
