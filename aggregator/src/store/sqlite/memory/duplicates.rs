//! Duplicates since the start: the latest ones, and the most repeated identities.
//!
//! Both are bounded and in memory, so that a duplicate writes no page; a restart resets them. The counts of each
//! topic are exact and persistent, in its row.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::event::Source;

/// The number of latest duplicates that are kept.
const RECENT: usize = 10_000;

/// The minimum number of identities that are counted. When twice as many are, the half with the smaller counts is dropped.
const COUNTED: usize = 2_000;

/// The duplicates in memory. Cheap to clone; clones share one state.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Duplicates(Arc<Mutex<KnownDuplicates>>);

/// A duplicate: an arrival whose identity was already stored.
#[derive(Debug, Clone)]
pub(in crate::store) struct RecentDuplicate {
    /// The event that has the identity.
    pub stored: i64,
    pub topic_id: i64,
    /// The source of the duplicate.
    pub source: Source,
    pub stream_sequence: u64,
    pub position: usize,
    /// When it was counted, in microseconds since 1970.
    pub processed_at: i64,
    pub is_conflict: bool,
}

/// How often an identity was repeated: `least` to `most` times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct RepeatCount {
    pub stored: i64,
    pub topic_id: i64,
    pub least: u64,
    pub most: u64,
}

#[derive(Debug, Default)]
struct KnownDuplicates {
    recent: VecDeque<RecentDuplicate>,
    /// By the event that has the identity: its topic, and its repeats beyond `forgotten`.
    counts: HashMap<i64, (i64, u64)>,
    /// Upper bound on the repeats of an identity while it was not counted.
    forgotten: u64,
}

impl Duplicates {
    /// Adds the duplicates of a batch that has committed.
    pub fn enter(&self, duplicates: Vec<RecentDuplicate>) {
        if duplicates.is_empty() {
            return;
        }
        let mut known = self.known();
        for duplicate in &duplicates {
            let count = known.counts.entry(duplicate.stored);
            count.or_insert((duplicate.topic_id, 0)).1 += 1;
        }
        if known.counts.len() > 2 * COUNTED {
            known.forget();
        }
        let stale = duplicates.len().saturating_sub(RECENT);
        known.recent.extend(duplicates.into_iter().skip(stale));
        let over = known.recent.len().saturating_sub(RECENT);
        known.recent.drain(..over);
    }

    /// The latest duplicates of a topic, or of all topics, the latest first.
    pub fn recent(&self, topic_id: Option<i64>, limit: usize) -> Vec<RecentDuplicate> {
        let known = self.known();
        let of = |duplicate: &&RecentDuplicate| topic_id.is_none_or(|id| duplicate.topic_id == id);
        let latest = known.recent.iter().rev().filter(of);
        latest.take(limit).cloned().collect()
    }

    /// The most repeated identities of a topic, or of all topics, in descending order.
    pub fn most_repeated(&self, topic_id: Option<i64>, limit: usize) -> Vec<RepeatCount> {
        let known = self.known();
        let mut counts: Vec<_> = known
            .counts
            .iter()
            .filter(|(_, (topic, _))| topic_id.is_none_or(|id| *topic == id))
            .map(|(stored, (topic_id, count))| RepeatCount {
                stored: *stored,
                topic_id: *topic_id,
                least: *count,
                most: count + known.forgotten,
            })
            .collect();
        counts.sort_unstable_by_key(|count| (std::cmp::Reverse(count.least), count.stored));
        counts.truncate(limit);
        counts
    }

    /// How often an event's identity was repeated: at least, and at most.
    pub fn of(&self, stored: i64) -> (u64, u64) {
        let known = self.known();
        let least = known.counts.get(&stored).map_or(0, |(_, count)| *count);
        (least, least + known.forgotten)
    }

    fn known(&self) -> MutexGuard<'_, KnownDuplicates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownDuplicates {
    /// Subtracts the [`COUNTED`]-th largest count from every count, and drops those that reach zero. So no count is
    /// ever too large, and none is too small by more than the sum of all subtractions.
    fn forget(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().map(|(_, count)| *count).collect();
        let (_, subtracted, _) = counts.select_nth_unstable_by(COUNTED, |a, b| b.cmp(a));
        let subtracted = *subtracted;
        self.counts.retain(|_, (_, count)| {
            *count = count.saturating_sub(subtracted);
            *count > 0
        });
        self.forgotten += subtracted;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn duplicate(stored: i64) -> RecentDuplicate {
        RecentDuplicate {
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
    fn only_the_latest_duplicates_are_kept() {
        let duplicates = Duplicates::default();
        for batch in 0..3 {
            let first = batch * 7_000;
            duplicates.enter((first..first + 7_000).map(duplicate).collect());
        }
        let recent = duplicates.recent(None, usize::MAX);
        assert_eq!(recent.len(), RECENT);
        assert_eq!(recent[0].stored, 20_999);
        let even = duplicates.recent(Some(0), 2);
        let even: Vec<_> = even.iter().map(|duplicate| duplicate.stored).collect();
        assert_eq!(even, [20_998, 20_996]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// Few identities are repeated often, and very many once.
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
                duplicates.enter(batch.into_iter().map(duplicate).collect());
                prop_assert!(duplicates.most_repeated(None, usize::MAX).len() <= 2 * COUNTED);
            }
            for (stored, count) in exact {
                let (least, most) = duplicates.of(stored);
                prop_assert!((least..=most).contains(&count), "{} to {}, not {}", least, most, count);
            }
        }
    }
}
