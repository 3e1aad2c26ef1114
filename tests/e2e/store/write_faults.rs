//! Writes that fail at BEGIN, in the middle and at COMMIT: nothing is lost, nothing is counted twice, and the
//! aggregator recovers by itself.

use e2e::{
    System,
    event::{Event, event, events},
    wait::{eventually, holds},
};

/// Published before, during and after the fault, with duplicates across all three.
struct Traffic {
    before: Vec<Event>,
    during: Vec<Event>,
    after: Vec<Event>,
}

impl Traffic {
    fn new() -> Self {
        let mut during = events("orders", 5..30);
        during.push(event("orders", "the-victim"));
        during.extend(events("payments", 0..10));
        Self {
            before: events("orders", 0..10),
            during,
            after: events("orders", 20..40),
        }
    }
}

/// Runs the traffic around a fault that `begin` injects and `end` removes.
async fn survives<T>(begin: impl FnOnce(&System) -> T, end: impl FnOnce(&System, T)) {
    let system = System::start().await;
    let traffic = Traffic::new();
    system.api().publish(&traffic.before).await;
    let before = system.settled().await;
    assert_eq!(before.counts(), [10, 10, 0]);

    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let applied = stream.get_info().await.unwrap().state.last_sequence;
    let acked = async || {
        let durable = stream.consumer_info("aggregator").await;
        durable.unwrap().ack_floor.stream_sequence
    };

    let fault = begin(&system);
    system.api().publish(&traffic.during).await;
    let health = system.aggregator.unhealthy().await;
    assert!(health["checks"]["store"].is_string(), "{health}");
    // Accepted, because it is in the stream; none of it is counted.
    system.api().publish(&traffic.during).await;
    let meanwhile = system.api().stats().await.unwrap();
    assert!(meanwhile.pending > Some(0), "{meanwhile:?}");
    assert_eq!(meanwhile.received, before.stats.received);
    assert_eq!(system.api().topics().await, before.topics);
    assert!(acked().await <= applied, "an ack follows COMMIT");

    end(&system, fault);
    let books = system.settled().await;
    assert_eq!(books.counts(), [10 + 2 * 36, 41, 5 + 36]);
    assert_eq!(books.of("orders"), [10 + 2 * 26, 31, 5 + 26]);
    assert_eq!(books.of("payments"), [20, 10, 10]);
    system.aggregator.healthy().await;

    system.api().publish(&traffic.after).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [82 + 20, 51, 41 + 10]);
    assert_eq!(books.stats.conflicts, 0);
    assert_eq!(system.store().number("SELECT count(*) FROM events"), 51);
    let last = stream.get_info().await.unwrap().state.last_sequence;
    eventually("everything is acked", async || {
        let acked = acked().await;
        holds(acked == last, acked)
    })
    .await;
}

#[tokio::test]
async fn a_write_that_fails_at_begin_loses_nothing_and_counts_nothing_twice() {
    // The lock is held until the failure is reported, which is longer than the writer waits for it.
    survives(|system| system.store().lock(), |_, lock| drop(lock)).await;
}

#[tokio::test]
async fn a_write_that_fails_in_the_middle_loses_nothing_and_counts_nothing_twice() {
    let fails = "CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.event_id = 'the-victim' \
                 BEGIN SELECT RAISE(ABORT, 'on purpose'); END";
    survives(
        |system| system.store().change(fails),
        |system, ()| system.store().change("DROP TRIGGER fault"),
    )
    .await;
}

#[tokio::test]
async fn a_write_that_fails_at_commit_loses_nothing_and_counts_nothing_twice() {
    // The reference is checked at COMMIT, and its target does not exist.
    let fails = "CREATE TABLE fault_target (id INTEGER PRIMARY KEY); \
                 CREATE TABLE fault_row (target INTEGER NOT NULL \
                     REFERENCES fault_target (id) DEFERRABLE INITIALLY DEFERRED); \
                 CREATE TRIGGER fault AFTER INSERT ON events WHEN NEW.event_id = 'the-victim' \
                     BEGIN INSERT INTO fault_row (target) VALUES (1); END";
    survives(
        |system| system.store().change(fails),
        |system, ()| {
            let rows = system.store().number("SELECT count(*) FROM fault_row");
            assert_eq!(rows, 0, "the COMMIT failed");
            system.store().change("DROP TRIGGER fault");
        },
    )
    .await;
}

#[tokio::test]
async fn a_kill_while_writes_fail_loses_nothing_and_counts_nothing_twice() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    system.settled().await;
    let lock = system.store().lock();
    system.api().publish(&events("orders", 5..25)).await;
    system.aggregator.unhealthy().await;
    system.aggregator.kill();
    drop(lock);
    system.aggregator.start_again().await;
    assert_eq!(system.settled().await.counts(), [30, 25, 5]);
}
