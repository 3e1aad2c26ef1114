//! Pages of topics with their counts.

use std::{
    cmp::Ordering,
    sync::atomic::{self, AtomicBool},
};

use memchr::memmem::Finder;
use rusqlite::Transaction;

use super::{SCAN_ROWS, history};
use crate::{
    access::Patterns,
    store::{
        query::{TopicCounts, TopicPage, TopicQuery, TopicSort},
        sqlite::{
            gate::Inside,
            memory::leaders::{Lead, Leaders},
            topics::{StoredTopics, TopicState},
        },
    },
};

/// Leaders read beyond the page's limit: the page is read at a commit of its own, at which the ranks of some may have
/// changed.
const SLACK: usize = 100;

impl TopicQuery {
    /// Whether the query reads topics that it does not return.
    pub(super) fn is_scan(&self) -> bool {
        let is_ordered = self.sort == TopicSort::Name || self.lead().is_some();
        self.name.is_none() && !(self.contains.is_empty() && is_ordered && self.visible.is_every())
    }

    /// The ranking in memory that has the first topics of this order, if there is one.
    fn lead(&self) -> Option<Lead> {
        match (self.sort, self.is_descending) {
            (TopicSort::Received, true) => Some(Lead::Received),
            (TopicSort::Unique, true) => Some(Lead::Unique),
            (TopicSort::Duplicates, true) => Some(Lead::Duplicates),
            (TopicSort::First, true) => Some(Lead::Newest),
            (TopicSort::First, false) => Some(Lead::Oldest),
            (TopicSort::Last, true) => Some(Lead::Latest),
            _ => None,
        }
    }

    fn compare(&self, one: &TopicCounts, other: &TopicCounts) -> Ordering {
        let order = match self.sort {
            TopicSort::Name => one.name.cmp(&other.name),
            TopicSort::Received => one.received.cmp(&other.received),
            TopicSort::Unique => one.unique_processed.cmp(&other.unique_processed),
            TopicSort::Duplicates => one.duplicate_dropped.cmp(&other.duplicate_dropped),
            TopicSort::DuplicateShare => {
                let share = |of: &TopicCounts, all: &TopicCounts| {
                    u128::from(of.duplicate_dropped) * u128::from(all.received)
                };
                share(one, other).cmp(&share(other, one))
            }
            TopicSort::First => one.first_at.cmp(&other.first_at),
            TopicSort::Last => one.last_at.cmp(&other.last_at),
        };
        let order = if self.is_descending {
            order.reverse()
        } else {
            order
        };
        order.then_with(|| one.name.cmp(&other.name))
    }
}

/// How many rows a query may scan: until its budget is spent or its client has gone.
struct Budget<'a> {
    rows: u64,
    inside: &'a Inside,
    is_gone: &'a AtomicBool,
}

impl<'a> Budget<'a> {
    fn new(inside: &'a Inside, is_gone: &'a AtomicBool) -> Self {
        Self {
            rows: 0,
            inside,
            is_gone,
        }
    }

    /// Counts a row and returns whether it may be read. Only time prevents the first one, so that there is progress.
    fn spend(&mut self) -> bool {
        let is_spent = self.rows >= SCAN_ROWS || self.is_gone();
        self.rows += 1;
        self.inside.has_time() && (self.rows == 1 || !is_spent)
    }

    fn is_gone(&self) -> bool {
        self.is_gone.load(atomic::Ordering::Relaxed)
    }
}

/// What a read of topics came to.
pub(super) enum Step {
    Page(TopicPage),
    /// No visible topic was found up to this name. The search continues after it, because a client must not see the name.
    On(String),
}

/// A page of topics. In order of name, and in the orders whose leaders are in memory, it reads about as many rows as it
/// returns. In other orders, and if names must contain a text, it scans topics until its budget is spent.
pub(super) fn page(
    read: &Transaction<'_>,
    query: &TopicQuery,
    limit: usize,
    leaders: &Leaders,
    (inside, is_gone): (&Inside, &AtomicBool),
) -> rusqlite::Result<Step> {
    let topics = StoredTopics::open(read)?;
    let mut budget = Budget::new(inside, is_gone);
    let mut page = match query.lead() {
        _ if query.name.is_some() => named(&topics, query)?,
        _ if query.sort == TopicSort::Name
            || !query.contains.is_empty()
            || !query.visible.is_every() =>
        {
            match by_name(&topics, query, limit, &mut budget)? {
                Step::Page(page) => page,
                on @ Step::On(_) => return Ok(on),
            }
        }
        Some(lead) => led(&topics, query, limit, (lead, leaders), inside)?,
        None => scanned(&topics, query, limit, &mut budget)?,
    };
    if let Some(window) = query.recent {
        for topic in &mut page.topics {
            topic.recent = history::received(read, &topic.name, window)?;
        }
    }
    page.total = match query.visible.patterns() {
        None => read
            .prepare_cached("SELECT topics FROM counters")?
            .query_row([], |row| row.get(0))?,
        Some(_) if query.name.is_some() => None,
        Some(patterns) => count(&topics, patterns, &mut budget)?,
    };
    Ok(Step::Page(page))
}

