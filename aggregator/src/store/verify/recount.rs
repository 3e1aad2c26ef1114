//! Recounts received events and duplicates from the messages. This is possible only while the stream still has every
//! message.

use super::{Check, balance::Counts};

/// The counts of the messages. Events by topic are counted by each engine.
#[derive(Debug, Default)]
pub(in crate::store) struct Recount {
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

    /// Compares the counts, except those of topics.
    pub fn check(&self, counts: &Counts) -> Check {
        let mut check = Check::equal(NAME, counts.received, self.received);
        let most = self.conflicts + self.reworded;
        for (what, recorded, found) in [
            ("duplicates", counts.duplicates, self.duplicates),
            (
                "conflicts",
                counts.conflicts,
                counts.conflicts.clamp(self.conflicts, most),
            ),
            ("rejected", counts.rejected, self.rejected),
        ] {
            if recorded != found {
                check.differs(|| {
                    format!("{what}, counted from the messages: recorded {recorded}, found {found}")
                });
            }
        }
        check
    }
}

/// Compares the received events of a topic.
pub(in crate::store) fn topic(check: &mut Check, name: &str, recorded: u64, found: u64) {
    if found != recorded {
        check.differs(|| {
            format!(
                "topic {name:?}: received, counted from the messages: recorded {recorded}, found {found}"
            )
        });
    }
}
