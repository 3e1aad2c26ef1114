//! What is recorded in the store at one commit, before the rows are counted: read in one short transaction.

use rusqlite::{Connection, Transaction};
use shared::stream::StreamState;

use super::{
    VerifyError,
    topics::{RECORD, TopicRecord, Topics},
};
use crate::store::{
    ranges::Ranges,
    sqlite::{
        dedup::fingerprint::Key,
        file::schema,
        writer::{
            kept::{CONFLICT_BYTES, REJECTED_BYTES},
            state::{Counters, State},
        },
    },
};

/// The record, but for the topics. Events up to `last_event` never change after it was read, for rows are only appended.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub store_id: String,
    pub key: Key,
    pub counters: Counters,
    /// In the order of their ids.
    pub lives: Vec<Life>,
    /// The id of the one that is current.
    pub current: Option<i64>,
    pub last_event: i64,
    pub missing: Vec<Missing>,
    /// Seals of the dedup index that reach beyond the last event.
    pub far_seals: u64,
    pub rejected: KeptRows,
    pub conflicts: KeptRows,
}

/// A row of `missing`.
#[derive(Debug)]
pub(super) struct Missing {
    pub incarnation: i64,
    pub first: u64,
    pub last: u64,
    pub is_acknowledged: bool,
}

/// A row of `incarnations` and what belongs to it.
#[derive(Debug)]
pub(super) struct Life {
    pub id: i64,
    pub stream: String,
    pub created: i64,
    pub latest_time: i64,
    pub witness: u64,
    /// As they stand in their rows.
    pub rows: Vec<(u64, u64)>,
    /// As a set.
    pub applied: Ranges,
}

/// Of what is kept for people: rows that are there.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeptRows {
    pub rows: u64,
    pub bytes: u64,
    /// The id of the latest; ids are given out in order, so it is their number.
    pub latest: u64,
    /// Rows of messages that are not applied, and where the first of them stands.
    pub stray: u64,
    pub first_stray: Option<u64>,
}

impl Snapshot {
    /// Reads it, and adds the topics of the same commit to `to`.
    pub fn read(connection: &mut Connection, to: &mut Topics) -> Result<Self, VerifyError> {
        let transaction = connection.transaction()?;
        schema::check_version(&transaction)?;
        let State {
            store_id,
            key,
            counters,
            lives: current,
            last_event,
            // Its rows are read below.
            missing: _,
        } = State::load(&transaction)?;
        let lives = lives(&transaction)?;
        topics(&transaction, to)?;
        Ok(Self {
            store_id,
            key,
            current: current.last().map(|life| life.id),
            last_event,
            missing: missing(&transaction)?,
            far_seals: transaction.query_row(
                "SELECT count(*) FROM seals WHERE reach > ?1",
                [last_event],
                |row| row.get(0),
            )?,
            rejected: kept(&transaction, "rejected", REJECTED_BYTES, &lives)?,
            conflicts: kept(&transaction, "conflicts", CONFLICT_BYTES, &lives)?,
            counters,
            lives,
        })
    }

    /// The applied sequences of an incarnation.
    pub fn life(&self, id: i64) -> Option<&Life> {
        self.lives.iter().find(|life| life.id == id)
    }

    /// The incarnations that messages of this stream may be of.
    pub fn lives_of(&self, stream: &StreamState) -> Vec<&Life> {
        let is_of = |life: &&Life| life.stream == stream.name && life.created == stream.created;
        self.lives.iter().filter(is_of).collect()
    }
}

fn topics(read: &Transaction<'_>, to: &mut Topics) -> Result<(), VerifyError> {
    let mut statement = read.prepare(&format!("SELECT {RECORD} FROM topics"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        to.add(&TopicRecord::read(row)?)?;
    }
    Ok(())
}

fn lives(read: &Transaction<'_>) -> rusqlite::Result<Vec<Life>> {
    let sql = "SELECT id, stream, created, latest_time, witness FROM incarnations ORDER BY id";
    let mut lives = read
        .prepare(sql)?
        .query_map([], |row| {
            Ok(Life {
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
    for life in &mut lives {
        let rows = statement.query_map([life.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        life.rows = rows.collect::<rusqlite::Result<_>>()?;
        for (first, last) in &life.rows {
            life.applied.insert(*first, *last);
        }
    }
    Ok(lives)
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

fn kept(
    read: &Transaction<'_>,
    table: &str,
    bytes: &str,
    lives: &[Life],
) -> rusqlite::Result<KeptRows> {
    let sql = format!("SELECT id, incarnation, stream_sequence, {bytes} FROM {table} ORDER BY id");
    let mut statement = read.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut kept = KeptRows {
        rows: 0,
        bytes: 0,
        latest: 0,
        stray: 0,
        first_stray: None,
    };
    while let Some(row) = rows.next()? {
        let (id, incarnation, sequence): (u64, i64, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        kept.rows += 1;
        kept.bytes += row.get::<_, u64>(3)?;
        kept.latest = id;
        let life = lives.iter().find(|life| life.id == incarnation);
        if !life.is_some_and(|life| life.applied.contains(sequence)) {
            kept.stray += 1;
            kept.first_stray = kept.first_stray.or(Some(id));
        }
    }
    Ok(kept)
}