/// The number of topics of patterns; `None` if the budget does not suffice to read all names.
fn count(
    topics: &StoredTopics<'_>,
    patterns: &Patterns,
    budget: &mut Budget<'_>,
) -> rusqlite::Result<Option<u64>> {
    let (mut count, mut is_whole) = (0, true);
    topics.spanned(patterns, "", |named| {
        is_whole = budget.spend();
        count += u64::from(named.is_visible);
        Ok(is_whole)
    })?;
    Ok(is_whole.then_some(count))
}

/// The topics that come first in the query's order, among those scanned.
struct Best<'a> {
    query: &'a TopicQuery,
    limit: usize,
    topics: Vec<TopicCounts>,
}

impl<'a> Best<'a> {
    fn new(query: &'a TopicQuery, limit: usize) -> Self {
        Self {
            query,
            limit,
            topics: Vec::new(),
        }
    }

    fn add(&mut self, topic: TopicCounts) {
        self.topics.push(topic);
        if self.topics.len() >= 2 * self.limit + 1_000 {
            self.sort();
        }
    }

    fn sort(&mut self) {
        let query = self.query;
        self.topics
            .sort_unstable_by(|one, other| query.compare(one, other));
        self.topics.truncate(self.limit);
    }

    fn page(mut self, is_partial: bool) -> TopicPage {
        self.sort();
        TopicPage {
            topics: self.topics,
            total: None,
            next: None,
            is_partial,
        }
    }
}

/// The topic with the query's name.
fn named(topics: &StoredTopics<'_>, query: &TopicQuery) -> rusqlite::Result<TopicPage> {
    let mut best = Best::new(query, 1);
    if let Some(name) = &query.name
        && let Some(topic) = topics.named(name)?
    {
        best.add(counts(&topic, name.clone()));
    }
    Ok(best.page(false))
}

/// Scans the names, and reads the states only of topics whose names contain the text.
fn by_name(
    topics: &StoredTopics<'_>,
    query: &TopicQuery,
    limit: usize,
    budget: &mut Budget<'_>,
) -> rusqlite::Result<Step> {
    let text = query.contains.to_ascii_lowercase();
    let text = Finder::new(&text);
    let visible = query.visible.patterns();
    // The names come in the order of the query, so that the page is full with the first ones.
    let is_by_name = query.sort == TopicSort::Name && (visible.is_none() || !query.is_descending);
    let is_scan = !query.contains.is_empty() || visible.is_some();
    let mut best = Best::new(query, limit);
    let (mut folded, mut last, mut ended) = (Vec::new(), None, None);
    // The last name read, while none is visible.
    let mut passed = String::new();
    let mut each = |name: &str, id: i64, is_visible: bool| {
        let is_full = is_by_name && best.topics.len() == limit;
        if is_full || is_scan && !budget.spend() || !is_scan && !budget.inside.has_time() {
            ended = Some(is_full);
            return Ok(false);
        }
        if !is_visible {
            if best.topics.is_empty() && last.is_none() {
                passed.clear();
                passed.push_str(name);
            }
            return Ok(true);
        }
        folded.clear();
        folded.extend_from_slice(name.as_bytes());
        folded.make_ascii_lowercase();
        if text.find(&folded).is_some()
            && let Some(topic) = topics.state(id)?
        {
            best.add(counts(&topic, name.to_owned()));
        }
        if query.is_paged() {
            last = Some(name.to_owned());
        }
        Ok(true)
    };
    let after = query.after.as_deref().unwrap_or("");
    if let Some(patterns) = visible {
        topics.spanned(patterns, after, |named| {
            each(named.name, named.id, named.is_visible)
        })?;
    } else if is_by_name && query.is_descending {
        topics.names_descending(|name, id| each(name, id, true))?;
    } else {
        topics.names_after(after, |name, id| each(name, id, true))?;
    }
    let Some(is_full) = ended else {
        return Ok(Step::Page(best.page(false)));
    };
    if best.topics.is_empty() && last.is_none() && !passed.is_empty() && !budget.is_gone() {
        return Ok(Step::On(passed));
    }
    let is_partial = !is_full && last.is_none();
    Ok(Step::Page(TopicPage {
        next: last,
        ..best.page(is_partial)
    }))
}

