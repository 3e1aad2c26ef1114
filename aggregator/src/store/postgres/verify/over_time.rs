//! The counts of topics over time, and the record of which events are repeated, as far as they are compared by topic.
//!
//! Topics and hours are too many to compare each pair of them in memory. So each has a keyed hash, and the sum of the hashes, each times the count
//! of its topic in its hour, is kept for each hour: as recorded, and as found in the rows.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::pin,
};

use deadpool_postgres::Client;
use futures::TryStreamExt;
use tokio_postgres::types::ToSql;

use super::{record::Topic, share::Share};
use crate::store::{
    StoreError,
    fingerprint::Key,
    postgres::lives::unsigned,
    query::{MICROS_PER_MINUTE, TOPICS_KEPT},
    verify::Check,
};

const COUNTING: &str = "SELECT topics, since FROM topic_counting";

const COUNTED: &str = "SELECT topic FROM counted_topics";

/// The duplicates of a copy, whose times are not known, are left out of the last column.
const MINUTES: &str = "SELECT topic, minute, sum(unique_processed)::bigint, sum(duplicate_dropped)::bigint, \
     sum(CASE WHEN writer >= 0 THEN duplicate_dropped ELSE 0 END)::bigint FROM topic_minutes GROUP BY topic, minute";

/// By hour, of which it has the beginning; the last column as above.
const REPEATS: &str = "SELECT u.t, r.processed_at - r.processed_at % 3600000000, sum(u.c)::bigint, sum(CASE WHEN r.writer >= 0 THEN u.c ELSE 0 END)::bigint \
     FROM repeats r, unnest(r.topics, r.counts) AS u (t, c) GROUP BY 1, 2";

/// Duplicates of which nothing but their number is known.
const UNKNOWN: &str = "SELECT coalesce(sum(number), 0)::bigint FROM repeats WHERE topics IS NULL";

/// What is recorded of topics over time.
#[derive(Debug, Default)]
pub(super) struct OverTime {
    /// When the count began, in microseconds since 1970; 0 for always.
    since: i64,
    counted: HashSet<Box<[u8]>>,
    hours: BTreeMap<i64, Hour>,
    /// Duplicates of which nothing but their number is known.
    unknown: u64,
    /// Topics that are counted, as recorded and as found.
    pub topics: (u64, u64),
}

/// Sums modulo 2^128, as recorded and as found.
#[derive(Debug, Default)]
struct Hour {
    unique: (u128, u128),
    duplicates: (u128, u128),
}

impl OverTime {
    /// Reads it, and adds to the topics of a share what is counted of them. The hours are read with the first share.
    pub async fn read(
        client: &Client,
        key: &Key,
        share: Share,
        topics: &mut HashMap<Box<[u8]>, Topic>,
    ) -> Result<Self, StoreError> {
        let row = client.query_one(COUNTING, &[]).await?;
        let number: i32 = row.get(0);
        let counted = client.query(COUNTED, &[]).await?;
        let counted: HashSet<Box<[u8]>> = counted
            .iter()
            .map(|row| row.get::<_, &[u8]>(0).into())
            .collect();
        let mut read = Self {
            since: row.get(1),
            topics: (unsigned(number.into()), counted.len() as u64),
            counted,
            hours: BTreeMap::new(),
            unknown: unsigned(client.query_one(UNKNOWN, &[]).await?.get(0)),
        };
        let none: [&(dyn ToSql + Sync); 0] = [];
        {
            let mut rows = pin!(client.query_raw(MINUTES, none).await?);
            while let Some(row) = rows.try_next().await? {
                let name: &[u8] = row.get(0);
                let (unique, duplicates) = (unsigned(row.get(2)), unsigned(row.get(3)));
                if let Some(topic) = topics.get_mut(name) {
                    topic.over_time[0] += unique;
                    topic.over_time[1] += duplicates;
                }
                if share.is_first() {
                    let hour = row.get::<_, i64>(1).div_euclid(60);
                    let hash = hash(key, name, hour);
                    let hour = read.hours.entry(hour).or_default();
                    add(&mut hour.unique.0, hash, unique);
                    add(&mut hour.duplicates.0, hash, unsigned(row.get(4)));
                }
            }
        }
        let mut rows = pin!(client.query_raw(REPEATS, none).await?);
        while let Some(row) = rows.try_next().await? {
            let name: &[u8] = row.get(0);
            if let Some(topic) = topics.get_mut(name) {
                topic.repeated += unsigned(row.get(2));
            }
            if share.is_first() && read.counted.contains(name) {
                let hour = row.get::<_, i64>(1).div_euclid(60 * MICROS_PER_MINUTE);
                let hash = hash(key, name, hour);
                let hour = read.hours.entry(hour).or_default();
                add(&mut hour.duplicates.1, hash, unsigned(row.get(3)));
            }
        }
        Ok(read)
    }

    /// Takes a stored event.
    pub fn take(&mut self, key: &Key, topic: &[u8], processed_at: i64) {
        if self.counted.contains(topic) {
            let hour = processed_at.div_euclid(60 * MICROS_PER_MINUTE);
            let hash = hash(key, topic, hour);
            add(&mut self.hours.entry(hour).or_default().unique.1, hash, 1);
        }
    }

    /// Compares the topics of a share with what is counted of them.
    pub fn check_topics(
        &self,
        topics: &HashMap<Box<[u8]>, Topic>,
        over_time: &mut Check,
        repeats: &mut Check,
    ) {
        let mut names: Vec<_> = topics.keys().collect();
        names.sort_unstable();
        for name in names {
            let topic = &topics[name];
            let recorded = [topic.unique, topic.received.saturating_sub(topic.unique)];
            let found = topic.over_time;
            let is_right = if !self.counted.contains(name) {
                // Before the count began, or after there was no more room.
                (self.since > 0 || self.topics.1 >= unsigned(TOPICS_KEPT)) && found == [0, 0]
            } else if self.since > 0 {
                found[0] <= recorded[0] && found[1] <= recorded[1]
            } else {
                found == recorded
            };
            let name = String::from_utf8_lossy(name);
            if !is_right {
                over_time.differs(|| {
                    format!("topic {name:?}: unique events and duplicates, summed over minutes: recorded {recorded:?}, found {found:?}")
                });
            }
            let (duplicates, repeated) = (recorded[1], topic.repeated);
            if repeated > duplicates || repeated.saturating_add(self.unknown) < duplicates {
                repeats.differs(|| {
                    format!("topic {name:?}: {duplicates} duplicates are recorded, and of {repeated} the events that they repeat")
                });
            }
        }
    }

    /// Compares the hours, after all events were taken.
    pub fn check_hours(&self, check: &mut Check) {
        for (hour, sums) in &self.hours {
            let begins = hour.saturating_mul(60 * MICROS_PER_MINUTE);
            // Of an hour in which the count began, only a part is counted.
            if begins < self.since {
                continue;
            }
            for (what, (recorded, found)) in [
                ("unique events", sums.unique),
                ("duplicates", sums.duplicates),
            ] {
                if recorded != found {
                    let begins = crate::clock::rfc3339(begins);
                    check.differs(|| {
                        format!("the hour from {begins}: the {what} of topics over time are not those of the rows")
                    });
                }
            }
        }
    }
}

fn hash(key: &Key, topic: &[u8], hour: i64) -> u128 {
    key.row([topic, &hour.to_le_bytes()])
}

fn add(sum: &mut u128, hash: u128, count: u64) {
    *sum = sum.wrapping_add(hash.wrapping_mul(count.into()));
}
