//! The append of a batch in one transaction, while others append the same.
//!
//! # Why `READ COMMITTED` suffices
//!
//! Each invariant (design.md) rests on a unique key or on a lock of one row, never on what a statement saw before:
//!
//! - *A message is applied at most once.* A statement before all others that count inserts its row into `applied`, whose primary key is the life and the
//!   sequence. A second transaction with the same message waits there until the first one ends, and then finds the row. Rows that
//!   were folded into the floor are deleted only together with the rise of the floor, which the next statement reads.
//! - *An identity is stored at most once.* The primary key of `events` is its fingerprint. `ON CONFLICT DO NOTHING` waits for another
//!   transaction that inserts it, and inserts only if that one rolls back. What was not inserted is therefore committed, and the
//!   next statement, with a new snapshot, reads it. Events are never changed or deleted.
//! - *received = unique + duplicates + rejected.* What each event is was decided by this transaction's own inserts, and is
//!   counted in it, as additions to rows that no other writer has.
//! - *A topic is counted over time from its first event on, or never.* Before this transaction, a topic that is new to the store is added under
//!   the lock of one row, see [`counted`](super::super::counted).
//! - *Acked after COMMIT.* The caller learns of success only from the answer to COMMIT, or from `last_batch`, see below.
//! - *No message of an earlier life is applied later*: see [`lives`](super::super::lives).
//!
//! Two writers insert events in the same order, that of fingerprints, so they do not wait for each other in a circle; rows of `applied`
//! come before all of these, in the order of sequences, and the row of the writer before those. If the database still reports a deadlock, or a timeout, or the connection
//! is lost, the transaction is tried again.
//!
//! # A COMMIT without an answer
//!
//! The batch is tried again on another connection. If the first attempt is still under way, the lock of the writer's row waits for
//! its end. If it has committed, the writer's row names this batch as its last. The attempt then only writes that row again, and
//! its COMMIT waits for the standby, for which the first one may not have waited.

mod commit;
mod fresh;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use deadpool_postgres::Client;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::ToSql;
use tracing::{debug, warn};

use self::{
    commit::{Committed, Unanswered},
    fresh::Fresh,
};
use super::{
    plan::{self, Plan},
    rows,
};
use crate::store::{
    Appended, Delivery, StoreError,
    fingerprint::Fingerprint,
    postgres::{
        Shared, checks,
        connect::{LONGEST, Transaction, limited},
        error::{DatabaseError, Fault},
        lives::{self, Lives, signed, unsigned},
        place,
    },
};

/// How often a transaction that lost against another one is tried again before the failure is reported. The caller tries again, too.
const ATTEMPTS: u32 = 8;

const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// How long an attempt may take: longer than the server's own limit for a statement.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an attempt ended.
enum Attempt {
    Committed(Committed),
    /// An earlier attempt, whose COMMIT was not answered, has committed.
    HadCommitted,
    /// A sequence of this life was reused: a new life must begin.
    Reused(i64),
    /// Another aggregator began a new life, or folded a row that this attempt met.
    Stale,
}

/// What the first statements of an attempt found.
struct Applied {
    /// The sequences whose rows were inserted.
    inserted: HashSet<u64>,
    lives: Lives,
    /// The last batch that this writer committed.
    last_batch: Option<Vec<u8>>,
}

/// Appends a batch.
pub(super) async fn append(
    shared: &Arc<Shared>,
    writer: i32,
    batch: &[Delivery],
    now: i64,
) -> Result<Appended, StoreError> {
    let fingerprints = plan::fingerprints(&shared.key, batch);
    let mut done = Appended::default();
    let mut rest = 0;
    // One part, unless a batch has two messages of one sequence.
    while rest < batch.len() {
        let end = rest + one_life(&batch[rest..]);
        let part = Part {
            shared,
            writer,
            batch: &batch[rest..end],
            fingerprints: &fingerprints[rest..end],
            id: uuid::Uuid::new_v4().into_bytes(),
            now,
        };
        add(&mut done, &part.append().await?);
        rest = end;
    }
    Ok(done)
}

/// How many deliveries from the first on can be of one life: those before one that has the sequence of another message.
fn one_life(batch: &[Delivery]) -> usize {
    let mut times = HashMap::with_capacity(batch.len());
    let reused = batch.iter().position(|delivery| {
        let time = *times.entry(delivery.sequence).or_insert(delivery.time);
        time != delivery.time
    });
    reused.unwrap_or(batch.len())
}

