//! Several aggregators that append at once.

use std::sync::Arc;

use super::{Opened, with_database};
use crate::store::{
    Appended,
    query::Order::{NewestFirst, OldestFirst},
    tests::{
        arrivals::{Arrival, delivery, event, mixed_delivery},
        database::Database,
        model::{self, Model},
    },
};

/// Identities of the topics `t0` to `t3`.
const IDENTITIES: u8 = 200;

fn identities(content: u8, is_reversed: bool) -> Vec<Arrival> {
    let mut arrivals: Vec<_> = (0..IDENTITIES)
        .map(|id| Arrival::Event {
            topic: id % 4,
            id,
            content,
        })
        .collect();
    if is_reversed {
        arrivals.reverse();
    }
    arrivals
}

/// Compares the digest of each topic with that of its rows.
async fn check_digests(opened: &Opened) {
    let shared = opened.writer.shared();
    let client = shared.pool.get().await.unwrap();
    let stored = client
        .query(
            "SELECT topic, (sum(digest) % 340282366920938463463374607431768211456)::text, sum(unique_processed)::bigint FROM topics GROUP BY topic",
            &[],
        )
        .await
        .unwrap();
    for row in stored {
        let topic: Vec<u8> = row.get(0);
        let rows = client
            .query(
                "SELECT fingerprint, content FROM events WHERE topic = $1",
                &[&topic],
            )
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(2), i64::try_from(rows.len()).unwrap());
        let mut digest = crate::store::digest::Digest::default();
        for row in rows {
            let identity: Vec<u8> = row.get(0);
            let content: i64 = row.get(1);
            let fingerprint = crate::store::fingerprint::Fingerprint {
                identity: u128::from_be_bytes(identity.try_into().unwrap()),
                content: u64::from_ne_bytes(content.to_ne_bytes()),
            };
            digest.add(&shared.key, fingerprint);
        }
        let digest = u128::from_le_bytes(digest.to_bytes());
        assert_eq!(row.get::<_, String>(1), digest.to_string());
    }
}

/// Appends messages with the same identities from several aggregators at once, in reversed orders.
async fn compete(database: Arc<Database>, aggregators: u64, messages: u64) {
    let first = Opened::with_stream(&database, 0).await;
    let mut tasks = Vec::new();
    let mut all_opened = Vec::new();
    for _ in 0..aggregators {
        all_opened.push(Opened::with_stream(&database, 0).await);
    }
    for (number, opened) in (0..).zip(all_opened) {
        tasks.push(tokio::spawn(async move {
            let mut sum = Appended::default();
            for message in 0..messages {
                let sequence = message * aggregators + number + 1;
                // All write new content from time to time, so that each wins some.
                let content = u8::try_from(message % 3).unwrap();
                let is_reversed = (number + message) % 2 == 1;
                let delivery = mixed_delivery(sequence, &identities(content, is_reversed));
                let done = opened.append(&[delivery]).await;
                sum.unique += done.unique;
                sum.duplicates += done.duplicates;
                sum.conflicts += done.conflicts;
            }
            sum
        }));
    }
    let mut sum = Appended::default();
    for task in tasks {
        let done = task.await.unwrap();
        sum.unique += done.unique;
        sum.duplicates += done.duplicates;
        sum.conflicts += done.conflicts;
    }
    let all = aggregators * messages * u64::from(IDENTITIES);
    assert_eq!(sum.unique, u64::from(IDENTITIES));
    assert_eq!(sum.unique + sum.duplicates, all);
    first.pass().await;
    let stats = first.reader.stats(9).await.unwrap();
    assert_eq!(stats.received, all);
    assert_eq!(
        (
            stats.unique_processed,
            stats.duplicate_dropped,
            stats.conflicts
        ),
        (sum.unique, sum.duplicates, sum.conflicts)
    );
    assert_eq!(stats.redelivered, 0);
    assert_eq!(stats.applied.floor(), aggregators * messages);
    check_digests(&first).await;
}

#[test]
fn the_same_identities_from_two_aggregators_in_reversed_orders_are_stored_once() {
    with_database(|database| compete(database, 2, 20));
}

