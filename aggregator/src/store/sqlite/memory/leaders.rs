//! The topics that lead by a count or a time, in memory: no index of the file has to change with every count.
//!
//! Counts and times of a topic only ever grow, so a topic that is not among the leaders can become one only by a change of
//! its own: the writer offers what each batch has changed, after COMMIT. What was stored before is read after
//! the start, a part at a time; the order does not matter, for of two values of a topic the larger is the newer.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::event::Topic;

use crate::store::sqlite::writer::topics::TopicRow;

/// Leaders of each kind: as many as a page shows, and some more, for a page is of a commit of its own.
const MOST: usize = 1_100;

/// What topics lead by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Lead {
    /// Events that came.
    Received,
    /// Events stored.
    Unique,
    /// Duplicates.
    Duplicates,
    /// The latest first event.
    Newest,
    /// The earliest first event.
    Oldest,
    /// The latest event.
    Latest,
}

const LEADS: [Lead; 6] = [
    Lead::Received,
    Lead::Unique,
    Lead::Duplicates,
    Lead::Newest,
    Lead::Oldest,
    Lead::Latest,
];

/// A topic's counts and times at some commit.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Counts {
    pub received: u64,
    pub unique: u64,
    pub first_at: i64,
    pub last_at: i64,
}

impl Counts {
    /// Larger is nearer the top, and a later value of a topic is never smaller.
    fn by(&self, lead: Lead) -> i64 {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        match lead {
            Lead::Received => count(self.received),
            Lead::Unique => count(self.unique),
            Lead::Duplicates => count(self.received - self.unique),
            Lead::Newest => self.first_at,
            Lead::Oldest => -self.first_at,
            Lead::Latest => self.last_at,
        }
    }
}

/// What memory knows of leaders. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(in crate::store) struct Leaders(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    boards: [Board; LEADS.len()],
    /// How often it has forgotten all.
    life: u64,
    /// Topics of the store up to this id were offered in this life.
    upto: i64,
    is_whole: bool,
}

/// How far it is known what was stored before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Progress {
    life: u64,
    /// Topics up to this id were offered.
    pub upto: i64,
    /// Whether all were.
    pub is_whole: bool,
}

impl Default for Leaders {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Known {
            boards: LEADS.map(|_| Board::new(MOST)),
            life: 0,
            upto: 0,
            is_whole: false,
        })))
    }
}

impl Leaders {
    /// Takes in the topics that a batch has changed, once it has committed.
    pub fn enter(&self, topics: &HashMap<Topic, TopicRow>, last_at: i64) {
        let mut known = self.known();
        for (topic, row) in topics {
            let counts = Counts {
                received: row.received,
                unique: row.unique,
                first_at: row.first_at,
                last_at,
            };
            known.offer(row.id, topic.as_str(), &counts);
        }
    }

    /// Forgets all: what the file has is not known for certain.
    pub fn forget(&self) {
        let mut known = self.known();
        known.boards = LEADS.map(|_| Board::new(MOST));
        known.life += 1;
        known.upto = 0;
        known.is_whole = false;
    }

    /// To be asked before a transaction begins to read what is stored.
    pub fn progress(&self) -> Progress {
        let known = self.known();
        Progress {
            life: known.life,
            upto: known.upto,
            is_whole: known.is_whole,
        }
    }

    /// Takes in a topic as it is stored.
    pub fn offer(&self, id: i64, name: &str, counts: &Counts) {
        self.known().offer(id, name, counts);
    }

    /// All topics after `begun` and up to `upto` were offered. Of a life that is over that says nothing.
    pub fn offered(&self, begun: Progress, upto: i64, is_whole: bool) {
        let mut known = self.known();
        // Another query may have got further, or have begun later.
        if known.life == begun.life && begun.upto <= known.upto {
            known.upto = known.upto.max(upto);
            known.is_whole |= is_whole;
        }
    }

    /// The ids of the first `count` topics.
    pub fn first(&self, lead: Lead, count: usize) -> Vec<i64> {
        let known = self.known();
        let index = LEADS.iter().position(|other| *other == lead);
        let board = &known.boards[index.expect("each has its board")];
        let ids = board.places.iter().rev().map(|(_, _, id)| *id);
        ids.take(count).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn offer(&mut self, id: i64, name: &str, counts: &Counts) {
        for (board, lead) in self.boards.iter_mut().zip(LEADS) {
            board.offer(id, name, counts.by(lead));
        }
    }
}

/// A value, a name of which the smaller is nearer the top, and the id.
type Place = (i64, Reverse<Arc<str>>, i64);

/// The topics with the largest values.
#[derive(Debug)]
struct Board {
    places: BTreeSet<Place>,
    /// By id.
    values: HashMap<i64, (i64, Arc<str>)>,
    most: usize,
}

impl Board {
    fn new(most: usize) -> Self {
        Self {
            places: BTreeSet::new(),
            values: HashMap::new(),
            most,
        }
    }

    fn offer(&mut self, id: i64, name: &str, value: i64) {
        if let Some((worst, Reverse(last), _)) = self.places.first()
            && self.places.len() >= self.most
            && (value, Reverse(name)) < (*worst, Reverse(&**last))
        {
            return;
        }
        let name = match self.values.get(&id) {
            Some((known, _)) if *known >= value => return,
            Some((known, name)) => {
                let name = Arc::clone(name);
                self.places
                    .remove(&(*known, Reverse(Arc::clone(&name)), id));
                name
            }
            None => name.into(),
        };
        self.values.insert(id, (value, Arc::clone(&name)));
        self.places.insert((value, Reverse(name), id));
        if self.places.len() > self.most
            && let Some((_, _, worst)) = self.places.pop_first()
        {
            self.values.remove(&worst);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_leaders_are_those_of_all_topics_in_whatever_order_they_are_offered(
            steps in prop::collection::vec((0..30_i64, 0..3_i64, any::<bool>()), 0..200),
            most in 1..12_usize,
        ) {
            let mut board = Board::new(most);
            let mut values = HashMap::new();
            let mut earlier = Vec::new();
            for (id, more, is_late) in steps {
                let value = values.entry(id).or_insert(0);
                *value += more;
                // What was read before a change may be offered after it.
                if is_late {
                    earlier.push((id, *value));
                }
                board.offer(id, &format!("{:02}", 29 - id), *value);
            }
            for (id, value) in earlier {
                board.offer(id, &format!("{:02}", 29 - id), value);
            }
            let mut all: Vec<_> = values.into_iter().collect();
            // The names descend with the ids.
            all.sort_by_key(|(id, value)| (Reverse(*value), Reverse(*id)));
            all.truncate(most);
            let first: Vec<_> = board.places.iter().rev().map(|(value, _, id)| (*id, *value)).collect();
            prop_assert_eq!(first, all);
            prop_assert_eq!(board.values.len(), board.places.len());
        }
    }

    #[test]
    fn what_is_offered_of_a_life_that_is_over_counts_for_nothing() {
        let leaders = Leaders::default();
        let begun = leaders.progress();
        leaders.forget();
        leaders.offered(begun, 7, true);
        assert_eq!(leaders.progress().upto, 0);
        assert!(!leaders.progress().is_whole);
        let begun = leaders.progress();
        leaders.offered(begun, 7, false);
        let ahead = leaders.progress();
        leaders.offered(begun, 5, false);
        assert_eq!(leaders.progress(), ahead);
    }
}
