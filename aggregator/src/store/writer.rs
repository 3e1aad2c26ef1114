//! The writer of either engine.

use std::sync::Arc;

use super::{
    Appended, Delivery, Looked, ObservedStream, Position, Standing, StoreError, postgres,
    query::{Review, Seen},
    sqlite,
    waits::Wait,
};
use crate::clock::Clock;

/// Appends batches; nothing else writes events. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Writer {
    /// That of a data directory, of which there is one.
    Sqlite(sqlite::writer::Writer),
    /// That of one aggregator of several.
    Postgres(postgres::Writer),
}

/// Resolves when the store has ended.
#[derive(Debug)]
pub enum WriterEnded {
    /// When the writer thread has ended.
    Sqlite(sqlite::writer::WriterEnded),
    /// It does the store's upkeep until then.
    Postgres(postgres::Upkeep),
}

impl Writer {
    /// Whether other aggregators may append to the same store, from the same durable.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Appends a batch in one transaction. `now` is in microseconds since 1970.
    ///
    /// # Errors
    /// [`StoreError`]; the batch may then be appended again: whether a failed COMMIT took effect is read from the store, and what
    /// was applied counts as a redelivery.
    pub async fn append(
        &self,
        batch: Arc<Vec<Delivery>>,
        now: i64,
    ) -> Result<Appended, StoreError> {
        match self {
            Self::Sqlite(writer) => writer.append(batch, now).await,
            // Boxed, so that the other engine's callers do not carry its size.
            Self::Postgres(writer) => Box::pin(writer.append(&batch, now)).await,
        }
    }

    /// Reads what the stream is compared with when it is observed after this. Others may append meanwhile.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(&self) -> Result<Option<Looked>, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(writer) => writer.look().await.map(Some),
        }
    }

    /// Compares the stream with the store, and returns the store's position. If the store is not shared, no delivery that it has
    /// not applied may be in flight then.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn meet(&self, met: ObservedStream, now: i64) -> Result<Position, StoreError> {
        match self {
            Self::Sqlite(writer) => writer.meet(met, now).await,
            Self::Postgres(writer) => writer.meet(&met, now).await,
        }
    }

    /// Marks all missing sequences as acknowledged, and returns how many there were.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn acknowledge_missing(&self, now: i64) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(writer) => writer.acknowledge_missing(now).await,
            Self::Postgres(writer) => writer.acknowledge_missing(now).await,
        }
    }

    /// Marks a rejected arrival as sent again; returns false if it no longer exists.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn requeued(&self, id: i64, now: i64) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(writer) => writer.requeued(id, now).await,
            Self::Postgres(writer) => writer.requeued(id, now).await,
        }
    }

    /// Marks the rows kept for review up to the id `upto` as seen by an operator; returns what is marked now, or `None` if it is beyond
    /// the latest id. If the store is shared, rows are not marked before which others may still come.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    pub async fn seen(&self, rows: Review, upto: u64) -> Result<Option<Seen>, StoreError> {
        match self {
            Self::Sqlite(writer) => writer.seen(rows, upto).await,
            Self::Postgres(writer) => writer.seen(rows, upto).await,
        }
    }

    /// Checks whether the store's files are still where they were opened, or whether the database can be written to. Every write
    /// checks that too, before it is reported as done; this is for the time between writes.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] or [`StoreError::Trouble`].
    pub async fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(writer) => writer.check_files().await,
            Self::Postgres(writer) => writer.check(),
        }
    }

    /// Begins to wait for the outcomes of events of these identities, topic and `event_id`; `None` if too many are
    /// waited for already. Must be called before they are published: a commit can precede the `PubAck`.
    pub fn wait<'a>(&self, identities: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Wait> {
        match self {
            Self::Sqlite(writer) => writer.wait(identities),
            Self::Postgres(writer) => writer.wait(identities),
        }
    }

    /// The clock by which the times of what is stored are.
    #[must_use]
    pub fn clock(&self) -> Clock {
        match self {
            Self::Sqlite(_) => Clock::default(),
            Self::Postgres(writer) => writer.clock().clone(),
        }
    }

    /// The store's own id.
    #[must_use]
    pub fn store_id(&self) -> &str {
        match self {
            Self::Sqlite(writer) => writer.store_id(),
            Self::Postgres(writer) => writer.store_id(),
        }
    }

    /// How far the current stream is applied, as of the last commit. If the store is shared, it may lag behind.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self {
            Self::Sqlite(writer) => writer.standing(),
            Self::Postgres(writer) => writer.standing(),
        }
    }

    /// The floor as it is now. [`Self::standing`] may lag behind that of a shared store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn floor(&self) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(writer) => Ok(writer.standing().floor),
            Self::Postgres(writer) => writer.floor().await,
        }
    }

    /// Takes or keeps the lease on what only one aggregator may do, for `seconds`; returns whether this one has it. A store that
    /// is not shared has no other.
    ///
    /// # Errors
    /// [`StoreError`]; then it does not have it.
    pub async fn lease(&self, name: &str, seconds: f64) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(true),
            Self::Postgres(writer) => Ok(writer.lease(name, seconds).await?.is_some()),
        }
    }
}

impl WriterEnded {
    /// Waits for the end of the writer, and does the store's upkeep meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] if it panicked.
    pub async fn wait(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(ended) => ended.wait().await,
            Self::Postgres(upkeep) => {
                Box::pin(upkeep.run()).await;
                Ok(())
            }
        }
    }
}
