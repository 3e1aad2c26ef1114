//! Recounts received events and duplicates from the messages. This is possible only while the stream still has every
//! message.

use crate::store::sqlite::verify::{
    report::Check, snapshot::Snapshot, temporary::TemporaryError, topics::Topics,
};

/// The counts of the messages. Events by topic are counted in [`Topics`].
#[derive(Debug, Default)]
pub(super) struct Recount {
    pub received: u64,
    pub duplicates: u64,
    pub conflicts: u64,
    /// Duplicates with the same content in a different notation. Earlier versions counted them as conflicts.
    pub reworded: u64,
    pub rejected: u64,
}

const NAME: &str = "received, from the messages";

impl Recount {
    pub fn left_out(why: &str) -> Check {
        Check::left_out(NAME, why)
    }

    pub fn check(&self, snapshot: &Snapshot, topics: &mut Topics) -> Result<Check, TemporaryError> {
        let counters = &snapshot.counters;
        let mut check = Check::equal(NAME, counters.received, self.received);
        let most = self.conflicts + self.reworded;
        for (what, recorded, found) in [
            ("duplicates", counters.duplicate_dropped, self.duplicates),
            (
                "conflicts",
                counters.conflicts,
                counters.conflicts.clamp(self.conflicts, most),
            ),
            ("rejected", counters.rejected, self.rejected),
        ] {
            if recorded != found {
                check.differs(|| {
                    format!("{what}, counted from the messages: recorded {recorded}, found {found}")
                });
            }
        }
        topics.each(|topic, counted| {
            let found = counted.received;
            if found != topic.received() {
                check.differs(|| {
                    format!(
                        "topic {:?}: received, counted from the messages: recorded {}, found {found}",
                        topic.name,
                        topic.received()
                    )
                });
            }
        })?;
        Ok(check)
    }
}
