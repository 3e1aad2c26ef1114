//! The record of the store at one commit, read in one short transaction before the rows are counted.

use rusqlite::{Connection, Transaction};
use shared::stream::StreamState;

use super::{VerifyError, topics::Topics};
use crate::store::{
    ranges::Ranges,
    sqlite::{
        dedup::fingerprint::Key,
        file::schema,
        topics::StoredTopics,
        writer::{
            kept::{CONFLICT_BYTES, REJECTED_BYTES},
            state::{Counters, State},
        },
    },
    verify::balance::{self, Counts},
};

/// The record, without the topics. Events up to `last_event` never change after it was read, because rows are only appended.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub store_id: String,
    pub key: Key,
    pub counters: Counters,
    /// In the order of their ids.
    pub incarnations: Vec<IncarnationRow>,
    /// The id of the current incarnation.
    pub current: Option<i64>,
    pub last_event: i64,
    /// The id of the newest row of `repeats`, or 0.
    pub last_repeats: i64,
    pub missing: Vec<Missing>,
    /// Seals of the dedup index that reach beyond the last event.
    pub far_seals: u64,
    pub rejected: ReviewRows,
    pub conflicts: ReviewRows,
    pub names: TopicNames,
}

/// The names of topics, which the store has in the order of their ids and in the order of their names.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopicNames {
    pub by_id: u64,
    pub by_name: u64,
    /// Whether both have the same names with the same ids.
    pub are_equal: bool,
}

/// A row of `missing`.
#[derive(Debug)]
pub(super) struct Missing {
    pub incarnation: i64,
    pub first: u64,
    pub last: u64,
    pub is_acknowledged: bool,
}

/// A row of `incarnations` with its rows of `applied`.
#[derive(Debug)]
pub(super) struct IncarnationRow {
    pub id: i64,
    pub stream: String,
    pub created: i64,
    pub latest_time: i64,
    pub witness: u64,
    /// The applied ranges as recorded.
    pub rows: Vec<(u64, u64)>,
    /// The applied ranges as a set.
    pub applied: Ranges,
}

/// The rows of `rejected` or `conflicts`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReviewRows {
    /// The id of the latest row. Ids are assigned in order, so it is the number of all rows ever inserted.
    pub latest: u64,
    pub rows: balance::ReviewRows,
}

impl Snapshot {
    /// Reads the record, and adds the topics of the same commit to `to`.
    pub fn read(connection: &mut Connection, to: &mut Topics) -> Result<Self, VerifyError> {
        let transaction = connection.transaction()?;
        schema::check_version(&transaction)?;
        let State {
            store_id,
            key,
            counters,
            lives: state_incarnations,
            last_event,
            // The rows of `missing` are read below.
            missing: _,
        } = State::load(&transaction)?;
        let incarnations = incarnations(&transaction)?;
        add_topics(&transaction, to)?;
        Ok(Self {
            store_id,
            names: names(&transaction, &key)?,
            key,
            current: state_incarnations.last().map(|current| current.id),
            last_event,
            last_repeats: transaction.query_row(
                "SELECT ifnull(max(id), 0) FROM repeats",
                [],
                |row| row.get(0),
            )?,
            missing: missing(&transaction)?,
            far_seals: transaction.query_row(
                "SELECT count(*) FROM seals WHERE reach > ?1",
                [last_event],
                |row| row.get(0),
            )?,
            rejected: review_rows(&transaction, "rejected", REJECTED_BYTES, &incarnations)?,
            conflicts: review_rows(&transaction, "conflicts", CONFLICT_BYTES, &incarnations)?,
            counters,
            incarnations,
        })
    }

    /// The counters that both engines have.
    pub fn counts(&self) -> Counts {
        let counters = &self.counters;
        Counts {
            received: counters.received,
            unique: counters.unique_processed,
            duplicates: counters.duplicate_dropped,
            rejected: counters.rejected,
            conflicts: counters.conflicts,
        }
    }

