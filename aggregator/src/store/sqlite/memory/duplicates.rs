//! Duplicates since the start: the latest ones, and the most repeated identities.
//!
//! Both are bounded and in memory; a restart resets them. While all duplicates are among the latest ones, each identity's count is
//! exact; then there are bounds. The counts of each topic and of each event are exact and persistent, in the topic's row and in
//! `repeats`.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::event::Source;

/// The number of latest duplicates that are kept. The page and the API's documents name it.
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
    /// The number of duplicates that `recent` has no room for.
    earlier: u64,
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
        known.earlier += (stale + over) as u64;
    }

    /// Notes that further duplicates were counted, of which nothing is known: their COMMIT was reported as failed.
    pub fn miss(&self, duplicates: u64) {
        let mut known = self.known();
        known.earlier += duplicates;
        known.forgotten += duplicates;
    }

    /// The topics that have any.
    pub fn topics(&self) -> HashSet<i64> {
        let known = self.known();
        let recent = known.recent.iter().map(|duplicate| duplicate.topic_id);
        let counted = known.counts.values().map(|(topic_id, _)| *topic_id);
        recent.chain(counted).collect()
    }

    /// The latest duplicates of those topics for which `is_of` returns true, the latest first.
    pub fn recent(&self, is_of: impl Fn(i64) -> bool, limit: usize) -> Vec<RecentDuplicate> {
        let known = self.known();
        let of = |duplicate: &&RecentDuplicate| is_of(duplicate.topic_id);
        let latest = known.recent.iter().rev().filter(of);
        latest.take(limit).cloned().collect()
    }

    /// The most repeated identities of those topics, in descending order.
    pub fn most_repeated(&self, is_of: impl Fn(i64) -> bool, limit: usize) -> Vec<RepeatCount> {
        let known = self.known();
        // By the event that has the identity: its topic, its repeats as counted, and those among the latest.
        let mut found = HashMap::<i64, (i64, u64, u64)>::new();
        for (stored, (topic, count)) in &known.counts {
            if is_of(*topic) {
                found.insert(*stored, (*topic, *count, 0));
            }
        }
        for duplicate in &known.recent {
            if is_of(duplicate.topic_id) {
                let one = found.entry(duplicate.stored);
                one.or_insert((duplicate.topic_id, 0, 0)).2 += 1;
            }
        }
        let count = |(stored, (topic_id, count, recent))| {
            let (least, most) = known.bounds(count, recent);
            RepeatCount {
                stored,
                topic_id,
                least,
                most,
            }
        };
        let mut counts: Vec<_> = found.into_iter().map(count).collect();
        counts.sort_unstable_by_key(|count| (std::cmp::Reverse(count.least), count.stored));
        counts.truncate(limit);
        counts
    }

    fn known(&self) -> MutexGuard<'_, KnownDuplicates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownDuplicates {
    /// At least and at most how often an identity was repeated that was counted `count` times, and is among the latest
    /// duplicates `recent` times. Exact while all duplicates are among the latest, or nothing is forgotten.
    fn bounds(&self, count: u64, recent: u64) -> (u64, u64) {
        (
            count.max(recent),
            (count + self.forgotten).min(recent + self.earlier),
        )
    }

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
        let recent = duplicates.recent(|_| true, usize::MAX);
        assert_eq!(recent.len(), RECENT);
        assert_eq!(recent[0].stored, 20_999);
        let even = duplicates.recent(|topic| topic == 0, 2);
        let even: Vec<_> = even.iter().map(|duplicate| duplicate.stored).collect();
        assert_eq!(even, [20_998, 20_996]);
    }

    #[test]
    fn counts_are_exact_while_all_duplicates_are_among_the_latest() {
        let duplicates = Duplicates::default();
        // More identities than are counted.
        let number = 2 * COUNTED + 100;
        let once = i64::try_from(number).unwrap();
        duplicates.enter((0..once).map(duplicate).collect());
        duplicates.enter(vec![duplicate(7), duplicate(7)]);
        let all = duplicates.most_repeated(|_| true, usize::MAX);
        assert_eq!(all.len(), number);
        assert!(all.iter().all(|one| one.least == one.most));
        assert_eq!((all[0].stored, all[0].least), (7, 3));
        let odd = duplicates.most_repeated(|topic| topic == 1, usize::MAX);
        assert_eq!(odd.len(), all.len() / 2);
        // From then on there are bounds.
        let others = i64::try_from(RECENT).unwrap();
        duplicates.enter((once..once + others).map(duplicate).collect());
        let all = duplicates.most_repeated(|_| true, 1);
        let RepeatCount {
            stored,
            least,
            most,
            ..
        } = all[0];
        assert_eq!(stored, 7);
        assert!(least <= 3 && 3 <= most && least < most, "{least} to {most}");
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
                prop_assert!(duplicates.known().counts.len() <= 2 * COUNTED);
                for RepeatCount { stored, least, most, .. } in duplicates.most_repeated(|_| true, usize::MAX) {
                    let count = exact[&stored];
                    prop_assert!((least..=most).contains(&count), "{} to {}, not {}", least, most, count);
                }
            }
        }
    }
}
