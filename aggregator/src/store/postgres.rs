//! The store in a database that speaks PostgreSQL's protocol: any number of aggregators on one durable write to it at once.
//!
//! # The client
//!
//! `tokio-postgres` with `deadpool-postgres`. It sends arrays as binary parameters, so that a batch is one `INSERT … SELECT unnest(…)`;
//! it sends statements without waiting for the answers of earlier ones, so that a batch takes four or five round trips; and its
//! rows are read as they arrive, so that a page of large events is never whole in memory. `sqlx` does neither of the last two,
//! and checks queries at build time against a database that a build does not have. COPY is faster than arrays only for
//! rows that cannot conflict.
//!
//! # Places
//!
//! With many writers, the order of commits is not an order that everyone sees. An event's sequence is its place in
//! the stream, as one number: see [`place`].

mod checks;
mod connect;
mod counted;
mod error;
mod failures;
pub mod import;
mod inspect;
mod lives;
mod outcomes;
mod place;
mod reader;
mod schema;
mod seen;
#[cfg(test)]
pub mod tests;
mod upkeep;
mod verify;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicI64};

use tokio::sync::watch;

pub use self::{
    connect::{Address, AddressError},
    error::DatabaseError,
    inspect::{DatabaseInspection, inspect},
    reader::Reader,
    schema::{SchemaChange, VERSION as DATABASE_SCHEMA_VERSION, init},
    upkeep::Upkeep,
    verify::{Retained, nothing_applied, verify},
    writer::Writer,
};
use self::{
    connect::{LONGEST, Pool, limited},
    counted::Counted,
    failures::Failures,
    lives::Lives,
};
use super::{Bounds, Standing, StoreError, fingerprint::Key, opening::Opening, waits::Waits};
use crate::clock::Clock;

/// What the writer, the readers and the upkeep of one aggregator share.
#[derive(Debug)]
struct Shared {
    pool: Pool,
    key: Key,
    store_id: Arc<str>,
    /// The id of the store of another engine that it was copied from.
    copied_from: Option<String>,
    bounds: Bounds,
    /// The slot of this aggregator, whose rows of counters it writes.
    slot: i32,
    /// Identifies this process in leases.
    holder: String,
    /// The lives of the current stream, as last read. Empty until a stream was compared.
    lives: watch::Sender<Arc<Lives>>,
    standing: watch::Sender<Standing>,
    /// The life that this aggregator compared the stream with, or to which it has reported to have appended since.
    compared: AtomicI64,
    /// The last place that no event can precede any more.
    last_event: watch::Sender<i64>,
    waits: Waits,
    counted: Counted,
    failures: Failures,
    /// The database's.
    clock: Clock,
    /// Why the upkeep cannot write to the database, while that lasts.
    trouble: Mutex<Option<String>>,
}

/// Opens the store at an address, creating its tables if needed.
pub async fn open(
    address: &Address,
    now: i64,
    bounds: Bounds,
    opening: &Opening,
) -> Result<(Writer, Upkeep, Reader), StoreError> {
    opening.at("connecting to the database".to_owned());
    let pool = Pool::of(address);
    let clock = Clock::of_database();
    limited(LONGEST, checks::run_with_clock(&pool, &clock)).await?;
    opening.at("checking the schema of the database".to_owned());
    schema::ensure(&pool, now).await?;
    let holder = uuid::Uuid::new_v4().to_string();
    let slot = limited(LONGEST, upkeep::claim_slot(&pool, &holder)).await?;
    // A copy into an empty database may have started before the slot was taken; one that starts later sees it.
    let identity = limited(LONGEST, async {
        let client = pool.get().await?;
        let now = schema::read_identity(&client).await?;
        Ok::<_, StoreError>(now)
    })
    .await?;
    limited(LONGEST, lives::admit(&pool, &upkeep::writers_of(slot))).await?;
    let lives = limited(LONGEST, Lives::latest(&pool)).await?;
    let shared = Shared {
        pool,
        key: identity.key,
        store_id: identity.store_id.into(),
        copied_from: identity.copied_from,
        bounds,
        slot,
        holder,
        standing: watch::Sender::default(),
        compared: AtomicI64::new(lives.current().map_or(0, |life| life.id)),
        last_event: watch::Sender::default(),
        waits: Waits::shared(),
        counted: Counted::default(),
        failures: Failures::default(),
        clock,
        trouble: Mutex::default(),
        lives: watch::Sender::default(),
    };
    shared.publish(lives);
    let shared = Arc::new(shared);
    let reader = Reader::new(Arc::clone(&shared));
    let upkeep = Upkeep::new(&shared);
    Ok((Writer::new(shared), upkeep, reader))
}

/// Does at once what the upkeep does from time to time.
#[cfg(test)]
pub async fn pass(writer: &Writer) -> Result<(), StoreError> {
    upkeep::give_sign(writer.shared()).await?;
    upkeep::pass(writer.shared()).await?;
    upkeep::add_up(&writer.shared().pool).await
}

/// Reads at once the outcomes that are waited for.
#[cfg(test)]
pub async fn read_outcomes(writer: &Writer) -> Result<(), StoreError> {
    outcomes::pass(writer.shared()).await
}

impl Shared {
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes lives that were read from the database.
    fn publish(&self, lives: Lives) {
        if let (Some(life), Some(awaited)) = (lives.current(), self.waits.awaited()) {
            awaited.is_in(life.id);
        }
        self.standing.send_replace(lives.standing());
        let frontier = lives.frontier();
        self.last_event.send_if_modified(|known| {
            let is_later = frontier > *known;
            *known = frontier.max(*known);
            is_later
        });
        self.lives.send_replace(Arc::new(lives));
    }
}