fn add(sum: &mut Appended, part: &Appended) {
    let Appended {
        unique,
        duplicates,
        conflicts,
        rejected,
        redelivered,
        epoch_begun,
    } = part;
    sum.unique += unique;
    sum.duplicates += duplicates;
    sum.conflicts += conflicts;
    sum.rejected += rejected;
    sum.redelivered += redelivered;
    sum.epoch_begun |= epoch_begun;
}

/// A batch that is appended in one transaction.
struct Part<'a> {
    shared: &'a Arc<Shared>,
    writer: i32,
    batch: &'a [Delivery],
    fingerprints: &'a [Vec<Fingerprint>],
    /// Identifies the batch in all of its attempts.
    id: [u8; 16],
    now: i64,
}

impl Part<'_> {
    async fn append(&self) -> Result<Appended, StoreError> {
        let mut unanswered = Unanswered::default();
        let (mut failed, mut pause) = (0, FIRST_PAUSE);
        loop {
            unanswered.is_sent = false;
            let attempt = timeout(PATIENCE, self.attempt(&mut unanswered)).await;
            let attempt = attempt
                .unwrap_or_else(|_| Err(StoreError::Postgres(DatabaseError::Silent(PATIENCE))));
            if let Err(err) = &attempt {
                self.count(err, &unanswered);
            }
            let committed = match attempt {
                Ok(Attempt::Committed(committed)) => committed,
                Ok(Attempt::HadCommitted) => unanswered.committed.take().unwrap_or_default(),
                Ok(Attempt::Reused(of)) => {
                    self.begin_life(of).await?;
                    continue;
                }
                Ok(Attempt::Stale) => {
                    self.refresh().await?;
                    continue;
                }
                Err(StoreError::Postgres(err)) if err.is_retried() && failed < ATTEMPTS => {
                    failed += 1;
                    debug!(error = %err, attempt = failed, "a transaction is tried again");
                    // With jitter, so that two writers that lost against each other do not meet again.
                    sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                    continue;
                }
                Err(err) => {
                    if unanswered.committed.is_some() {
                        warn!(
                            batch.messages = self.batch.len(),
                            "it is not known whether a batch was committed; if it was, its messages will count as redelivered"
                        );
                    }
                    return Err(err);
                }
            };
            let Committed {
                life,
                mut done,
                notices,
            } = committed;
            // The aggregator that began it may end before it makes the durable again, so each one that meets it compares the stream once.
            done.epoch_begun = life > 0 && self.shared.compared.swap(life, Relaxed) != life;
            self.shared.waits.notify(&notices);
            return Ok(done);
        }
    }

    /// Counts a failed attempt. All of them are repeated, here or by the caller.
    fn count(&self, err: &StoreError, unanswered: &Unanswered) {
        if unanswered.is_sent {
            self.shared.failures.count(Fault::CommitUnknown);
        } else {
            self.shared.failures.count_error(err);
        }
    }

    async fn begin_life(&self, of: i64) -> Result<(), StoreError> {
        let (stream, created) = self.stream()?;
        limited(LONGEST, async {
            lives::begin(&self.shared.pool, (&stream, created), of, self.now).await
        })
        .await?;
        self.refresh().await
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            let lives = Lives::load(&client, self.stream()?).await?;
            self.shared.publish(lives);
            Ok(())
        })
        .await
    }

    fn stream(&self) -> Result<(Arc<str>, i64), StoreError> {
        let stream = self.shared.lives.borrow().stream.clone();
        stream.ok_or_else(not_compared)
    }

    async fn attempt(&self, unanswered: &mut Unanswered) -> Result<Attempt, StoreError> {
        let known = Arc::clone(&self.shared.lives.borrow());
        let stream = known.stream.clone().ok_or_else(not_compared)?;
        let current = known.current().ok_or_else(not_compared)?.id;
        let shared = self.shared;
        shared.counted.admit(&shared.pool, self.batch).await?;
        let transaction = Transaction::begin(&self.shared.pool).await?;
        let client = transaction.client();

        let Applied {
            inserted,
            lives,
            last_batch,
        } = self.apply(client, stream, current).await?;
        if unanswered.committed.is_some() && last_batch.is_some_and(|last| last == self.id) {
            transaction.roll_back().await?;
            self.confirm().await?;
            return Ok(Attempt::HadCommitted);
        }
        let Some(life) = lives.current().filter(|life| life.id == current) else {
            transaction.roll_back().await?;
            return Ok(Attempt::Stale);
        };
        if lives.newest != current {
            let newest = Self::newest_stream(client).await?;
            transaction.roll_back().await?;
            return Err(superseded(&known, &newest));
        }
        let (fresh, redelivered) = match self.fresh(client, &inserted, &lives).await? {
            Fresh::Known(fresh, redelivered) => (fresh, redelivered),
            Fresh::Reused => {
                transaction.roll_back().await?;
                return Ok(Attempt::Reused(current));
            }
            Fresh::Folded => {
                transaction.roll_back().await?;
                return Ok(Attempt::Stale);
            }
        };
        let deliveries = self.batch.iter().zip(self.fingerprints);
        let applied = deliveries
            .zip(&fresh)
            .filter(|(_, is_fresh)| **is_fresh)
            .map(|((delivery, fingerprints), _)| (delivery, fingerprints.as_slice()));
        let highest = self
            .batch
            .iter()
            .map(|delivery| signed(delivery.sequence))
            .max();
        if highest.is_some_and(|highest| life.base + highest > place::MAX_MESSAGE) {
            return Err(StoreError::Foreign(
                "the stream has too many messages".to_owned(),
            ));
        }
        let plan = Plan::of(applied, life);
        let inserted = rows::insert_events(client, &plan, self.now).await?;
        let stored = rows::stored(client, &plan.known(&inserted)).await?;
        let contents = rows::contents(client, &plan.differing(&stored)).await?;
        let identities = plan
            .events
            .iter()
            .map(|arrived| arrived.fingerprint.identity);
        let wanted = self.shared.waits.wanted_of(identities);
        let outcomes = plan.outcomes(&self.shared.key, &stored, &contents, &wanted);
        let mut outcomes = outcomes.ok_or_else(|| {
            StoreError::Foreign("an event that was stored is no longer in the table".to_owned())
        })?;
        outcomes.done.redelivered = redelivered;
        self.finish(transaction, life, outcomes, unanswered).await
    }

    /// Locks the row of the writer, inserts those of the messages, and reads the lives as they are after that. In one round trip.
    async fn apply(
        &self,
        client: &Client,
        stream: (Arc<str>, i64),
        current: i64,
    ) -> Result<Applied, StoreError> {
        let lock = client.prepare_cached(lives::LOCK_WRITER).await?;
        let insert = client
            .prepare_cached(
                "INSERT INTO applied (incarnation, sequence, time) \
                 SELECT $1::bigint, s, t FROM unnest($2::bigint[], $3::bigint[]) AS m (s, t) \
                 ON CONFLICT DO NOTHING RETURNING sequence",
            )
            .await?;
        let read = client.prepare_cached(lives::LIVES_OF_STREAM).await?;
        let settings = client.prepare_cached(checks::SETTINGS).await?;
        let mut messages: Vec<(i64, i64)> = self
            .batch
            .iter()
            .map(|delivery| (signed(delivery.sequence), delivery.time))
            .collect();
        messages.sort_unstable();
        messages.dedup();
        let (sequences, times): (Vec<i64>, Vec<i64>) = messages.into_iter().unzip();
        let locking: [&(dyn ToSql + Sync); 1] = [&self.writer];
        let inserting: [&(dyn ToSql + Sync); 3] = [&current, &sequences, &times];
        let name: &str = &stream.0;
        let reading: [&(dyn ToSql + Sync); 2] = [&name, &stream.1];
        let (locked, inserted, lives, settings) = futures::join!(
            client.query_opt(&lock, &locking),
            client.query(&insert, &inserting),
            client.query(&read, &reading),
            client.query_one(&settings, &[]),
        );
        // In their order: all statements after one that fails fail, too, but only because it did.
        let (locked, inserted, lives) = (locked?, inserted?, lives?);
        // The server may have been configured in another way since the connection was made.
        checks::of_row(&settings?)?;
        // Without it, a new life would not wait for this append.
        let locked = locked.ok_or_else(|| {
            StoreError::Foreign(
                "the row of this writer is no longer in the table counters".to_owned(),
            )
        })?;
        Ok(Applied {
            last_batch: locked.get(0),
            inserted: inserted.iter().map(|row| unsigned(row.get(0))).collect(),
            lives: Lives::of_rows(stream, &lives),
        })
    }

    /// The name of the stream that was compared last.
    async fn newest_stream(client: &Client) -> Result<String, StoreError> {
        let sql = "SELECT stream FROM incarnations ORDER BY id DESC LIMIT 1";
        Ok(client.query_one(sql, &[]).await?.get(0))
    }
}

/// A batch of a stream, after another one was compared.
fn superseded(known: &Lives, newest: &str) -> StoreError {
    let own = known.stream.as_ref().map_or("", |(name, _)| name);
    if own == newest {
        return StoreError::Superseded;
    }
    StoreError::Foreign(format!(
        "another aggregator uses this store with the stream {newest}, this one with {own}; give all of them the same --stream"
    ))
}

fn not_compared() -> StoreError {
    StoreError::Foreign("a message arrived before its stream was compared".to_owned())
}
