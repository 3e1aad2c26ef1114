//! Duplicates that came since the start: the latest ones, and the identities that came again most often.
//!
//! Both are bounded and in memory, so that a duplicate costs no page; after a restart they begin anew. The counts of each
//! topic, which are exact and kept, are in its row.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::event::Source;

/// Latest duplicates that are known.
const RECENT: usize = 10_000;

/// Identities whose counts are known at least. Between this many and twice as many are counted; then the smaller half
/// is forgotten.
const OFTEN: usize = 2_000;

/// What memory knows of duplicates. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Duplicates(Arc<Mutex<Known>>);

/// A duplicate: an identity that was stored already, in another place of the stream.
#[derive(Debug, Clone)]
pub(in crate::store) struct Again {
    /// The event that has the identity.
    pub stored: i64,
    pub topic_id: i64,
    /// Who sent the duplicate.
    pub source: Source,
    pub stream_sequence: u64,
    pub position: usize,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
    pub is_conflict: bool,
}

/// How often an identity came again: `least` to `most` times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Often {
    pub stored: i64,
    pub topic_id: i64,
    pub least: u64,
    pub most: u64,
}

#[derive(Debug, Default)]
struct Known {
    recent: VecDeque<Again>,
    /// By the event that has the identity: its topic, and how often it came again beyond `forgotten`.
    counts: HashMap<i64, (i64, u64)>,
    /// So often at most came an identity that is not counted, or before it was counted.
    forgotten: u64,
}

impl Duplicates {
    /// Takes in what a batch has committed.
    pub fn enter(&self, again: Vec<Again>) {
        if again.is_empty() {
            return;
        }
        let mut known = self.known();
        for again in &again {
            let count = known.counts.entry(again.stored);
            count.or_insert((again.topic_id, 0)).1 += 1;
        }
        if known.counts.len() > 2 * OFTEN {
            known.forget();
        }
        let stale = again.len().saturating_sub(RECENT);
        known.recent.extend(again.into_iter().skip(stale));
        let over = known.recent.len().saturating_sub(RECENT);
        known.recent.drain(..over);
    }

    /// The latest ones of a topic, or of all, the latest first.
    pub fn recent(&self, topic_id: Option<i64>, limit: usize) -> Vec<Again> {
        let known = self.known();
        let of = |again: &&Again| topic_id.is_none_or(|id| again.topic_id == id);
        let latest = known.recent.iter().rev().filter(of);
        latest.take(limit).cloned().collect()
    }

    /// The identities of a topic, or of all, that came again most often, those first.
    pub fn often(&self, topic_id: Option<i64>, limit: usize) -> Vec<Often> {
        let known = self.known();
        let mut often: Vec<_> = known
            .counts
            .iter()
            .filter(|(_, (topic, _))| topic_id.is_none_or(|id| *topic == id))
            .map(|(stored, (topic_id, count))| Often {
                stored: *stored,
                topic_id: *topic_id,
                least: *count,
                most: count + known.forgotten,
            })
            .collect();
        often.sort_unstable_by_key(|often| (std::cmp::Reverse(often.least), often.stored));
        often.truncate(limit);
        often
    }

    /// How often an event's identity came again: at least, and at most.
    pub fn of(&self, stored: i64) -> (u64, u64) {
        let known = self.known();
        let least = known.counts.get(&stored).map_or(0, |(_, count)| *count);
        (least, least + known.forgotten)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes the [`OFTEN`]-th largest count from every count; those that have none left are forgotten. So no count is
    /// ever too large, and none too small by more than all that was taken.
    fn forget(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().map(|(_, count)| *count).collect();
        let (_, taken, _) = counts.select_nth_unstable_by(OFTEN, |a, b| b.cmp(a));
        let taken = *taken;
        self.counts.retain(|_, (_, count)| {
            *count = count.saturating_sub(taken);
            *count > 0
        });
        self.forgotten += taken;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(stored: i64) -> Again {
        Again {
            stored,
            topic_id: stored % 2,
            source: Source::new("s").unwrap(),
            stream_sequence: 1,
            position: 0,
            processed_at: stored,
            is_conflict: false,
        }
    }

    #[test]
    fn the_latest_are_known_and_no_more() {
        let duplicates = Duplicates::default();
        for batch in 0..3 {
            let first = batch * 7_000;
            duplicates.enter((first..first + 7_000).map(again).collect());
        }
        let recent = duplicates.recent(None, usize::MAX);
        assert_eq!(recent.len(), RECENT);
        assert_eq!(recent[0].stored, 20_999);
        let even = duplicates.recent(Some(0), 2);
        let even: Vec<_> = even.iter().map(|again| again.stored).collect();
        assert_eq!(even, [20_998, 20_996]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Few identities come often and very many come once.
        #[test]
        fn a_count_lies_between_its_bounds_and_memory_is_bounded(
            heavy in prop::collection::vec(0i64..20, 1..400),
            rounds in 1i64..6,
        ) {
            let duplicates = Duplicates::default();
            let mut exact = HashMap::<i64, u64>::new();
            for round in 0..rounds {
                let light = (0..3_000).map(|i| 1_000 + round * 3_000 + i);
                let batch: Vec<_> = heavy.iter().copied().chain(light).collect();
                for stored in &batch {
                    *exact.entry(*stored).or_default() += 1;
                }
                duplicates.enter(batch.into_iter().map(again).collect());
                prop_assert!(duplicates.often(None, usize::MAX).len() <= 2 * OFTEN);
            }
            for (stored, count) in exact {
                let (least, most) = duplicates.of(stored);
                prop_assert!((least..=most).contains(&count), "{} to {}, not {}", least, most, count);
            }
        }
    }
}
