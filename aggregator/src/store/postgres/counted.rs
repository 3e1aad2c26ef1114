//! The topics that are counted over time: the first [`TOPICS_KEPT`] of the store.
//!
//! A topic that an aggregator meets for the first time is added in a transaction of its own, before its event is counted, and stays. Once the
//! limit is reached it stays reached. So all aggregators make the same decision, whatever each of them knows, and a topic is
//! counted from its first event on or never. An append whose topics are known, or that comes when the limit is reached, sends no query.
//!
//! Only a topic that is new to the store waits for a lock that all aggregators share, until 10,000 have been added.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_postgres::Row;

use super::connect::{Pool, Transaction};
use crate::store::{Delivery, StoreError, query::TOPICS_KEPT};

const LOCK: &str = "SELECT topics FROM topic_counting FOR UPDATE";

const AMONG: &str = "SELECT topic FROM counted_topics WHERE topic = ANY ($1)";

const ALL: &str = "SELECT topic FROM counted_topics";

const ADD: &str = "INSERT INTO counted_topics (topic, number) SELECT t, n FROM unnest($1::bytea[], $2::int4[]) AS a (t, n)";

const COUNT: &str = "UPDATE topic_counting SET topics = $1";

/// What an aggregator knows of them.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// At most [`TOPICS_KEPT`]. All of them if there is no room.
    topics: HashSet<Box<[u8]>>,
    is_full: bool,
}

impl Counted {
    /// Adds the topics of a batch, as far as there is room, so that it is known which of them are counted.
    pub async fn admit(&self, pool: &Pool, batch: &[Delivery]) -> Result<(), StoreError> {
        let unknown = self.unknown(batch);
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown = self.learn(pool, unknown).await?;
        if unknown.is_empty() {
            return Ok(());
        }
        let transaction = Transaction::begin(pool).await?;
        let client = transaction.client();
        let mut number: i32 = client.query_one(LOCK, &[]).await?.get(0);
        let found = client.query(AMONG, &[&unknown]).await?;
        let mut counted: HashSet<Box<[u8]>> = found.iter().map(name).collect();
        let room = usize::try_from(TOPICS_KEPT - i64::from(number)).unwrap_or(0);
        let added: Vec<&[u8]> = unknown
            .into_iter()
            .filter(|topic| !counted.contains(*topic))
            .take(room)
            .collect();
        if !added.is_empty() {
            let numbers: Vec<i32> = (number + 1..).take(added.len()).collect();
            client.execute(ADD, &[&added, &numbers]).await?;
            number = numbers.last().copied().unwrap_or(number);
            client.execute(COUNT, &[&number]).await?;
        }
        let is_full = i64::from(number) >= TOPICS_KEPT;
        if is_full {
            counted = client.query(ALL, &[]).await?.iter().map(name).collect();
        } else {
            counted.extend(added.into_iter().map(Box::from));
        }
        transaction.commit().await?;
        let mut known = self.known();
        known.topics.extend(counted);
        known.is_full |= is_full;
        Ok(())
    }

    /// Reads which of some topics others have added, and returns the rest.
    async fn learn<'a>(
        &self,
        pool: &Pool,
        mut unknown: Vec<&'a [u8]>,
    ) -> Result<Vec<&'a [u8]>, StoreError> {
        let client = pool.get().await?;
        let found = client.query(AMONG, &[&unknown]).await?;
        let mut known = self.known();
        known.topics.extend(found.iter().map(name));
        unknown.retain(|topic| !known.topics.contains(*topic));
        Ok(unknown)
    }

    /// The topics of a batch of which it is not known whether they are counted, in the order of their first events.
    fn unknown<'a>(&self, batch: &'a [Delivery]) -> Vec<&'a [u8]> {
        let known = self.known();
        if known.is_full {
            return Vec::new();
        }
        let (mut unknown, mut seen, mut before) = (Vec::new(), HashSet::new(), None);
        for event in batch
            .iter()
            .flat_map(|delivery| &delivery.arrivals)
            .flatten()
        {
            let topic = event.topic.as_str().as_bytes();
            // Most messages have events of one topic.
            if before.replace(topic) != Some(topic)
                && !known.topics.contains(topic)
                && seen.insert(topic)
            {
                unknown.push(topic);
            }
        }
        unknown
    }

    /// Of topics that were admitted, for each whether it is counted.
    pub fn of<'a>(&self, topics: impl Iterator<Item = &'a str>) -> Vec<bool> {
        let known = self.known();
        topics
            .map(|topic| known.topics.contains(topic.as_bytes()))
            .collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(row: &Row) -> Box<[u8]> {
    row.get::<_, &[u8]>(0).into()
}
