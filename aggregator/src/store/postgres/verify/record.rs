//! The record of the store in one snapshot.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
};

use deadpool_postgres::Client;
use futures::TryStreamExt;
use tokio_postgres::types::ToSql;

use super::{SESSION, lives::Lives, marks, over_time::OverTime, review, share::Share};
use crate::store::{
    StoreError,
    digest::Digest,
    fingerprint::Key,
    postgres::{
        connect::{Pool, Transaction},
        lives::unsigned,
    },
    verify::{
        Check,
        balance::{Counts, Recorded},
    },
};

/// What is recorded, the topics and minutes as far as they are in the share.
#[derive(Debug)]
pub(super) struct Record {
    pub counts: Counts,
    /// The latest time of a batch, in microseconds since 1970.
    pub processed_at: i64,
    /// By their numbers.
    pub writers: BTreeMap<i32, Writer>,
    pub lives: Lives,
    pub rejected: Check,
    pub conflicts: Check,
    pub marks: Check,
    pub over_time: OverTime,
    pub topics: HashMap<Box<[u8]>, Topic>,
    pub minutes: BTreeMap<i64, Minute>,
}

/// The counts of one writer, in the tables that have them.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// `None` if it has no row of counters.
    pub counters: Option<Counts>,
    /// Unique events and duplicates.
    pub topics: [u64; 2],
    /// Unique events, duplicates and rejected arrivals.
    pub minutes: [u64; 3],
    /// Duplicates of which it is recorded which events they repeat, or that this is not known.
    pub repeats: u64,
}

/// A topic, added up over the writers.
#[derive(Debug)]
pub(super) struct Topic {
    /// Unique events and duplicates.
    pub received: u64,
    pub unique: u64,
    /// `None` if it is not valid.
    pub digest: Option<Digest>,
    pub last_at: i64,
    /// Unique events and duplicates, added up over the minutes.
    pub over_time: [u64; 2],
    /// Duplicates of which it is known which events they repeat.
    pub repeated: u64,
}

/// The events that were stored in a minute, added up over the writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Minute {
    pub unique: u64,
    pub first_place: i64,
    pub last_place: i64,
}

impl Default for Minute {
    /// Without events.
    fn default() -> Self {
        Self {
            unique: 0,
            first_place: i64::MAX,
            last_place: -1,
        }
    }
}

const COUNTERS: &str = "SELECT writer, received, unique_processed, duplicate_dropped, rejected, conflicts, processed_at, \
     rejected_bytes, rejected_evicted, conflicts_bytes, conflicts_evicted FROM counters";

const BY_WRITER: &str = "SELECT writer, sum(unique_processed)::bigint, sum(duplicate_dropped)::bigint FROM topics GROUP BY writer";

const MINUTES_BY_WRITER: &str = "SELECT writer, sum(unique_processed)::bigint, sum(duplicate_dropped)::bigint, sum(rejected)::bigint \
     FROM minutes GROUP BY writer";

const REPEATS_BY_WRITER: &str = "SELECT writer, sum(number)::bigint FROM repeats GROUP BY writer";

const TOPICS: &str = "SELECT topic, sum(unique_processed)::bigint, (sum(digest) % 340282366920938463463374607431768211456)::text, max(last_at), sum(duplicate_dropped)::bigint \
     FROM topics GROUP BY topic";

const MINUTES: &str = "SELECT minute, sum(unique_processed)::bigint, min(first_place), max(last_place) FROM minutes GROUP BY minute";

impl Record {
    pub async fn read(pool: &Pool, key: &Key, share: Share) -> Result<Self, StoreError> {
        let transaction = Transaction::snapshot(pool).await?;
        let client = transaction.client();
        client.batch_execute(SESSION).await?;
        let lives = Lives::read(client).await?;
        let mut record = Self {
            counts: Counts::default(),
            processed_at: 0,
            writers: BTreeMap::new(),
            lives,
            rejected: Check::new("rejected rows and evicted"),
            conflicts: Check::new("conflict rows and evicted"),
            marks: Check::new("rows marked as seen"),
            over_time: OverTime::default(),
            topics: HashMap::new(),
            minutes: BTreeMap::new(),
        };
        let (rejected, conflicts) = record.counters(client).await?;
        if share.is_first() {
            record.by_writer(client).await?;
            record.rejected = review::rejected(client, &record.lives, rejected).await?;
            record.conflicts = review::conflicts(client, &record.lives, conflicts).await?;
            record.marks = marks::check(client, &record.counts).await?;
        }
        record.topics(client, key, share).await?;
        record.over_time = OverTime::read(client, key, share, &mut record.topics).await?;
        record.minutes(client, share).await?;
        transaction.commit().await?;
        Ok(record)
    }

