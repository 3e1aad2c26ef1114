//! Lives of the stream that one aggregator begins while others append.

use super::{Opened, waiting, with_database};
use crate::store::{
    Looked, ObservedStream, StoreError,
    postgres::{connect::Transaction, lives::LOCK_WRITER, upkeep::writers_of},
    tests::{
        arrivals::{delivery, event, stream},
        database::Database,
    },
};

/// A transaction that is as far as an append after its first two statements, as the first writer of an aggregator: with a row of a
/// message of the first life.
async fn open_append(opened: &Opened, sequence: i64) -> Transaction {
    let shared = opened.writer.shared();
    let open = Transaction::begin(&shared.pool).await.unwrap();
    let client = open.client();
    let writer = writers_of(shared.slot)[0];
    client.query_one(LOCK_WRITER, &[&writer]).await.unwrap();
    let insert = "INSERT INTO applied VALUES (1, $1, $1)";
    client.execute(insert, &[&sequence]).await.unwrap();
    open
}

/// Observes a stream that has lost its tail.
async fn meet_another(opened: &Opened) {
    let met = ObservedStream {
        is_other: true,
        ..stream(1, 5).into()
    };
    opened.writer.meet(&met, 0).await.unwrap();
}

fn base_of_the_second_life(database: &Database) -> String {
    database.sql("SELECT base FROM incarnations WHERE epoch = 2")
}

#[test]
fn what_others_apply_while_a_stream_is_compared_is_not_beyond_its_end() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        one.append(&[delivery(1, &event(1))]).await;
        let looked = other.writer.look().await.unwrap();
        assert_eq!(
            looked,
            Looked {
                incarnation: 1,
                highest: 1
            }
        );
        // The stream is observed here: it ends at 1. Then it grows.
        one.append(&[delivery(2, &event(2))]).await;
        let met = |looked| ObservedStream {
            looked: Some(looked),
            ..stream(1, 1).into()
        };
        let position = other.writer.meet(&met(looked), 0).await.unwrap();
        assert_eq!(position.standing.floor, 2, "the life goes on");
        // Now it ends before a message that was applied before.
        let looked = other.writer.look().await.unwrap();
        let position = other.writer.meet(&met(looked), 0).await.unwrap();
        assert_eq!(position.standing.floor, 0, "a new life");
    });
}

#[test]
fn two_aggregators_that_notice_a_lost_tail_begin_one_life() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        one.append(&[delivery(1, &event(1)), delivery(2, &event(2))])
            .await;
        let met = async |opened: &Opened| ObservedStream {
            looked: Some(opened.writer.look().await.unwrap()),
            is_other: true,
            ..stream(1, 5).into()
        };
        let seen = [met(&one).await, met(&other).await];
        let (first, second) =
            tokio::join!(one.writer.meet(&seen[0], 0), other.writer.meet(&seen[1], 0));
        assert_eq!(first.unwrap().standing.floor, 0);
        assert_eq!(second.unwrap().standing.floor, 0);
        assert_eq!(
            database.sql("SELECT count(*), max(epoch) FROM incarnations"),
            "2|2"
        );
    });
}

#[test]
fn an_aggregator_that_does_not_know_of_a_new_life_appends_to_it() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        one.append(&[delivery(1, &event(1)), delivery(2, &event(2))])
            .await;
        let met = ObservedStream {
            is_other: true,
            ..stream(1, 5).into()
        };
        one.writer.meet(&met, 0).await.unwrap();
        // A redelivery of the first life, and a message of the second.
        let mut later = delivery(2, &event(12));
        later.time += 10;
        let done = other.append(&[delivery(1, &event(1)), later]).await;
        assert_eq!(
            (done.unique, done.redelivered, done.epoch_begun),
            (1, 1, true),
            "it compares the stream, too: the aggregator that began the life may have ended"
        );
        let done = other.append(&[delivery(3, &event(3))]).await;
        assert_eq!((done.unique, done.epoch_begun), (1, false));
        let places = database.sql("SELECT count(DISTINCT place), count(*) FROM events");
        assert_eq!(places, "4|4");
        let lives = "SELECT incarnation, count(*) FROM applied GROUP BY incarnation ORDER BY 1";
        assert_eq!(database.sql(lives).replace('\n', " "), "1|2 2|3");
    });
}

