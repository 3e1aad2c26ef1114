//! A COMMIT whose answer is lost: the batch counts once, whether it took effect or not.

use super::{
    Opened,
    proxy::{Fault, Proxy},
    waiting, with_database,
};
use crate::store::{
    Appended,
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
    });
}

#[test]
fn a_batch_whose_first_commit_is_still_under_way_waits_for_it() {
    with_database(async |database| {
        let proxy = Proxy::before(&database).await;
        let opened = Opened::at(&database.url_through(proxy.port)).await;
        opened.writer.meet(&stream(1, 0).into(), 0).await.unwrap();
        opened.append(&[delivery(1, &event(1))]).await;
        // The first attempt cannot go on to its COMMIT while another transaction has the row of its counters.
        let blocker = Opened::at(&database.url()).await;
        let held =
            crate::store::postgres::connect::Transaction::begin(&blocker.writer.shared().pool);
        let held = held.await.unwrap();
        let lock = "UPDATE counters SET received = received";
        held.client().batch_execute(lock).await.unwrap();
        proxy.fail_next(Fault::Meanwhile);
        let batch = [delivery(2, &event(2))];
        let append = opened.append(&batch);
        let release = async {
            // Both wait: the first attempt for the counters, the second one for the first.
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
