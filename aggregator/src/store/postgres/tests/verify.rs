//! Verification: a store that several aggregators wrote is consistent, also while they write; each kind of damage is found and named.

use super::{Address, Opened, with_database};
use crate::store::{
    Delivery, StoreError,
    postgres::verify::{Retained, verify},
    tests::{
        arrivals::{Arrival, mixed_delivery, stream},
        database::Database,
    },
    verify::{Check, Progress, Report, Verdict},
};

struct NoProgress;

impl Progress for NoProgress {
    fn begins(&self, _: &'static str) {}

    fn at(&self, _: &'static str, _: u64, _: u64) {}
}

fn event(topic: u8, id: u8, content: u8) -> Arrival {
    Arrival::Event { topic, id, content }
}

async fn try_verified(database: &Database) -> Result<Report, StoreError> {
    let address: Address = database.url().parse().unwrap();
    verify(&address, &NoProgress).await
}

pub async fn verified(database: &Database) -> Report {
    try_verified(database).await.unwrap()
}

pub fn differences(report: &Report) -> String {
    let named: Vec<_> = report
        .checks
        .iter()
        .flat_map(|check| check.named.iter().map(String::as_str))
        .collect();
    named.join("\n")
}

fn check<'a>(report: &'a Report, name: &str) -> &'a Check {
    let mut checks = report.checks.iter();
    let found = checks.find(|check| check.name.starts_with(name));
    found.unwrap_or_else(|| panic!("there is no check {name}"))
}

/// The messages that are applied in the tests.
pub fn messages() -> [Delivery; 4] {
    [
        mixed_delivery(1, &[event(0, 1, 0), event(1, 2, 0)]),
        mixed_delivery(2, &[event(0, 3, 0), event(0, 1, 9), Arrival::Noise]),
        mixed_delivery(3, &[event(2, 4, 0), event(0, 1, 0), Arrival::Noise]),
        mixed_delivery(5, &[event(3, 5, 0), event(0, 6, 0)]),
    ]
}

/// Two aggregators have appended messages with events, a duplicate, a conflict and rejected arrivals; message 4 is not applied yet.
pub(super) async fn filled(database: &Database) -> [Opened; 2] {
    let [one, other] = [
        Opened::with_stream(database, 0).await,
        Opened::with_stream(database, 0).await,
    ];
    let [first, second, third, fifth] = messages();
    one.append(&[first]).await;
    other.append(&[second, third]).await;
    one.append(&[fifth]).await;
    one.pass().await;
    assert_eq!(one.writer.standing().floor, 3);
    [one, other]
}

#[test]
fn a_store_that_two_aggregators_wrote_is_consistent() {
    with_database(async |database| {
        let mut opened = Some(filled(&database).await);
        // While they have it open, and afterwards.
        for _ in 0..2 {
            let report = verified(&database).await;
            assert_eq!(differences(&report), "");
            for check in &report.checks {
                assert_eq!(check.verdict, Verdict::Ok, "{check:?}");
                assert_eq!(check.expected, check.found, "{check:?}");
            }
            let found = |name| check(&report, name).found;
            assert_eq!(found("received ="), Some(10));
            assert_eq!(found("duplicates"), Some(2));
            assert_eq!(found("rejected"), Some(2));
            assert_eq!(found("conflict"), Some(1));
            assert_eq!(found("topics whose digest"), Some(4));
            assert_eq!(found("events"), Some(6));
            assert_eq!(found("identities"), Some(6));
            let notes = check(&report, "applied").notes.join(" ");
            assert!(notes.contains("4 to 4"), "{notes}");
            drop(opened.take());
        }
    });
}

#[test]
fn an_empty_store_is_consistent_and_a_database_without_one_is_refused() {
    with_database(async |database| {
        let err = try_verified(&database).await.unwrap_err().to_string();
        assert!(err.contains("no store in it"), "{err}");
        drop(Opened::at(&database.url()).await);
        let report = verified(&database).await;
        assert_eq!(differences(&report), "");
        database.sql("UPDATE schema_version SET version = 99");
        let err = try_verified(&database).await.unwrap_err();
        assert!(matches!(err, StoreError::Newer { found: 99, .. }), "{err}");
        database.sql("UPDATE schema_version SET version = 0");
        assert!(try_verified(&database).await.is_err());
    });
}

#[test]
fn without_the_index_of_identities_they_are_not_counted() {
    with_database(async |database| {
        drop(filled(&database).await);
        database.sql("ALTER TABLE events DROP CONSTRAINT events_pkey");
        let report = verified(&database).await;
        let found = differences(&report);
        assert_eq!(
            found,
            "events has no valid primary key; it must be fingerprint"
        );
        assert_eq!(check(&report, "identities").verdict, Verdict::LeftOut);
    });
}

