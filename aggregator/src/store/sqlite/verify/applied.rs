//! The applied sequences: ranges that neither touch nor overlap, without a gap up to their floor.

use super::{
    report::Check,
    snapshot::{Life, Snapshot},
};

/// Ranges that are named in a note.
const NAMED: usize = 3;

/// Checks the ranges of every incarnation.
pub(super) fn check(snapshot: &Snapshot) -> Check {
    let mut check = Check::new("applied sequences");
    let (mut recorded, mut found) = (0, 0);
    for life in &snapshot.lives {
        for pair in life.rows.windows(2) {
            let ((_, last), (first, _)) = (pair[0], pair[1]);
            if first <= last.saturating_add(1) {
                check.differs(|| {
                    format!(
                        "incarnation {}: the applied range that ends at {last} meets the one that begins at {first}",
                        life.id
                    )
                });
            }
        }
        for (first, last) in &life.rows {
            recorded += (last + 1).saturating_sub(*first);
            if first > last || *first == 0 {
                check.differs(|| {
                    format!(
                        "incarnation {}: {first} to {last} is no range of sequences",
                        life.id
                    )
                });
            }
        }
        found += life
            .applied
            .iter()
            .map(|(first, last)| last + 1 - first)
            .sum::<u64>();
        if life.witness != 0 && !life.applied.contains(life.witness) {
            check.differs(|| {
                format!(
                    "incarnation {}: message {} is recorded as the latest applied, and is not among them",
                    life.id, life.witness
                )
            });
        }
        if Some(life.id) == snapshot.current {
            gaps(life, &mut check);
        }
    }
    check.show(recorded, found);
    check
}

/// After a kill, messages before the latest applied may not be applied yet. That is in order as long as no row is of
/// them, which the rows themselves tell.
fn gaps(life: &Life, check: &mut Check) {
    let highest = life.applied.highest();
    let absent = life.applied.absent_within(1, highest);
    if absent == 0 {
        return;
    }
    let gaps = life.applied.gaps(1, highest);
    let named: Vec<_> = gaps
        .take(NAMED)
        .map(|(first, last)| format!("{first} to {last}"))
        .collect();
    check.note(format!(
        "{absent} messages before the latest applied are not applied yet; the broker delivers them again: {}",
        named.join(", ")
    ));
}

/// Missing sequences stand in `applied` too, so that the floor passes them.
pub(super) fn missing(snapshot: &Snapshot) -> Check {
    let mut check = Check::new("missing sequences");
    let (mut missing, mut unacknowledged) = (0, 0);
    for range in &snapshot.missing {
        let count = (range.last + 1).saturating_sub(range.first);
        missing += count;
        if !range.is_acknowledged {
            unacknowledged += count;
        }
        let life = snapshot.life(range.incarnation);
        let is_passed = |life: &Life| life.applied.absent_within(range.first, range.last) == 0;
        if !life.is_some_and(is_passed) {
            check.differs(|| {
                format!(
                    "incarnation {}: {} to {} are missing, and the floor does not pass them",
                    range.incarnation, range.first, range.last
                )
            });
        }
    }
    if missing > 0 {
        check.note(format!(
            "the stream lost {missing} messages before they were applied, of which {unacknowledged} are not acknowledged"
        ));
    }
    check
}
