//! Checks of the topics: each counts its events, and its digest is that of their set.

use super::Check;
use crate::store::digest::Digest;

/// The checks of the topics that were compared so far.
#[derive(Debug)]
pub(in crate::store) struct TopicChecks {
    unique: Check,
    digests: Check,
    topics: u64,
    counts_agree: u64,
    digests_agree: u64,
}

impl TopicChecks {
    pub fn new() -> Self {
        Self {
            unique: Check::new("topics whose events are counted right"),
            digests: Check::new("topics whose digest is that of their events"),
            topics: 0,
            counts_agree: 0,
            digests_agree: 0,
        }
    }

    /// Compares the unique events and the digest of a topic: recorded, and found. `None` for a digest that is not valid.
    pub fn topic(
        &mut self,
        name: &str,
        recorded: (u64, Option<Digest>),
        (unique, digest): (u64, Digest),
    ) {
        self.topics += 1;
        if unique == recorded.0 {
            self.counts_agree += 1;
        } else {
            self.unique.differs(|| {
                format!(
                    "topic {name:?}: {unique} events are stored, recorded {}",
                    recorded.0
                )
            });
        }
        if recorded.1 == Some(digest) {
            self.digests_agree += 1;
        } else {
            self.digests
                .differs(|| format!("topic {name:?}: its events do not match the recorded digest"));
        }
    }

    /// Adds events of a topic that is not recorded.
    pub fn absent(&mut self, topic: &str, events: u64) {
        self.unique
            .differs(|| format!("{events} events belong to topic {topic}, which does not exist"));
    }

    pub fn finish(mut self) -> (Check, Check) {
        self.unique.show(self.topics, self.counts_agree);
        self.digests.show(self.topics, self.digests_agree);
        (self.unique, self.digests)
    }
}
