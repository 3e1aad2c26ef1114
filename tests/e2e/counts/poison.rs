//! Messages that any NATS client can publish to the stream and that are not valid events: each becomes a row in
//! `rejected`, and the rest of its batch is stored.

use async_nats::jetstream;
use e2e::{
    System,
    event::{array, event, events},
    store::Rejected,
};

async fn put(jetstream: &jetstream::Context, subject: &str, body: impl Into<bytes::Bytes>) {
    let sent = jetstream.publish(subject.to_owned(), body.into()).await;
    sent.unwrap().await.unwrap();
}

fn rejected(reason: &str, subject: &str, position: i64, body: impl Into<Vec<u8>>) -> Rejected {
    Rejected {
        reason: reason.to_owned(),
        subject: subject.to_owned(),
        position,
        body: body.into(),
    }
}

/// A megabyte, the broker's limit for a message, of pseudorandom bytes.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..1024 * 1024).map(next).collect()
}

#[tokio::test]
async fn poison_lands_in_rejected_and_the_rest_of_its_batch_is_stored() {
    // The aggregator's settings would allow one batch for all of it.
    let system = System::with(&["--batch-wait-ms", "1000"]).await;
    let jetstream = system.broker.jetstream().await;
    let (orders, noise) = ("events.orders", noise());
    let stray = event("payments", "stray").json();
    let nameless = r#"{"topic":"orders","event_id":"","timestamp":"now","payload":{}}"#;
    put(&jetstream, orders, array(&events("orders", 0..3))).await;
    put(&jetstream, orders, "{ not json").await;
    put(&jetstream, orders, event("orders", "single").json()).await;
    put(&jetstream, orders, r#"{"level":"info"}"#).await;
    put(&jetstream, orders, stray.clone()).await;
    put(&jetstream, orders, "").await;
    put(&jetstream, orders, noise.clone()).await;
    put(&jetstream, orders, "[]").await;
    put(&jetstream, orders, "null").await;
    put(&jetstream, orders, b"\xff\xfe\x00".as_slice()).await;
    let mixed = format!(
        "[{}, 17, {}, {nameless}, {stray}, {}]",
        event("orders", "id-0").json(),
        event("orders", "mixed-1").json(),
        event("orders", "mixed-2").json()
    );
    put(&jetstream, orders, mixed).await;
    put(&jetstream, orders, array(&events("orders", 2..5))).await;

    let books = system.settled().await;
    assert_eq!(books.stats.rejected, 11);
    assert_eq!(books.counts(), [3 + 1 + 3 + 3 + 11, 3 + 1 + 2 + 2, 2]);
    assert_eq!(books.topics.keys().collect::<Vec<_>>(), ["orders"]);
    let expected = [
        rejected("not_json", orders, 0, "{ not json"),
        rejected("invalid_event", orders, 0, r#"{"level":"info"}"#),
        rejected("wrong_subject", orders, 0, stray.clone()),
        rejected("empty", orders, 0, ""),
        rejected("not_json", orders, 0, noise),
        rejected("not_events", orders, 0, "[]"),
        rejected("not_events", orders, 0, "null"),
        rejected("not_json", orders, 0, b"\xff\xfe\x00"),
        rejected("invalid_event", orders, 1, "17"),
        rejected("invalid_event", orders, 3, nameless),
        rejected("wrong_subject", orders, 4, stray),
    ];
    let found = system.store().rejected();
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            found == expected,
            "{} instead of {} at {}",
            found.reason,
            expected.reason,
            expected.position
        );
    }
    assert_eq!(found.len(), expected.len());
    system.aggregator.healthy().await;
}

#[tokio::test]
async fn a_subject_of_no_topic_is_wrong_for_every_event() {
    let system = System::start().await;
    let jetstream = system.broker.jetstream().await;
    let (body, encoded) = (event("orders", "1").json(), event("a b", "1").json());
    // `%6F` is an o, but each topic has only one subject.
    for subject in ["events.%6Frders", "events.orders.x", "events.%FF"] {
        put(&jetstream, subject, body.clone()).await;
    }
    put(&jetstream, "events.a%20b", encoded).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [4, 1, 0]);
    assert_eq!(books.of("a b"), [1, 1, 0]);
    let found = system.store().rejected();
    assert!(found.iter().all(|row| row.reason == "wrong_subject"));
    assert_eq!(found.len(), 3);
}

#[tokio::test]
async fn poison_sent_again_is_counted_again_and_its_first_row_stays() {
    let system = System::start().await;
    let jetstream = system.broker.jetstream().await;
    for round in 1..=3 {
        put(&jetstream, "events.orders", "poison").await;
        let books = system.settled().await;
        assert_eq!((books.stats.received, books.stats.rejected), (round, round));
        assert!(!system.store().rejected().is_empty());
    }
}

#[tokio::test]
async fn poison_does_not_block_later_messages_and_is_not_delivered_again() {
    let mut system = System::start().await;
    let jetstream = system.broker.jetstream().await;
    for _ in 0..50 {
        put(&jetstream, "events.orders", "poison").await;
    }
    system.api().publish(&events("orders", 0..5)).await;
    assert_eq!(system.settled().await.counts(), [55, 5, 0]);
    system.aggregator.kill();
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    system.api().publish(&events("orders", 0..5)).await;
    assert_eq!(system.settled().await.counts(), [60, 5, 5]);
}
