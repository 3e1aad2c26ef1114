//! Tests of what is this engine's own: several writers at once, answers that do not come, and the database's settings.

mod beginnings;
mod commits;
mod counted;
mod damage;
mod failures;
mod interleavings;
mod lives;
mod many;
mod opening;
mod pages;
pub mod proxy;
mod schema;
mod tails;
mod turnstile;
mod upgrade;
pub mod verify;
mod waits;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Address, Reader, Writer};
use crate::store::{
    Appended, Bounds, Delivery, Opening, StoreError,
    tests::{arrivals::stream, database::Database},
};

/// An aggregator's part of a store.
pub struct Opened {
    writer: Writer,
    reader: Reader,
}

impl Opened {
    async fn at(url: &str) -> Self {
        Self::try_at(url).await.unwrap()
    }

    async fn try_at(url: &str) -> Result<Self, StoreError> {
        let address: Address = url.parse().unwrap();
        let opening = Opening::default();
        let opened = super::open(&address, 0, Bounds::default(), &opening).await;
        opened.map(|(writer, _, reader)| Self { writer, reader })
    }

    /// Opens a store and compares the stream with it, up to this sequence.
    async fn with_stream(database: &Database, last: u64) -> Self {
        let opened = Self::at(&database.url()).await;
        opened
            .writer
            .meet(&stream(1, last).into(), 0)
            .await
            .unwrap();
        opened
    }

    async fn append(&self, batch: &[Delivery]) -> Appended {
        self.writer.append(batch, 1).await.unwrap()
    }

    async fn pass(&self) {
        super::pass(&self.writer).await.unwrap();
    }
}

/// Runs a test, if there is a database.
fn with_database<F: Future<Output = ()>>(test: impl FnOnce(Arc<Database>) -> F) {
    let Some(database) = Database::new() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(test(Arc::new(database)));
}

/// Waits until this many connections wait for locks. Lets the test's other work go on meanwhile.
async fn waiting(database: &Database, connections: u32) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(60);
    while database.sql(sql) != connections.to_string() {
        assert!(Instant::now() < deadline, "never {connections} wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
