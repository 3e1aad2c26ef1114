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
    /// Increases whenever everything is forgotten.
    generation: u64,
    /// The id up to which the store's topics were offered in this generation.
    upto: i64,
    is_whole: bool,
}

/// How far the stored topics were offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Progress {
    generation: u64,
    /// The id up to which topics were offered.
    pub upto: i64,
    /// Whether all were.
    pub is_whole: bool,
}

impl Default for Leaders {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(KnownLeaders {
            boards: LEADS.map(|_| Board::new(MOST)),
            generation: 0,
            upto: 0,
            is_whole: false,
        })))
    }
}

impl Leaders {
    /// Offers the topics of a batch that has committed.
    pub fn enter<'a>(&self, topics: impl Iterator<Item = (&'a str, &'a TopicState)>) {
        let topics: Vec<_> = topics
            .map(|(name, topic)| (name, topic.id, LEADS.map(|lead| value(topic, lead))))
            .collect();
        let mut known = self.known();
        for (index, board) in known.boards.iter_mut().enumerate() {
            let offers = topics.iter().map(|(name, id, values)| Offer {
                value: values[index],
                name: Reverse(name),
                id: *id,
            });
            board.enter(offers);
        }
    }

    /// Forgets everything, because the file's content is uncertain.
    pub fn forget(&self) {
        let mut known = self.known();
        known.boards = LEADS.map(|_| Board::new(MOST));
        known.generation += 1;
        known.upto = 0;
        known.is_whole = false;
    }

    /// The progress, to be taken before the transaction that reads stored topics begins.
    pub fn progress(&self) -> Progress {
        let known = self.known();
        Progress {
            generation: known.generation,
            upto: known.upto,
            is_whole: known.is_whole,
        }
    }

    /// Offers a topic as stored.
    pub fn offer(&self, name: &str, topic: &TopicState) {
        self.known().offer(name, topic);
    }

    /// Records that all topics after `start` and up to `upto` were offered. Has no effect if `start` is of an earlier
    /// generation.
    pub fn offered(&self, start: Progress, upto: i64, is_whole: bool) {
        let mut known = self.known();
        // Another query may have advanced further, or started later.
        if known.generation == start.generation && start.upto <= known.upto {
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
            board.offer(Offer {
                value: value(topic, lead),
                name: Reverse(name),
                id: topic.id,
            });
        }
    }
}

/// The value, the name, of which the smaller is nearer the top, and the id.
type Rank = (i64, Reverse<Arc<str>>, i64);

/// A topic that may be among the leaders, in the order of [`Rank`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Offer<'a> {
    value: i64,
    name: Reverse<&'a str>,
    id: i64,
}

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

    /// Offers the topics of a batch: of more than there is room for, only the best.
    fn enter<'a>(&mut self, offers: impl Iterator<Item = Offer<'a>>) {
        let worst = self.worst();
        let mut offers: Vec<_> = offers.filter(|offer| worst <= Some(*offer)).collect();
        if offers.len() >= self.most {
            offers.select_nth_unstable_by(self.most - 1, |one, other| other.cmp(one));
            offers.truncate(self.most);
            let best = self.ranks.last().map(|(value, ..)| *value);
            // As by the time of the latest event: each batch has a later one.
            if offers.iter().all(|offer| Some(offer.value) > best) {
                return self.replace(offers);
            }
        }
        for offer in offers {
            self.offer(offer);
        }
    }

    fn replace(&mut self, offers: Vec<Offer<'_>>) {
        let rank = |offer: Offer<'_>| (offer.value, Reverse(offer.name.0.into()), offer.id);
        self.ranks = offers.into_iter().map(rank).collect();
        let value = |(value, Reverse(name), id): &Rank| (*id, (*value, Arc::clone(name)));
        self.values = self.ranks.iter().map(value).collect();
    }

    /// The last one, if there is no more room.
    fn worst(&self) -> Option<Offer<'_>> {
        let (value, Reverse(name), id) = self.ranks.first()?;
        (self.ranks.len() >= self.most).then_some(Offer {
            value: *value,
            name: Reverse(name),
            id: *id,
        })
    }

    fn offer(&mut self, offer: Offer<'_>) {
        if Some(offer) < self.worst() {
            return;
        }
        let Offer {
            value,
            name: Reverse(name),
            id,
        } = offer;
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
            batches in prop::collection::vec(
                prop::collection::btree_map(0..30_i64, (0..3_i64, any::<bool>()), 0..20),
                0..30,
            ),
            most in 1..12_usize,
        ) {
            let names: Vec<_> = (0..30).map(|id| format!("{:02}", 29 - id)).collect();
            let mut board = Board::new(most);
            let mut values = HashMap::new();
            let mut earlier = Vec::new();
            for batch in batches {
                let mut offers = Vec::new();
                for (id, (more, is_late)) in batch {
                    let value = values.entry(id).or_insert(0);
                    *value += more;
                    let name = Reverse(&*names[usize::try_from(id).unwrap()]);
                    let offer = Offer { value: *value, name, id };
                    // What was read before a change may be offered after it.
                    if is_late {
                        earlier.push(offer);
                    }
                    offers.push(offer);
                }
                board.enter(offers.into_iter());
            }
            for offer in earlier {
                board.offer(offer);
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
    fn topics_offered_in_an_earlier_generation_have_no_effect() {
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
