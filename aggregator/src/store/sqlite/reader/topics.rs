//! Pages of topics with their counts.

use std::{
    cmp::Ordering,
    sync::atomic::{self, AtomicBool},
};

use memchr::memmem::Finder;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{SCAN_ROWS, history};
use crate::store::{
    query::{TopicCounts, TopicPage, TopicQuery, TopicSort},
    sqlite::{
        gate::Inside,
        memory::leaders::{Counts, Lead, Leaders},
    },
};

/// Leaders read beyond the page's limit: the page is read at a commit of its own, at which the ranks of some may have
/// changed.
const SLACK: usize = 100;

/// Columns of [`counts`].
const COLUMNS: &str = "name, received, unique_processed, duplicate_dropped, first_at, last_at";

impl TopicQuery {
    /// Whether the query reads topics that it does not return.
    pub(super) fn is_scan(&self) -> bool {
        let is_ordered = self.sort == TopicSort::Name || self.lead().is_some();
        self.name.is_none() && !(self.contains.is_empty() && is_ordered)
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
        let is_spent = self.rows >= SCAN_ROWS || self.is_gone.load(atomic::Ordering::Relaxed);
        self.rows += 1;
        self.inside.has_time() && (self.rows == 1 || !is_spent)
    }
}

/// A page of topics. In order of name, and in the orders whose leaders are in memory, it reads about as many rows as it
/// returns. In other orders, and if names must contain a text, it scans topics until its budget is spent.
pub(super) fn page(
    read: &Transaction<'_>,
    query: &TopicQuery,
    limit: usize,
    leaders: &Leaders,
    (inside, is_gone): (&Inside, &AtomicBool),
) -> rusqlite::Result<TopicPage> {
    let total = read
        .prepare_cached("SELECT topics FROM counters")?
        .query_row([], |row| row.get(0))?;
    let mut budget = Budget::new(inside, is_gone);
    let mut page = match query.lead() {
        _ if query.name.is_some() => named(read, query)?,
        _ if query.sort == TopicSort::Name || !query.contains.is_empty() => {
            by_name(read, query, limit, &mut budget)?
        }
        Some(lead) => led(read, query, limit, (lead, leaders), inside)?,
        None => scanned(read, query, limit, &mut budget)?,
    };
    page.total = total;
    if let Some(window) = query.recent {
        for topic in &mut page.topics {
            topic.recent = history::received(read, &topic.name, window)?;
        }
    }
    Ok(page)
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
            total: 0,
            next: None,
            is_partial,
        }
    }
}

/// The topic with the query's name.
fn named(read: &Transaction<'_>, query: &TopicQuery) -> rusqlite::Result<TopicPage> {
    let mut best = Best::new(query, 1);
    let sql = format!("SELECT {COLUMNS} FROM topics WHERE name = ?1");
    let topic = read
        .prepare_cached(&sql)?
        .query_row([&query.name], counts)
        .optional()?;
    if let Some(topic) = topic {
        best.add(topic);
    }
    Ok(best.page(false))
}

/// Scans the index on names, and reads the rows only of names that contain the text.
fn by_name(
    read: &Transaction<'_>,
    query: &TopicQuery,
    limit: usize,
    budget: &mut Budget<'_>,
) -> rusqlite::Result<TopicPage> {
    let order = match query.sort {
        TopicSort::Name if query.is_descending => "DESC",
        _ => "ASC",
    };
    let sql = format!("SELECT name, id FROM topics WHERE name > ?1 ORDER BY name {order}");
    let mut names = read.prepare_cached(&sql)?;
    let mut names = names.query([query.after.as_deref().unwrap_or("")])?;
    let mut row = read.prepare_cached(&format!("SELECT {COLUMNS} FROM topics WHERE id = ?1"))?;
    let text = query.contains.to_ascii_lowercase();
    let text = Finder::new(&text);
    let is_by_name = query.sort == TopicSort::Name;
    let is_scan = !query.contains.is_empty();
    let mut best = Best::new(query, limit);
    let (mut name, mut last) = (Vec::new(), None);
    while let Some(found) = names.next()? {
        let is_full = is_by_name && best.topics.len() == limit;
        if is_full || is_scan && !budget.spend() || !is_scan && !budget.inside.has_time() {
            let next = last.filter(|_| query.is_paged());
            let is_partial = !is_full && next.is_none();
            return Ok(TopicPage {
                next,
                ..best.page(is_partial)
            });
        }
        name.clear();
        name.extend_from_slice(found.get_ref(0)?.as_bytes()?);
        name.make_ascii_lowercase();
        if text.find(&name).is_some() {
            best.add(row.query_row([found.get::<_, i64>(1)?], counts)?);
        }
        if query.is_paged() {
            last = Some(found.get(0)?);
        }
    }
    Ok(best.page(false))
}

