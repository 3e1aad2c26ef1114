//! A copy of a store in a directory answers as the store does, however often copying was interrupted.

mod answers;
mod interrupted;
mod refused;

use std::sync::Arc;

use super::{ChunkLimits, Copied, CopyError, How, copy_in};
use crate::store::{
    Address, Bounds, Delivery,
    postgres::tests::verify::{differences, verified},
    query::Review,
    sqlite::{FILE, tests::harness::mixed_delivery},
    tests::{
        arrivals::{Arrival, delivery, delivery_on, stream},
        database::Database,
        engine::Store,
    },
    verify::Progress,
};

/// Receives the progress of a copy.
struct Quiet;

impl Progress for Quiet {
    fn begins(&self, _: &'static str) {}

    fn at(&self, _: &'static str, done: u64, of: u64) {
        assert!(done <= of);
    }
}

/// A store in a directory, stopped, and an empty database.
struct Copying {
    original: Store,
    database: Database,
}

impl Copying {
    /// `None` if PostgreSQL is not available.
    fn of(fill: impl FnOnce(&mut Store)) -> Option<Self> {
        let database = Database::new()?;
        let mut original = Store::sqlite(Bounds::default());
        fill(&mut original);
        Some(Self { original, database })
    }

    fn address(&self) -> Address {
        self.database.url().parse().unwrap()
    }

    fn copy_in(&self, limits: ChunkLimits) -> Result<Copied, CopyError> {
        self.copy_to(&self.address(), limits, &Quiet)
    }

    fn copy_to(
        &self,
        address: &Address,
        limits: ChunkLimits,
        progress: &dyn Progress,
    ) -> Result<Copied, CopyError> {
        let directory = self.original.directory();
        let copying = copy_in(directory, address, 77, progress, limits);
        self.original.runtime.block_on(copying)
    }

    /// Copies it in small chunks.
    fn copy(&self) -> Copied {
        self.copy_in(SMALL).unwrap()
    }

    /// Verifies the copy, which is open.
    fn verify(&self, opened: &Store) {
        let report = opened.runtime.block_on(verified(&self.database));
        assert_eq!(differences(&report), "");
        assert!(report.is_consistent());
    }

    /// Opens the copy.
    fn opened(&self) -> Store {
        Store::in_database(self.database.clone(), Bounds::default())
    }
}

const SMALL: ChunkLimits = ChunkLimits {
    rows: 5,
    bytes: 2_000,
    stop_after: u64::MAX,
};

fn of(topic: u8, id: u8, content: u8) -> Arrival {
    Arrival::Event { topic, id, content }
}

/// Several lives of a stream, of which an earlier one has a gap; events with odd contents, duplicates, conflicts, rejected arrivals, of
/// which one was requeued, and missing sequences.
fn fill(store: &mut Store) {
    const MINUTE: i64 = 60_000_000;
    store.now = 100 * MINUTE;
    store.meet(stream(1, 0));
    store
        .append(&[delivery(1, &[of(0, 1, 0), of(0, 2, 0)])])
        .unwrap();
    store
        .append(&[delivery(2, &[of(0, 1, 0), Arrival::Noise])])
        .unwrap();
    // Message 3 is not applied in this life, 4 to 6 are.
    store.now = 103 * MINUTE;
    let mixed = [of(1, 1, 0), of(2, 1, 0), of(1, 1, 7)];
    store
        .append(&[mixed_delivery(4, &mixed), delivery(6, &[of(1, 2, 0)])])
        .unwrap();
    store.append(&[odd(5)]).unwrap();
    // The stream lost its tail; what is left comes again.
    store.now = 110 * MINUTE;
    store.meet(stream(1, 2));
    let left = [
        delivery(1, &[of(0, 1, 0), of(0, 2, 0)]),
        delivery(2, &[of(0, 1, 0), Arrival::Noise]),
    ];
    assert_eq!(store.append(&left).unwrap().redelivered, 2);
    for sequence in 3..=20_u64 {
        let id = u8::try_from(sequence).unwrap();
        let mut later = delivery(sequence, &[of(3, id, 0), of(0, 1, id), Arrival::Noise]);
        later.time += 100;
        store.append(&[later]).unwrap();
    }
    // Sequences 21 to 24 were lost, 26 is not applied yet.
    store.now = 115 * MINUTE;
    store.meet(stream(25, 24));
    let late = |sequence: u64, id| {
        let mut late = delivery(sequence, &[of(4, id, 0)]);
        late.time += 100;
        late
    };
    store.append(&[late(25, 1)]).unwrap();
    store.append(&[late(27, 2), late(28, 3)]).unwrap();
    let rejected = newest_rejected(store);
    let requeued = store.writer().requeued(rejected, 116 * MINUTE);
    assert!(store.runtime.block_on(requeued).unwrap());
    let seen = store.writer().seen(Review::Rejected, 2);
    store.runtime.block_on(seen).unwrap();
    store.close();
}

/// A message with odd names and contents.
fn odd(sequence: u64) -> Delivery {
    let event = |topic: &str, id: &str, payload: &str| {
        format!(
            r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"2026-01-31t12:00:00.10+01:00","source":"\u0000s","payload":{payload}}}"#
        )
    };
    let long = format!(r#"{{"text":"{}"}}"#, "x\\n\u{1f600}".repeat(20_000));
    delivery_on(
        "events".to_owned(),
        sequence,
        &[
            event(
                "t\\u0000/ä",
                "\\u0000",
                r#"{ "b" : 1.50,"a":"\u0000 \ud83d\ude00 ä" , "n":1e400 }"#,
            ),
            event("\u{6f22}\u{5b57} \\\\ \\\"", "\\t", &long),
            event(&"t".repeat(255), &"i".repeat(255), "{}"),
            r#"{"none":"\u0000"}"#.to_owned(),
        ],
    )
}

fn newest_rejected(store: &Store) -> i64 {
    let page = store
        .reader()
        .rejected(crate::store::query::ReviewQuery::default(), 1, Vec::new());
    store.runtime.block_on(page).unwrap().rows[0].id
}