#[test]
fn a_new_life_waits_for_the_appends_of_the_one_before() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        one.append(&[delivery(1, &event(1))]).await;
        let open = open_append(&other, 2).await;
        let end = async {
            waiting(&database, 1).await;
            open.commit().await.unwrap();
        };
        tokio::join!(meet_another(&one), end);
        // Its base is beyond the message of the append that it waited for.
        assert_eq!(base_of_the_second_life(&database), "3");
    });
}

#[test]
fn an_append_waits_for_a_new_life_that_begins() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        one.append(&[delivery(1, &event(1))]).await;
        // The new life waits for this one, and has the locks of the writers before it.
        let open = open_append(&other, 2).await;
        let batch = [delivery(3, &event(3))];
        let append = async {
            waiting(&database, 1).await;
            one.append(&batch).await
        };
        let end = async {
            waiting(&database, 2).await;
            open.commit().await.unwrap();
        };
        let ((), done, ()) = tokio::join!(meet_another(&other), append, end);
        assert_eq!((done.unique, done.epoch_begun), (1, true));
        assert_eq!(base_of_the_second_life(&database), "3");
        let applied = "SELECT sequence FROM applied WHERE incarnation = 2";
        assert_eq!(database.sql(applied), "3");
    });
}

#[test]
fn an_aggregator_that_opens_the_store_while_a_new_life_begins_waits_for_it() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let open = open_append(&one, 1).await;
        let opening = async {
            waiting(&database, 1).await;
            Opened::at(&database.url()).await
        };
        let end = async {
            waiting(&database, 2).await;
            open.commit().await.unwrap();
        };
        let ((), other, ()) = tokio::join!(meet_another(&one), opening, end);
        // It knows only the new life.
        assert_eq!(other.writer.look().await.unwrap().incarnation, 2);
        assert_eq!(other.append(&[delivery(2, &event(2))]).await.unique, 1);
        assert_eq!(base_of_the_second_life(&database), "2");
    });
}

#[test]
fn an_aggregator_that_has_read_of_a_new_life_compares_the_stream_with_its_first_batch() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        one.append(&[delivery(1, &event(1))]).await;
        let met = ObservedStream {
            is_other: true,
            ..stream(1, 5).into()
        };
        one.writer.meet(&met, 0).await.unwrap();
        // Its upkeep reads the lives all the time.
        other.pass().await;
        let mut later = delivery(1, &event(2));
        later.time += 10;
        assert!(other.append(&[later]).await.epoch_begun);
        let done = one.append(&[delivery(2, &event(3))]).await;
        assert!(!done.epoch_begun, "it has compared it");
    });
}

#[test]
fn a_batch_of_a_stream_that_was_created_again_ends_the_session() {
    with_database(async |database| {
        let one = Opened::with_stream(&database, 0).await;
        let other = Opened::with_stream(&database, 0).await;
        let met = async |name: &str, created| {
            let mut met = stream(1, 0);
            met.name = name.to_owned();
            met.created += created;
            one.writer.meet(&met.into(), 0).await.unwrap();
        };
        let batch = [delivery(1, &event(1))];
        met(&stream(1, 0).name, 1).await;
        let err = other.writer.append(&batch, 1).await.unwrap_err();
        assert!(matches!(err, StoreError::Superseded), "{err}");
        met("OTHER", 0).await;
        let err = other.writer.append(&batch, 1).await.unwrap_err();
        assert!(err.to_string().contains("--stream"), "{err}");
        assert_eq!(database.sql("SELECT count(*) FROM applied"), "0");
    });
}

#[test]
fn messages_in_hand_while_the_stream_loses_them_are_applied_once_and_are_not_missing() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        opened.append(&[delivery(1, &event(1))]).await;
        let met = opened.writer.meet(&stream(6, 5).into(), 0).await.unwrap();
        assert_eq!((met.standing.floor, met.missing), (5, 4));
        // One with an identity that is stored, and a new one.
        let in_hand = [delivery(3, &event(1)), delivery(4, &event(2))];
        let done = opened.append(&in_hand).await;
        assert_eq!(
            (
                done.unique,
                done.duplicates,
                done.redelivered,
                done.epoch_begun
            ),
            (1, 1, 0, false)
        );
        assert_eq!(opened.append(&in_hand).await.redelivered, 2);
        opened.append(&[delivery(6, &event(3))]).await;
        opened.pass().await;
        assert_eq!(opened.append(&in_hand).await.redelivered, 2, "folded");
        let missing = "SELECT string_agg(first || '-' || last, ' ' ORDER BY first) FROM missing";
        assert_eq!(database.sql(missing), "2-2 5-5");
        assert_eq!(opened.reader.stats(9).await.unwrap().received, 4);
    });
}