    /// Reads the counters; returns those of rejected arrivals and of conflicts.
    async fn counters(&mut self, client: &Client) -> Result<(Recorded, Recorded), StoreError> {
        let (mut of_rejected, mut of_conflicts) = ([0; 2], [0; 2]);
        for row in client.query(COUNTERS, &[]).await? {
            let count = |column: usize| unsigned(row.get(column));
            let counts = Counts {
                received: count(1),
                unique: count(2),
                duplicates: count(3),
                rejected: count(4),
                conflicts: count(5),
            };
            let sum = &mut self.counts;
            sum.received += counts.received;
            sum.unique += counts.unique;
            sum.duplicates += counts.duplicates;
            sum.rejected += counts.rejected;
            sum.conflicts += counts.conflicts;
            self.processed_at = self.processed_at.max(row.get(6));
            // The upkeep subtracts the bytes of what it evicts in a row of its own.
            for column in 0..2 {
                of_rejected[column] += row.get::<_, i64>(7 + column);
                of_conflicts[column] += row.get::<_, i64>(9 + column);
            }
            self.writers.entry(row.get(0)).or_default().counters = Some(counts);
        }
        let recorded = |all, [bytes, evicted]: [i64; 2]| Recorded {
            all,
            bytes: unsigned(bytes),
            evicted: unsigned(evicted),
        };
        Ok((
            recorded(self.counts.rejected, of_rejected),
            recorded(self.counts.conflicts, of_conflicts),
        ))
    }

    async fn by_writer(&mut self, client: &Client) -> Result<(), StoreError> {
        for row in client.query(BY_WRITER, &[]).await? {
            let writer = self.writers.entry(row.get(0)).or_default();
            writer.topics = [1, 2].map(|column| unsigned(row.get(column)));
        }
        for row in client.query(MINUTES_BY_WRITER, &[]).await? {
            let writer = self.writers.entry(row.get(0)).or_default();
            writer.minutes = [1, 2, 3].map(|column| unsigned(row.get(column)));
        }
        for row in client.query(REPEATS_BY_WRITER, &[]).await? {
            let writer = self.writers.entry(row.get(0)).or_default();
            writer.repeats = unsigned(row.get(1));
        }
        Ok(())
    }

    async fn topics(&mut self, client: &Client, key: &Key, share: Share) -> Result<(), StoreError> {
        let none: [&(dyn ToSql + Sync); 0] = [];
        let mut rows = pin!(client.query_raw(TOPICS, none).await?);
        while let Some(row) = rows.try_next().await? {
            let name: &[u8] = row.get(0);
            if !share.has_topic(key, name) {
                continue;
            }
            let digest: &str = row.get(2);
            let digest = digest.parse::<u128>().ok();
            let unique = unsigned(row.get(1));
            let topic = Topic {
                received: unique.saturating_add(unsigned(row.get(4))),
                unique,
                digest: digest.map(|digest| Digest::from_bytes(digest.to_le_bytes())),
                last_at: row.get(3),
                over_time: [0; 2],
                repeated: 0,
            };
            self.topics.insert(name.into(), topic);
        }
        Ok(())
    }

    async fn minutes(&mut self, client: &Client, share: Share) -> Result<(), StoreError> {
        let none: [&(dyn ToSql + Sync); 0] = [];
        let mut rows = pin!(client.query_raw(MINUTES, none).await?);
        while let Some(row) = rows.try_next().await? {
            let number: i64 = row.get(0);
            let minute = Minute {
                unique: unsigned(row.get(1)),
                first_place: row.get(2),
                last_place: row.get(3),
            };
            // Without events there is nothing to compare.
            if share.has_minute(number) && minute != Minute::default() {
                self.minutes.insert(number, minute);
            }
        }
        Ok(())
    }
}
