//! The lives of streams, numbered for a store in a database: there, a message's place is made of its sequence and the base of its life,
//! and the current life is the one with the highest number.

use std::collections::HashMap;

use crate::store::{StoreError, Witness, ranges::Ranges};

/// A life of a stream in a data directory.
#[derive(Debug, Clone)]
pub(in crate::store) struct Life {
    /// Its number in the directory.
    pub id: i64,
    pub stream: String,
    pub created: i64,
    pub epoch: i64,
    pub latest_time: i64,
    pub begun_at: i64,
    pub witness: Witness,
    pub evicted_to: u64,
    pub applied: Ranges,
}

impl Life {
    /// The highest sequence that a row of it can have.
    fn highest(&self) -> u64 {
        self.applied.highest().max(self.witness.sequence)
    }
}

/// The same life in a database.
#[derive(Debug, Clone)]
pub(in crate::store) struct Numbered {
    /// Its number in the database.
    pub id: i64,
    /// What is added to the sequences of its messages: larger than all sums of the lives before it.
    pub base: i64,
    pub life: Life,
}

/// All lives, in the order in which the database has them.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Lives {
    pub all: Vec<Numbered>,
    /// Their places in `all`, by their numbers in the directory.
    places: HashMap<i64, usize>,
}

impl Lives {
    /// Numbers lives that are in the order of their ids. The current one comes last: a stream that the aggregator returned to has the
    /// number that it began with.
    pub fn of(mut lives: Vec<Life>, current: Option<i64>) -> Self {
        lives.sort_by_key(|life| (Some(life.id) == current, life.id));
        let mut numbered = Self::default();
        let mut base = 0;
        for (id, life) in (1..).zip(lives) {
            numbered.places.insert(life.id, numbered.all.len());
            let next = base + i64::try_from(life.highest()).unwrap_or(i64::MAX / 4) + 1;
            numbered.all.push(Numbered { id, base, life });
            base = next;
        }
        numbered
    }

    /// The number of a life in the database, and the sum of its base and a sequence.
    ///
    /// # Errors
    /// If no life with this number in the directory has the sequence.
    pub fn message(&self, life: i64, sequence: u64) -> Result<(i64, i64), StoreError> {
        let place = self.places.get(&life);
        let numbered = place.map(|place| &self.all[*place]);
        let found = numbered.filter(|found| (1..=found.life.highest()).contains(&sequence));
        let found = found.ok_or_else(|| {
            StoreError::Foreign(format!(
                "a row is of message {sequence} of incarnation {life}, which is not applied"
            ))
        })?;
        Ok((found.id, found.base + sequence.cast_signed()))
    }

    /// The largest sum of a base and a sequence.
    pub fn last_message(&self) -> i64 {
        self.all.last().map_or(0, |last| {
            last.base + i64::try_from(last.life.highest()).unwrap_or(i64::MAX / 4)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(id: i64, highest: u64) -> Life {
        let mut applied = Ranges::default();
        applied.insert(1, highest);
        Life {
            id,
            stream: "EVENTS".to_owned(),
            created: id,
            epoch: 1,
            latest_time: 0,
            begun_at: 0,
            witness: Witness::default(),
            evicted_to: 0,
            applied,
        }
    }

    #[test]
    fn each_life_has_messages_of_its_own_and_the_current_one_comes_last() {
        let lives = Lives::of(vec![life(1, 10), life(2, 0), life(5, 7)], Some(1));
        let ids: Vec<_> = lives.all.iter().map(|one| (one.id, one.life.id)).collect();
        assert_eq!(ids, [(1, 2), (2, 5), (3, 1)]);
        assert_eq!(lives.message(5, 1).unwrap(), (2, 2));
        assert_eq!(lives.message(5, 7).unwrap(), (2, 8));
        assert_eq!(lives.message(1, 1).unwrap(), (3, 10));
        assert_eq!(lives.message(1, 10).unwrap(), (3, lives.last_message()));
        for (life, sequence) in [(1, 0), (1, 11), (2, 1), (3, 1)] {
            lives.message(life, sequence).unwrap_err();
        }
    }

    #[test]
    fn a_store_that_was_never_compared_with_a_stream_has_no_lives() {
        let lives = Lives::of(Vec::new(), None);
        assert_eq!((lives.all.len(), lives.last_message()), (0, 0));
    }
}