/// The leaders in memory, with their counts at this commit.
fn led(
    read: &Transaction<'_>,
    query: &TopicQuery,
    limit: usize,
    (lead, leaders): (Lead, &Leaders),
    inside: &Inside,
) -> rusqlite::Result<TopicPage> {
    let is_whole = leaders.progress().is_whole;
    let mut row = read.prepare_cached(&format!("SELECT {COLUMNS} FROM topics WHERE id = ?1"))?;
    let mut best = Best::new(query, limit);
    for id in leaders.first(lead, limit + SLACK) {
        if !inside.has_time() {
            return Ok(best.page(true));
        }
        // A topic created after this commit has no row.
        if let Some(topic) = row.query_row([id], counts).optional()? {
            best.add(topic);
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
    // Must be taken before the first row is read.
    let progress = leaders.progress();
    if progress.is_whole {
        return Ok(true);
    }
    let stays = AtomicBool::new(false);
    let mut budget = Budget::new(inside, &stays);
    let sql = format!("SELECT {COLUMNS}, id FROM topics WHERE id > ?1 ORDER BY id");
    let mut statement = read.prepare_cached(&sql)?;
    let mut rows = statement.query([progress.upto])?;
    let mut upto = progress.upto;
    while let Some(row) = rows.next()? {
        if !budget.spend() {
            leaders.offered(progress, upto, false);
            return Ok(false);
        }
        upto = row.get(6)?;
        let counts = Counts {
            received: row.get(1)?,
            unique: row.get(2)?,
            first_at: row.get(4)?,
            last_at: row.get(5)?,
        };
        leaders.offer(upto, row.get_ref(0)?.as_str()?, &counts);
    }
    leaders.offered(progress, upto, true);
    Ok(true)
}

/// All topics in the order in which they are stored.
fn scanned(
    read: &Transaction<'_>,
    query: &TopicQuery,
    limit: usize,
    budget: &mut Budget<'_>,
) -> rusqlite::Result<TopicPage> {
    let mut statement =
        read.prepare_cached(&format!("SELECT {COLUMNS} FROM topics ORDER BY id"))?;
    let mut rows = statement.query(params![])?;
    let mut best = Best::new(query, limit);
    while let Some(row) = rows.next()? {
        if !budget.spend() {
            return Ok(best.page(true));
        }
        best.add(counts(row)?);
    }
    Ok(best.page(false))
}

fn counts(row: &Row<'_>) -> rusqlite::Result<TopicCounts> {
    Ok(TopicCounts {
        name: row.get(0)?,
        received: row.get(1)?,
        unique_processed: row.get(2)?,
        duplicate_dropped: row.get(3)?,
        first_at: row.get(4)?,
        last_at: row.get(5)?,
        recent: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{file::schema, gate::Gate, options::Options};

    #[test]
    fn a_query_whose_client_has_gone_stops_scanning_topics() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection =
            schema::open_or_make(&directory.path().join("store.db"), 0, &Options::default())
                .unwrap();
        let read = connection.transaction().unwrap();
        let sql = "INSERT INTO topics VALUES (?1, 't' || ?1, 3, 2, 1, zeroblob(16), 1, 2, 1)";
        for id in 1..30 {
            read.execute(sql, [id]).unwrap();
        }
        let ask = |query: &TopicQuery, is_gone: bool| {
            let leaders = Leaders::default();
            let gate = Gate::default();
            assert!(learn(&read, &leaders, &gate.enter()).unwrap());
            let gone = AtomicBool::new(is_gone);
            page(&read, query, 100, &leaders, (&gate.enter(), &gone)).unwrap()
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