    /// The incarnation with an id.
    pub fn incarnation(&self, id: i64) -> Option<&IncarnationRow> {
        self.incarnations.iter().find(|row| row.id == id)
    }

    /// The incarnations that messages of this stream may belong to.
    pub fn incarnations_of(&self, stream: &StreamState) -> Vec<&IncarnationRow> {
        let is_of =
            |row: &&IncarnationRow| row.stream == stream.name && row.created == stream.created;
        self.incarnations.iter().filter(is_of).collect()
    }
}

fn add_topics(read: &Transaction<'_>, to: &mut Topics) -> Result<(), VerifyError> {
    let mut added = Ok(());
    StoredTopics::open(read)?.after(0, |topic, name| {
        added = to.add(topic, name);
        Ok(added.is_ok())
    })?;
    Ok(added?)
}

fn names(read: &Transaction<'_>, key: &Key) -> rusqlite::Result<TopicNames> {
    let (mut by_id, mut by_name) = ((0, 0_u128), (0, 0_u128));
    // A sum of keyed hashes does not depend on the order.
    let add = |(count, sum): &mut (u64, u128), name: &str, id: i64| {
        *count += 1;
        *sum = sum.wrapping_add(key.identity(name, &id.to_string()));
    };
    let mut statement = read.prepare("SELECT id, name FROM topics")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        add(&mut by_id, row.get_ref(1)?.as_str()?, row.get(0)?);
    }
    StoredTopics::open(read)?.names_after("", |name, id| {
        add(&mut by_name, name, id);
        Ok(true)
    })?;
    Ok(TopicNames {
        by_id: by_id.0,
        by_name: by_name.0,
        are_equal: by_id == by_name,
    })
}

fn incarnations(read: &Transaction<'_>) -> rusqlite::Result<Vec<IncarnationRow>> {
    let sql = "SELECT id, stream, created, latest_time, witness FROM incarnations ORDER BY id";
    let mut incarnations = read
        .prepare(sql)?
        .query_map([], |row| {
            Ok(IncarnationRow {
                id: row.get(0)?,
                stream: row.get(1)?,
                created: row.get(2)?,
                latest_time: row.get(3)?,
                witness: row.get(4)?,
                rows: Vec::new(),
                applied: Ranges::default(),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let sql = "SELECT first, last FROM applied WHERE incarnation = ?1 ORDER BY first";
    let mut statement = read.prepare(sql)?;
    for incarnation in &mut incarnations {
        let rows = statement.query_map([incarnation.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        incarnation.rows = rows.collect::<rusqlite::Result<_>>()?;
        for (first, last) in &incarnation.rows {
            incarnation.applied.insert(*first, *last);
        }
    }
    Ok(incarnations)
}

fn missing(read: &Transaction<'_>) -> rusqlite::Result<Vec<Missing>> {
    let sql = "SELECT incarnation, first, last, acknowledged_at IS NOT NULL FROM missing";
    read.prepare(sql)?
        .query_map([], |row| {
            Ok(Missing {
                incarnation: row.get(0)?,
                first: row.get(1)?,
                last: row.get(2)?,
                is_acknowledged: row.get(3)?,
            })
        })?
        .collect()
}

fn review_rows(
    read: &Transaction<'_>,
    table: &str,
    bytes: &str,
    incarnations: &[IncarnationRow],
) -> rusqlite::Result<ReviewRows> {
    let sql = format!("SELECT id, incarnation, stream_sequence, {bytes} FROM {table} ORDER BY id");
    let mut statement = read.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut latest = 0;
    let mut found = balance::ReviewRows::default();
    while let Some(row) = rows.next()? {
        let (id, incarnation, sequence): (u64, i64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        found.rows += 1;
        found.bytes += row.get::<_, u64>(3)?;
        latest = id;
        let incarnation = incarnations.iter().find(|row| row.id == incarnation);
        if !incarnation.is_some_and(|row| row.applied.contains(sequence)) {
            found.stray += 1;
            found.first_stray = found.first_stray.or(Some(id));
        }
    }
    Ok(ReviewRows {
        latest,
        rows: found,
    })
}
