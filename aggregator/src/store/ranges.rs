//! Sets of sequence numbers, stored as ranges: few rows however many numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

/// A set of sequence numbers from 1, kept as inclusive ranges that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Whether `sequence` is in the set.
    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        let range = self.0.range(..=sequence).next_back();
        range.is_some_and(|(_, last)| sequence <= *last)
    }

    /// Adds every number from `first` to `last`, both included.
    pub fn insert(&mut self, first: u64, last: u64) {
        self.insert_noting(first, last, |_| {});
    }

    /// As [`Self::insert`]; calls `note` with the start of each range that was added, removed or extended.
    fn insert_noting(&mut self, mut first: u64, mut last: u64, mut note: impl FnMut(u64)) {
        if first > last || self.covers(first, last) {
            return;
        }
        // Merge every range that overlaps or touches, from right to left.
        while let Some((&start, &end)) = self.0.range(..=last.saturating_add(1)).next_back()
            && end.saturating_add(1) >= first
        {
            self.0.remove(&start);
            note(start);
            first = first.min(start);
            last = last.max(end);
        }
        self.0.insert(first, last);
        note(first);
    }

    /// Whether all from `first` to `last`, both included, are in the set.
    fn covers(&self, first: u64, last: u64) -> bool {
        let range = self.0.range(..=first).next_back();
        range.is_some_and(|(_, &end)| last <= end)
    }

    /// The largest number such that all from 1 up to it are in the set; 0 if 1 is not.
    #[must_use]
    pub fn floor(&self) -> u64 {
        match self.0.first_key_value() {
            Some((&first, &last)) if first <= 1 => last,
            _ => 0,
        }
    }

    /// The largest number of the set, or 0.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, &last)| last)
    }

    /// How many numbers from `first` to `last`, both included, are not in the set.
    #[must_use]
    pub fn absent_within(&self, first: u64, last: u64) -> u64 {
        self.gaps(first, last)
            .map(|(first, last)| last - first + 1)
            .sum()
    }

    /// The ranges from `first` to `last`, both included, that are not in the set.
    pub fn gaps(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let before = self.0.range(..=first).next_back();
        let mut next = before.map_or(first, |(_, &end)| first.max(end.saturating_add(1)));
        let mut gaps = Vec::new();
        for (&start, &end) in self.0.range(first.saturating_add(1)..) {
            if next > last {
                break;
            }
            if start > next {
                gaps.push((next, last.min(start - 1)));
            }
            next = next.max(end.saturating_add(1));
        }
        if next <= last {
            gaps.push((next, last));
        }
        gaps.into_iter()
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(&first, &last)| (first, last))
    }

    /// The end of the range that begins at `first`.
    #[must_use]
    pub fn end_of(&self, first: u64) -> Option<u64> {
        self.0.get(&first).copied()
    }
}

/// A set of sequence numbers that tracks its changes since it was last written, so that writing takes time proportional to the
/// changes, however many ranges there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracked {
    ranges: Ranges,
    /// Starts of ranges, present or former, that differ from what is written.
    changed: BTreeSet<u64>,
}

impl Tracked {
    /// A set that is already written.
    #[must_use]
    pub fn written(ranges: Ranges) -> Self {
        Self {
            ranges,
            changed: BTreeSet::new(),
        }
    }

    /// Adds every number from `first` to `last`, both included.
    pub fn insert(&mut self, first: u64, last: u64) {
        let changed = &mut self.changed;
        self.ranges.insert_noting(first, last, |first| {
            changed.insert(first);
        });
    }

    /// Takes the changes, which count as written from then on: the start of each range and its end, or `None` if no range starts
    /// there any more.
    pub fn take_changed(&mut self) -> impl Iterator<Item = (u64, Option<u64>)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|first| (first, self.ranges.end_of(first)))
    }
}

impl Deref for Tracked {
    type Target = Ranges;

    fn deref(&self) -> &Ranges {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_become_one_range() {
        let mut ranges = Ranges::default();
        for sequence in [1, 3, 5, 4, 2] {
            ranges.insert(sequence, sequence);
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(1, 5)]);
        assert_eq!(ranges.floor(), 5);
    }

    proptest! {
        #[test]
        fn written_changes_add_up_to_the_set(batches in prop::collection::vec(prop::collection::vec((1u64..200, 0u64..8), 0..10), 0..10)) {
            let mut tracked = Tracked::default();
            let mut written = BTreeMap::new();
            for batch in batches {
                for (first, length) in batch {
                    tracked.insert(first, first + length);
                }
                for (first, last) in tracked.take_changed().collect::<Vec<_>>() {
                    match last {
                        Some(last) => written.insert(first, last),
                        None => written.remove(&first),
                    };
                }
                prop_assert_eq!(written.iter().map(|(&f, &l)| (f, l)).collect::<Vec<_>>(), tracked.iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn ranges_agree_with_a_plain_set(inserts in prop::collection::vec((1u64..60, 0u64..8), 0..30), from in 1u64..70, length in 0u64..30) {
            let mut ranges = Ranges::default();
            let mut model = BTreeSet::new();
            for (first, length) in inserts {
                ranges.insert(first, first + length);
                model.extend(first..=first + length);
            }
            for sequence in 0..80 {
                prop_assert_eq!(ranges.contains(sequence), model.contains(&sequence));
            }
            let floor = (1..100).find(|sequence| !model.contains(sequence)).unwrap() - 1;
            prop_assert_eq!(ranges.floor(), floor);
            prop_assert_eq!(ranges.highest(), model.last().copied().unwrap_or(0));
            let absent: Vec<_> = (from..=from + length).filter(|s| !model.contains(s)).collect();
            let gaps: Vec<_> = ranges.gaps(from, from + length).flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(&gaps, &absent);
            prop_assert_eq!(ranges.absent_within(from, from + length), absent.len() as u64);
            let all: Vec<_> = ranges.iter().collect();
            for pair in all.windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0, "ranges touch: {:?}", pair);
            }
        }
    }
}
