//! Compares what was counted from the messages, by topic too.

use crate::store::{
    sqlite::verify::{snapshot::Snapshot, temporary::TemporaryError, topics::Topics},
    verify::{
        Check,
        recount::{self, Recount},
    },
};

/// Compares the counts of the messages with the record.
pub(super) fn check(
    recount: &Recount,
    snapshot: &Snapshot,
    topics: &mut Topics,
) -> Result<Check, TemporaryError> {
    let mut check = recount.check(&snapshot.counts());
    topics.each(|topic, counted| {
        recount::topic(&mut check, &topic.name, topic.received(), counted.received);
    })?;
    Ok(check)
}
