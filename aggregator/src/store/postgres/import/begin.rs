//! The beginning of a copy: the schema, and what the database may have.

use deadpool_postgres::Client;

use super::{COUNTS, PATIENT, STORE, Target, column, number};
use crate::{
    clock,
    store::{
        StoreError,
        copy::{CopyError, Record, rows::Part},
        postgres::{
            checks,
            connect::{Address, LONGEST, Pool, Transaction, limited},
            lives::{signed, stored_form},
            place, schema,
        },
    },
};

/// How a copy begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the first row.
    New,
    /// Where an earlier run ended.
    Continued,
    /// With the first row, because the store has changed since an earlier run.
    Again,
    /// Nothing is left to do.
    Complete,
}

/// What is in the database.
enum Found {
    /// No store, or one in which nothing is stored.
    Nothing,
    /// A part of a copy of the store, with this mark.
    Part(u128),
    /// A complete copy of it, with this mark and since this time, in microseconds since 1970.
    Whole(u128, i64),
    /// Another store, in words.
    Other(String),
}

impl Target {
    /// Brings the schema of the database up to date and begins the copy of a store, or continues it.
    pub async fn open(
        address: &Address,
        record: &Record,
        now: i64,
    ) -> Result<(Self, Start), CopyError> {
        if record.lives.last_message() > place::MAX_MESSAGE {
            let too_many = StoreError::Foreign("the stream has too many messages".to_owned());
            return Err(CopyError::Source(too_many));
        }
        let pool = Pool::of(address);
        limited(LONGEST, checks::run(&pool)).await?;
        schema::make_version(&pool).await?;
        let transaction = Transaction::begin(&pool).await?;
        let client = transaction.client();
        client.batch_execute(PATIENT).await?;
        // Others that open the store wait here.
        let updated = schema::update(client, false, &mut schema::log).await;
        let is_new = updated.map_err(CopyError::Target)?;
        let found = if is_new {
            Found::Nothing
        } else {
            found(client, record).await?
        };
        let start = match found {
            Found::Nothing => Start::New,
            Found::Part(mark) if mark == record.mark => Start::Continued,
            Found::Part(_) => Start::Again,
            Found::Whole(mark, since) => {
                if mark != record.mark || is_used(client).await? {
                    return Err(CopyError::Diverged(clock::rfc3339(since)));
                }
                Start::Complete
            }
            Found::Other(what) => return Err(CopyError::NotEmpty(what)),
        };
        if start != Start::Complete {
            let sql = "SELECT count(*) FROM aggregators WHERE alive_until > clock_timestamp()";
            let alive = client.query_one(sql, &[]).await?.get(0);
            if alive > 0 {
                return Err(CopyError::InUse(alive));
            }
        }
        if start == Start::Again {
            client
                .batch_execute(
                    "TRUNCATE incarnations, applied, passed, missing, events, counters, topics, minutes, rejected, conflicts, copy_progress, \
                     topic_minutes, repeats, seen_marks",
                )
                .await?;
        }
        if matches!(start, Start::New | Start::Again) {
            begin(client, record, now).await?;
        }
        transaction.commit().await?;
        let key = record.key;
        Ok((Self { pool, key }, start))
    }
}

/// What is in a database that has the tables.
async fn found(client: &Client, record: &Record) -> Result<Found, CopyError> {
    let sql = "SELECT store_id, copied_from, copied_at FROM store";
    let Some(row) = client.query_opt(sql, &[]).await? else {
        return Ok(Found::Nothing);
    };
    let (id, from, at): (String, Option<String>, Option<i64>) =
        (row.get(0), row.get(1), row.get(2));
    let Some(from) = from else {
        let sql = "SELECT EXISTS (SELECT 1 FROM incarnations) OR EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM counters WHERE received > 0)";
        let is_filled: bool = client.query_one(sql, &[]).await?.get(0);
        return Ok(if is_filled {
            Found::Other(format!("the store {id}"))
        } else {
            Found::Nothing
        });
    };
    if from != record.store_id {
        let part = if at.is_none() { "a part of " } else { "" };
        let what = format!("{part}a copy of another store, {from}");
        return Ok(Found::Other(what));
    }
    let sql = "SELECT hashes::text FROM copy_progress WHERE part = $1";
    let mark = number(&client.query_one(sql, &[&STORE]).await?, 0)?;
    Ok(match at {
        None => Found::Part(mark),
        Some(at) => Found::Whole(mark, at),
    })
}

/// Whether an aggregator has written to a complete copy.
async fn is_used(client: &Client) -> Result<bool, CopyError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM aggregators) OR EXISTS (SELECT 1 FROM counters WHERE writer >= 0 AND received > 0)";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// Creates the row of the store, the lives, and the missing sequences.
async fn begin(client: &Client, record: &Record, now: i64) -> Result<(), CopyError> {
    // One that was made for an empty store has another key, and may have counted topics whose events were not stored.
    client
        .batch_execute("DELETE FROM store; DELETE FROM counted_topics")
        .await?;
    let counted = i32::try_from(record.counted_topics).unwrap_or(i32::MAX);
    let since = record.left.counted_since.unwrap_or(0);
    let sql = "UPDATE topic_counting SET topics = $1, since = $2";
    client.execute(sql, &[&counted, &since]).await?;
    let store_id = uuid::Uuid::new_v4().to_string();
    let key = record.key.0.to_vec();
    client
        .execute(
            "INSERT INTO store (store_id, hash_key, created_at, copied_from) VALUES ($1, $2, $3, $4)",
            &[&store_id, &key, &record.created_at, &record.store_id],
        )
        .await?;
    let sql = "INSERT INTO copy_progress (part, last, rows, hashes, digests) VALUES ($1, $2, 0, $3::text::numeric, 0)";
    let names = Part::ALL.map(Part::name);
    for part in names.into_iter().chain([COUNTS]) {
        client.execute(sql, &[&part, &0_i64, &"0"]).await?;
    }
    client
        .execute(sql, &[&STORE, &now, &record.mark.to_string()])
        .await?;
    for numbered in &record.lives.all {
        let life = &numbered.life;
        let floor = signed(life.applied.floor());
        client
            .execute(
                "INSERT INTO incarnations (id, stream, created, epoch, base, begun_at, floor, latest_time, witness, witness_time, evicted_to, copied) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                &[
                    &numbered.id,
                    &life.stream,
                    &life.created,
                    &life.epoch,
                    &numbered.base,
                    &life.begun_at,
                    &floor,
                    &life.latest_time,
                    &signed(life.witness.sequence),
                    &life.witness.time,
                    &signed(life.evicted_to),
                    &stored_form(&life.applied, floor),
                ],
            )
            .await?;
    }
    let missing = record.missing.as_slice();
    let acknowledged: Vec<Option<i64>> =
        missing.iter().map(|range| range.acknowledged_at).collect();
    client
        .execute(
            "INSERT INTO missing (incarnation, first, last, noticed_at, acknowledged_at) \
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])",
            &[
                &column(missing, |range| range.life),
                &column(missing, |range| signed(range.first)),
                &column(missing, |range| signed(range.last)),
                &column(missing, |range| range.noticed_at),
                &acknowledged,
            ],
        )
        .await?;
    Ok(())
}