/// The leaders in memory, with their counts at this commit.
fn led(
    topics: &StoredTopics<'_>,
    query: &TopicQuery,
    limit: usize,
    (lead, leaders): (Lead, &Leaders),
    inside: &Inside,
) -> rusqlite::Result<TopicPage> {
    let is_whole = leaders.progress().is_whole;
    let mut best = Best::new(query, limit);
    for id in leaders.first(lead, limit + SLACK) {
        if !inside.has_time() {
            return Ok(best.page(true));
        }
        // A topic created after this commit has no state.
        if let Some(topic) = topics.state(id)?
            && let Some(name) = topics.name(id)?
        {
            best.add(counts(&topic, name));
        }
    }
    Ok(best.page(!is_whole))
}

/// Offers more of the topics stored before the start to the leaders; returns whether all have been offered.
pub(super) fn learn(
    read: &Transaction<'_>,
    leaders: &Leaders,
    inside: &Inside,
) -> rusqlite::Result<bool> {
    // Must be taken before the first state is read.
    let progress = leaders.progress();
    if progress.is_whole {
        return Ok(true);
    }
    let stays = AtomicBool::new(false);
    let mut budget = Budget::new(inside, &stays);
    let (mut upto, mut is_whole) = (progress.upto, true);
    StoredTopics::open(read)?.after(progress.upto, |topic, name| {
        is_whole = budget.spend();
        if is_whole {
            upto = topic.id;
            leaders.offer(name, topic);
        }
        Ok(is_whole)
    })?;
    leaders.offered(progress, upto, is_whole);
    Ok(is_whole)
}

/// All topics in the order in which they are stored.
fn scanned(
    topics: &StoredTopics<'_>,
    query: &TopicQuery,
    limit: usize,
    budget: &mut Budget<'_>,
) -> rusqlite::Result<TopicPage> {
    let mut best = Best::new(query, limit);
    let mut is_partial = false;
    topics.after(0, |topic, name| {
        is_partial = !budget.spend();
        if !is_partial {
            best.add(counts(topic, name.to_owned()));
        }
        Ok(!is_partial)
    })?;
    Ok(best.page(is_partial))
}

fn counts(topic: &TopicState, name: String) -> TopicCounts {
    TopicCounts {
        name,
        received: topic.received(),
        unique_processed: topic.unique,
        duplicate_dropped: topic.duplicates,
        first_at: topic.first_at,
        last_at: topic.last_at,
        recent: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use shared::event::Topic;

    use super::*;
    use crate::store::sqlite::{
        file::schema, gate::Gate, options::Options, writer::topics::Topics,
    };

    #[test]
    fn a_query_whose_client_has_gone_stops_scanning_topics() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection =
            schema::open_or_make(&directory.path().join("store.db"), 0, &Options::default())
                .unwrap();
        let read = connection.transaction().unwrap();
        let names: Vec<_> = (1..30)
            .map(|id| Topic::new(&format!("t{id}")).unwrap())
            .collect();
        let mut topics = Topics::load(&read, 0).unwrap();
        for (name, id) in names.iter().zip(1..) {
            let place = topics.add(name, TopicState::new(id, 0));
            topics.change(place);
        }
        topics.save(&read).unwrap();
        let ask = |query: &TopicQuery, is_gone: bool| {
            let leaders = Leaders::default();
            let gate = Gate::default();
            assert!(learn(&read, &leaders, &gate.enter()).unwrap());
            let gone = AtomicBool::new(is_gone);
            match page(&read, query, 100, &leaders, (&gate.enter(), &gone)).unwrap() {
                Step::Page(page) => page,
                Step::On(_) => panic!("every topic is visible"),
            }
        };
        for (contains, sort) in [
            ("t", TopicSort::Name),
            ("t", TopicSort::Received),
            ("", TopicSort::DuplicateShare),
        ] {
            let query = TopicQuery {
                contains: contains.to_owned(),
                sort,
                is_descending: sort != TopicSort::Name,
                ..TopicQuery::default()
            };
            assert_eq!(ask(&query, false).topics.len(), 29, "{query:?}");
            assert_eq!(ask(&query, true).topics.len(), 1, "{query:?}");
        }
    }
}