#[test]
fn the_same_identities_from_five_aggregators_are_stored_once() {
    with_database(|database| compete(database, 5, 8));
}

#[test]
fn messages_that_several_aggregators_receive_are_applied_once() {
    with_database(async |database| {
        let mut tasks = Vec::new();
        let three = [
            Opened::with_stream(&database, 0).await,
            Opened::with_stream(&database, 0).await,
            Opened::with_stream(&database, 0).await,
        ];
        for (number, opened) in (0_u64..).zip(three) {
            tasks.push(tokio::spawn(async move {
                for round in 0..20_u64 {
                    // Overlapping batches, in different orders.
                    let mut batch: Vec<_> = (0..6)
                        .map(|message| round * 4 + message + 1)
                        .map(|n| delivery(n, &event(u8::try_from(n).unwrap())))
                        .collect();
                    batch.rotate_left(usize::try_from(number).unwrap());
                    opened.append(&batch).await;
                    if (round + number) % 5 == 0 {
                        opened.pass().await;
                    }
                }
                opened
            }));
        }
        let mut opened = Vec::new();
        for task in tasks {
            opened.push(task.await.unwrap());
        }
        opened[0].pass().await;
        let stats = opened[1].reader.stats(9).await.unwrap();
        let messages = 19 * 4 + 6;
        assert_eq!(
            (stats.received, stats.unique_processed),
            (messages, messages)
        );
        assert_eq!(stats.redelivered, 3 * 20 * 6 - messages);
        assert_eq!(stats.applied.floor(), messages);
    });
}

#[test]
fn two_aggregators_that_append_in_turns_match_the_model() {
    let Some(database) = Database::new() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_writer, reader, model) = runtime.block_on(async {
        let opened = [
            Opened::with_stream(&database, 0).await,
            Opened::with_stream(&database, 0).await,
        ];
        let mut model = Model::default();
        for sequence in 1..=60_u64 {
            let number = u8::try_from(sequence).unwrap();
            let arrivals: Vec<_> = (0..4)
                .map(|n| match (number % 11 * 7 + n * 5) % 11 {
                    0 => Arrival::Noise,
                    id => Arrival::Event {
                        topic: n % 2,
                        id,
                        content: number % 3,
                    },
                })
                .collect();
            // Each third message comes to both.
            let last = if sequence % 3 == 0 { 2 } else { 1 };
            for turn in 0..last {
                let by = &opened[usize::from(number + turn) % 2];
                by.append(&[mixed_delivery(sequence, &arrivals)]).await;
                model.append_on(sequence, &arrivals, true);
            }
            if sequence % 10 == 0 {
                opened[0].pass().await;
            }
        }
        let [one, other] = opened;
        other.pass().await;
        drop(one);
        (other.writer, other.reader, model)
    });
    let reader = crate::store::Reader::Postgres(reader);
    model::check(&runtime, &reader, &model);
}

#[test]
fn ascending_pages_end_before_a_message_that_another_aggregator_has_in_hand() {
    with_database(async |database| {
        let [one, other] = [
            Opened::with_stream(&database, 0).await,
            Opened::with_stream(&database, 0).await,
        ];
        one.append(&[delivery(1, &event(1)), delivery(3, &event(3))])
            .await;
        one.pass().await;
        let ids = async |order| {
            let query = crate::store::query::EventQuery {
                order,
                ..Default::default()
            };
            let bounds = crate::store::query::PageBounds {
                from: None,
                after: 0,
                last: i64::MAX,
                limit: 9,
            };
            let page = one.reader.events(&query, bounds, Vec::new()).await.unwrap();
            let ids: Vec<_> = page
                .events
                .into_iter()
                .map(|event| event.event_id)
                .collect();
            ids.join(" ")
        };
        assert_eq!(
            (ids(OldestFirst).await, ids(NewestFirst).await),
            ("1".to_owned(), "3 1".to_owned())
        );
        other.append(&[delivery(2, &event(2))]).await;
        other.pass().await;
        one.pass().await;
        assert_eq!(ids(OldestFirst).await, "1 2 3");
    });
}
