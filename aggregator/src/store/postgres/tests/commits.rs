//! A COMMIT whose answer is lost: the batch counts once, whether it took effect or not.

use std::time::Duration;

use super::{
    Opened,
    proxy::{Fault, Proxy},
    waiting, with_database,
};
use crate::store::{
    Appended,
    postgres::{DatabaseError, connect::limited},
    tests::arrivals::{delivery, event, stream},
};

const ONE: Appended = Appended {
    unique: 1,
    duplicates: 0,
    conflicts: 0,
    rejected: 0,
    redelivered: 0,
    epoch_begun: false,
};

#[test]
fn a_batch_counts_once_if_the_answer_to_its_commit_is_lost() {
    with_database(async |database| {
        let proxy = Proxy::before(&database).await;
        let opened = Opened::at(&database.url_through(proxy.port)).await;
        opened.writer.meet(&stream(1, 0).into(), 0).await.unwrap();
        for (sequence, fault) in (1..).zip([
            Fault::None,
            Fault::Before,
            Fault::After,
            Fault::After,
            Fault::Before,
        ]) {
            proxy.fail_next(fault);
            let batch = [delivery(sequence, &event(u8::try_from(sequence).unwrap()))];
            assert_eq!(opened.append(&batch).await, ONE, "{fault:?}");
            assert!(proxy.has_failed());
        }
        let stats = opened.reader.stats(9).await.unwrap();
        assert_eq!(
            (stats.received, stats.unique_processed, stats.redelivered),
            (5, 5, 0)
        );
        let unknown = opened.reader.failures();
        assert!(unknown.contains(&("commit_unknown", 4)), "{unknown:?}");
    });
}

#[test]
fn a_batch_whose_first_commit_is_still_under_way_waits_for_it() {
    with_database(async |database| {
        let proxy = Proxy::before(&database).await;
        let opened = Opened::at(&database.url_through(proxy.port)).await;
        opened.writer.meet(&stream(1, 0).into(), 0).await.unwrap();
        opened.append(&[delivery(1, &event(1))]).await;
        // The first attempt cannot go on to its COMMIT while another transaction has the rows of its topics.
        let blocker = Opened::at(&database.url()).await;
        let held =
            crate::store::postgres::connect::Transaction::begin(&blocker.writer.shared().pool);
        let held = held.await.unwrap();
        let lock = "UPDATE topics SET last_at = last_at";
        held.client().batch_execute(lock).await.unwrap();
        proxy.fail_next(Fault::Meanwhile);
        let batch = [delivery(2, &event(2))];
        let append = opened.append(&batch);
        let release = async {
            // Both wait: the first attempt for the topics, the second one for the first.
            waiting(&database, 2).await;
            held.roll_back().await.unwrap();
        };
        let (done, ()) = tokio::join!(append, release);
        assert_eq!(done, ONE);
        let stats = opened.reader.stats(9).await.unwrap();
        assert_eq!((stats.received, stats.redelivered), (2, 0));
    });
}

#[test]
fn a_connection_that_the_server_ends_is_replaced() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        for sequence in 1..=5 {
            let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
            database.sql(others);
            let batch = [delivery(sequence, &event(u8::try_from(sequence).unwrap()))];
            assert_eq!(opened.append(&batch).await, ONE);
        }
        assert_eq!(opened.reader.stats(9).await.unwrap().received, 5);
    });
}

#[test]
fn nothing_is_written_outside_of_a_transaction_that_the_server_did_not_begin() {
    with_database(async |database| {
        let proxy = Proxy::before(&database).await;
        let opened = Opened::at(&database.url_through(proxy.port)).await;
        opened.writer.meet(&stream(1, 0).into(), 0).await.unwrap();
        proxy.fail_next(Fault::Begin);
        assert_eq!(opened.append(&[delivery(1, &event(1))]).await, ONE);
        assert!(proxy.has_failed());
        let stats = opened.reader.stats(9).await.unwrap();
        assert_eq!((stats.unique_processed, stats.redelivered), (1, 0));
    });
}

#[test]
fn a_batch_that_had_committed_is_acked_after_a_later_commit_with_changes() {
    with_database(async |database| {
        let proxy = Proxy::before(&database).await;
        let opened = Opened::at(&database.url_through(proxy.port)).await;
        opened.writer.meet(&stream(1, 0).into(), 0).await.unwrap();
        let is_later =
            "SELECT bool_or(c.xmin::text::bigint > e.xmin::text::bigint) FROM counters c, events e";
        for (sequence, fault, expected) in [(1, Fault::None, "f"), (2, Fault::After, "t")] {
            database.sql("DELETE FROM events");
            proxy.fail_next(fault);
            let batch = [delivery(sequence, &event(u8::try_from(sequence).unwrap()))];
            assert_eq!(opened.append(&batch).await, ONE);
            // A standby that has the later transaction has the batch, too.
            assert_eq!(database.sql(is_later), expected, "{fault:?}");
        }
    });
}

#[test]
fn a_connection_on_which_an_answer_does_not_come_is_closed() {
    with_database(async |database| {
        let opened = Opened::with_stream(&database, 0).await;
        let pool = &opened.writer.shared().pool;
        let size = pool.size();
        let waiting = limited(Duration::from_millis(100), async {
            let client = pool.get().await?;
            client.batch_execute("SELECT pg_sleep(600)").await?;
            Ok::<_, DatabaseError>(())
        });
        let err = waiting.await.unwrap_err();
        assert!(matches!(err, DatabaseError::Silent(_)), "{err}");
        assert_eq!(pool.size(), size - 1);
        let done = limited(Duration::from_secs(60), async {
            let client = pool.get().await?;
            client.batch_execute("SELECT 1").await?;
            Ok::<_, DatabaseError>(())
        });
        done.await.unwrap();
        assert_eq!(pool.size(), size, "it returns to the pool");
    });
}
