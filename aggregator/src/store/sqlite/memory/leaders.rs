//! The leading topics by each count and time, in memory, so that no index in the file changes with every count.
//!
//! A topic's counts and times only grow, so a topic that is not among the leaders can become one only by a change of
//! its own: the writer offers the topics of each batch after COMMIT. Topics stored before are read after
//! the start, a part at a time. The order does not matter: of two values of a topic the larger is the newer.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::event::Topic;

use crate::store::sqlite::topics::TopicState;

/// Leaders of each kind: as many as a page shows, and some more, because a page is read as of its own commit.
const MOST: usize = 1_100;

/// The order of a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Lead {
    /// Events received.
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

/// The value of a topic to rank by: larger is nearer the top, and a later value of a topic is never smaller.
fn value(topic: &TopicState, lead: Lead) -> i64 {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    match lead {
        Lead::Received => count(topic.received()),
        Lead::Unique => count(topic.unique),
        Lead::Duplicates => count(topic.duplicates),
        Lead::Newest => topic.first_at,
        Lead::Oldest => -topic.first_at,
        Lead::Latest => topic.last_at,
    }
}

/// The leaders in memory. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub(in crate::store) struct Leaders(Arc<Mutex<KnownLeaders>>);

#[derive(Debug)]
struct KnownLeaders {
    boards: [Board; LEADS.len()],
    /// How often everything was forgotten.
    life: u64,
    /// The id up to which the store's topics were offered in this life.
    upto: i64,
    is_whole: bool,
}

/// How far the stored topics were offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Progress {
    life: u64,
    /// The id up to which topics were offered.
    pub upto: i64,
    /// Whether all were.
    pub is_whole: bool,
}

impl Default for Leaders {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(KnownLeaders {
            boards: LEADS.map(|_| Board::new(MOST)),
            life: 0,
            upto: 0,
            is_whole: false,
        })))
    }
}

impl Leaders {
    /// Offers the topics of a batch that has committed.
    pub fn enter(&self, topics: &[(Topic, TopicState)]) {
        let mut known = self.known();
        for (name, state) in topics {
            known.offer(name.as_str(), state);
        }
    }

    /// Forgets everything, because the file's content is uncertain.
    pub fn forget(&self) {
        let mut known = self.known();
        known.boards = LEADS.map(|_| Board::new(MOST));
        known.life += 1;
        known.upto = 0;
        known.is_whole = false;
    }

    /// The progress, to be taken before the transaction that reads stored topics begins.
    pub fn progress(&self) -> Progress {
        let known = self.known();
        Progress {
            life: known.life,
            upto: known.upto,
            is_whole: known.is_whole,
        }
    }

    /// Offers a topic as stored.
    pub fn offer(&self, name: &str, topic: &TopicState) {
        self.known().offer(name, topic);
    }

    /// Records that all topics after `start` and up to `upto` were offered. Has no effect if `start` is of an earlier life.
    pub fn offered(&self, start: Progress, upto: i64, is_whole: bool) {
        let mut known = self.known();
        // Another query may have advanced further, or started later.
        if known.life == start.life && start.upto <= known.upto {
            known.upto = known.upto.max(upto);
            known.is_whole |= is_whole;
        }
    }

    /// The ids of the first `count` topics.
    pub fn first(&self, lead: Lead, count: usize) -> Vec<i64> {
        let known = self.known();
        let index = LEADS.iter().position(|other| *other == lead);
        let board = &known.boards[index.expect("each order has its board")];
        let ids = board.ranks.iter().rev().map(|(_, _, id)| *id);
        ids.take(count).collect()
    }

    fn known(&self) -> MutexGuard<'_, KnownLeaders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownLeaders {
    fn offer(&mut self, name: &str, topic: &TopicState) {
        for (board, lead) in self.boards.iter_mut().zip(LEADS) {
            board.offer(topic.id, name, value(topic, lead));
        }
    }
}

/// The value, the name, of which the smaller is nearer the top, and the id.
type Rank = (i64, Reverse<Arc<str>>, i64);

/// The topics with the largest values.
#[derive(Debug)]
struct Board {
    ranks: BTreeSet<Rank>,
    /// By id.
    values: HashMap<i64, (i64, Arc<str>)>,
    most: usize,
}

impl Board {
    fn new(most: usize) -> Self {
        Self {
            ranks: BTreeSet::new(),
            values: HashMap::new(),
            most,
        }
    }

    fn offer(&mut self, id: i64, name: &str, value: i64) {
        if let Some((worst, Reverse(last), _)) = self.ranks.first()
            && self.ranks.len() >= self.most
            && (value, Reverse(name)) < (*worst, Reverse(&**last))
        {
            return;
        }
        let name = match self.values.get(&id) {
            Some((known, _)) if *known >= value => return,
            Some((known, name)) => {
                let name = Arc::clone(name);
                self.ranks.remove(&(*known, Reverse(Arc::clone(&name)), id));
                name
            }
            None => name.into(),
        };
        self.values.insert(id, (value, Arc::clone(&name)));
        self.ranks.insert((value, Reverse(name), id));
        if self.ranks.len() > self.most
            && let Some((_, _, worst)) = self.ranks.pop_first()
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
        fn the_leaders_do_not_depend_on_the_order_in_which_topics_are_offered(
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
            let first: Vec<_> = board.ranks.iter().rev().map(|(value, _, id)| (*id, *value)).collect();
            prop_assert_eq!(first, all);
            prop_assert_eq!(board.values.len(), board.ranks.len());
        }
    }

    #[test]
    fn topics_offered_in_an_earlier_life_have_no_effect() {
        let leaders = Leaders::default();
        let start = leaders.progress();
        leaders.forget();
        leaders.offered(start, 7, true);
        assert_eq!(leaders.progress().upto, 0);
        assert!(!leaders.progress().is_whole);
        let start = leaders.progress();
        leaders.offered(start, 7, false);
        let ahead = leaders.progress();
        leaders.offered(start, 5, false);
        assert_eq!(leaders.progress(), ahead);
    }
}
