//! The writer: appends batches, several at once, each on a connection of its own.

mod append;
mod plan;
mod rows;
mod writes;

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

pub(super) use self::{
    plan::{Stored, StoredContent},
    rows::{bytes_of, content_of, contents, identity_of, number_of, stored},
};
use futures::TryStreamExt;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, SemaphorePermit};

use super::{
    Shared,
    connect::{LONGEST, limited},
    lives,
};
use crate::{
    clock::Clock,
    store::{
        Appended, BATCHES_IN_FLIGHT, Delivery, Looked, ObservedStream, Position, Standing,
        StoreError,
        query::{Review, Seen},
        waits::Wait,
    },
};

/// Appends batches. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    lanes: Arc<Lanes>,
}

/// The numbers of the batches in flight: each counts in rows of its own, so that none waits for another one's COMMIT.
#[derive(Debug)]
struct Lanes {
    permits: Semaphore,
    free: [Arc<Mutex<()>>; BATCHES_IN_FLIGHT],
}

/// A lane in use.
struct Lane<'a> {
    /// Released before the permit: the holder of a permit finds a free lane.
    _held: OwnedMutexGuard<()>,
    _permit: SemaphorePermit<'a>,
    /// The writer whose rows of counters it changes.
    writer: i32,
}

impl Lanes {
    async fn take(&self, slot: i32) -> Result<Lane<'_>, StoreError> {
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|_| StoreError::Stopped)?;
        let mut lanes = (0_i32..).zip(&self.free);
        let free = lanes.find_map(|(number, lane)| {
            let held = Arc::clone(lane).try_lock_owned().ok()?;
            Some((number, held))
        });
        let (number, held) = free.ok_or(StoreError::Stopped)?;
        Ok(Lane {
            _held: held,
            _permit: permit,
            writer: super::upkeep::writer_of(slot, number),
        })
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let lanes = Lanes {
            permits: Semaphore::new(BATCHES_IN_FLIGHT),
            free: std::array::from_fn(|_| Arc::default()),
        };
        Self {
            shared,
            lanes: Arc::new(lanes),
        }
    }

    /// Appends a batch in one transaction. `now` is in microseconds since 1970.
    pub async fn append(&self, batch: &[Delivery], now: i64) -> Result<Appended, StoreError> {
        let lane = self.lanes.take(self.shared.slot).await?;
        append::append(&self.shared, lane.writer, batch, now).await
    }

    /// Reads what the stream is compared with when it is observed after this.
    pub async fn look(&self) -> Result<Looked, StoreError> {
        let lives = self.shared.lives.borrow().clone();
        let Some(stream) = lives.stream.clone() else {
            return Ok(lives.looked());
        };
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            let lives = lives::Lives::load(&client, stream).await?;
            let looked = lives.looked();
            self.shared.publish(lives);
            Ok(looked)
        })
        .await
    }

    /// Compares the stream with the store, and returns the store's position. Other aggregators may have deliveries in flight.
    pub async fn meet(&self, met: &ObservedStream, now: i64) -> Result<Position, StoreError> {
        let lives = limited(LONGEST, lives::meet(&self.shared.pool, met, now)).await?;
        let standing = lives.standing();
        let current = lives.current().map_or(0, |life| life.id);
        self.shared.compared.store(current, Ordering::Relaxed);
        self.shared.publish(lives);
        Ok(Position {
            store_id: self.shared.store_id.to_string(),
            copied_from: self.shared.copied_from.clone(),
            standing,
            missing: self.count_missing().await?,
        })
    }

    async fn count_missing(&self) -> Result<u64, StoreError> {
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            let row = client.query_one(super::reader::MISSING, &[]).await?;
            Ok(lives::unsigned(row.get(0)))
        })
        .await
    }

    /// Marks all missing sequences as acknowledged, and returns how many there were.
    pub async fn acknowledge_missing(&self, now: i64) -> Result<u64, StoreError> {
        let sql = "UPDATE missing SET acknowledged_at = $1 WHERE acknowledged_at IS NULL RETURNING last - first + 1";
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            let mut ranges = pin!(client.query_raw(sql, [&now]).await?);
            let mut acknowledged = 0;
            while let Some(row) = ranges.try_next().await? {
                acknowledged += lives::unsigned(row.get(0));
            }
            Ok(acknowledged)
        })
        .await
    }

    /// Marks a rejected arrival as sent again; returns false if it no longer exists.
    pub async fn requeued(&self, id: i64, now: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE rejected SET requeued_at = $2 WHERE place = $1";
        limited(LONGEST, async {
            let client = self.shared.pool.get().await?;
            Ok(client.execute(sql, &[&id, &now]).await? == 1)
        })
        .await
    }

    /// Marks rows kept for review as seen by an operator.
    pub async fn seen(&self, rows: Review, upto: u64) -> Result<Option<Seen>, StoreError> {
        limited(LONGEST, super::seen::mark(&self.shared, rows, upto)).await
    }

    /// Whether the upkeep, which writes every ten seconds or more often, can write to the database.
    pub fn check(&self) -> Result<(), StoreError> {
        let trouble = self.shared.trouble().clone();
        trouble.map_or(Ok(()), |reason| Err(StoreError::Trouble(reason)))
    }

    /// Begins to wait for the outcomes of events, whichever aggregator appends them.
    pub fn wait<'a>(&self, identities: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Wait> {
        let key = &self.shared.key;
        let identities = identities.map(|(topic, event_id)| key.identity(topic, event_id));
        self.shared.waits.begin(identities.collect())
    }

    /// The database's clock.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The store's own id.
    pub fn store_id(&self) -> &str {
        &self.shared.store_id
    }

    /// How far the current stream is applied, by any aggregator, as last read.
    pub fn standing(&self) -> Standing {
        *self.shared.standing.borrow()
    }

    /// Raises the floor, and returns it.
    pub async fn floor(&self) -> Result<u64, StoreError> {
        limited(LONGEST, super::upkeep::refresh(&self.shared)).await?;
        Ok(self.standing().floor)
    }

    /// Takes or keeps a lease for a time, and returns its epoch; `None` if another aggregator holds it.
    pub async fn lease(&self, name: &str, seconds: f64) -> Result<Option<i64>, StoreError> {
        let shared = &self.shared;
        let lease = super::upkeep::lease(&shared.pool, &shared.holder, name, seconds);
        limited(LONGEST, lease).await
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