/// Counts an event as an aggregator would, while identities are compared.
struct Counts<'a>(&'a Database);

impl Progress for Counts<'_> {
    fn begins(&self, _: &'static str) {}

    fn at(&self, part: &'static str, _: u64, _: u64) {
        if part == "identities compared" {
            self.0.sql(
                "UPDATE counters SET unique_processed = unique_processed + 1 WHERE writer = 0",
            );
        }
    }
}

#[test]
fn while_events_are_stored_the_index_of_identities_is_not_proven_to_be_complete() {
    with_database(async |database| {
        drop(filled(&database).await);
        let notes = |report: &Report| check(report, "identities").notes.join(" ");
        assert_eq!(notes(&verified(&database).await), "");
        let address: Address = database.url().parse().unwrap();
        let report = verify(&address, &Counts(&database)).await.unwrap();
        assert_eq!(differences(&report), "");
        assert!(notes(&report).contains("not proven"));
    });
}

/// The messages that a task appends in the test below.
const MESSAGES: u64 = 60;

#[test]
fn it_is_exact_while_several_aggregators_write() {
    with_database(async |database| {
        let mut tasks = Vec::new();
        for number in 0..3_u64 {
            let opened = Opened::with_stream(&database, 0).await;
            tasks.push(tokio::spawn(async move {
                for message in 0..MESSAGES {
                    let arrivals: Vec<_> = (0..20_u8)
                        .map(|n| match n {
                            0 => Arrival::Noise,
                            n => event(n % 5, n, u8::try_from(message / 9).unwrap()),
                        })
                        .chain((0..5).map(|n| {
                            let id = u8::try_from(message).unwrap() + 100;
                            event(n, id, u8::try_from(number % 2).unwrap())
                        }))
                        .collect();
                    let sequence = message * 3 + number + 1;
                    opened.append(&[mixed_delivery(sequence, &arrivals)]).await;
                    if message % 4 == number {
                        opened.pass().await;
                    }
                }
            }));
        }
        let mut verifications = 0;
        while verifications < 2 || tasks.iter().any(|task| !task.is_finished()) {
            let report = verified(&database).await;
            assert_eq!(differences(&report), "");
            verifications += 1;
        }
        for task in tasks {
            task.await.unwrap();
        }
        let report = verified(&database).await;
        assert_eq!(differences(&report), "");
        let received = 3 * MESSAGES * 25;
        let check = report
            .checks
            .iter()
            .find(|c| c.name.starts_with("received"));
        assert_eq!(check.unwrap().found, Some(received));
    });
}

/// Compares messages with the store, in windows of two.
pub async fn compared(database: &Database, messages: &[Delivery], acked: u64) -> Report {
    let address: Address = database.url().parse().unwrap();
    let mut retained = Retained::begin(&address, &stream(1, 5)).await.unwrap();
    assert_eq!(
        retained.store_id(),
        database.sql("SELECT store_id FROM store")
    );
    retained.acked(acked);
    assert_eq!(retained.last(), Some(5.max(acked)));
    for window in messages.chunks(2) {
        retained.take(window).await.unwrap();
    }
    let mut report = Report::default();
    retained.finish(None, &mut report);
    report
}

#[test]
fn each_arrival_of_the_retained_messages_is_in_the_store() {
    with_database(async |database| {
        let opened = filled(&database).await;
        // Message 4 waits; without it, nothing can be recounted.
        let report = compared(&database, &messages(), 3).await;
        assert_eq!(differences(&report), "");
        assert_eq!(check(&report, "arrivals").found, Some(10));
        assert_eq!(check(&report, "events, each").found, Some(6));
        assert_eq!(check(&report, "received").verdict, Verdict::LeftOut);
        let [first, second, third, fifth] = messages();
        let fourth = mixed_delivery(4, &[event(0, 1, 9), Arrival::Noise]);
        let all = [first, second, third, fourth.clone(), fifth];
        let report = compared(&database, &all, 3).await;
        assert_eq!(differences(&report), "");
        let notes = check(&report, "arrivals").notes.join(" ");
        assert!(notes.contains("1 messages before the latest"), "{notes}");
        assert_eq!(check(&report, "received").found, Some(10));
        // It was acked, but is not applied.
        let report = compared(&database, &all, 4).await;
        let found = differences(&report);
        assert!(found.contains("message 4 was acked but is not"), "{found}");
        opened[1].append(&[fourth]).await;
        let report = compared(&database, &all, 5).await;
        assert_eq!(differences(&report), "");
        assert_eq!(check(&report, "received").found, Some(12));
        let another = crate::store::tests::arrivals::stream(1, 5);
        let another = shared::stream::StreamState {
            created: 2,
            ..another
        };
        let address: Address = database.url().parse().unwrap();
        let retained = Retained::begin(&address, &another).await.unwrap();
        assert_eq!(retained.last(), None);
    });
}
