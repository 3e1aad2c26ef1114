//! `aggregator verify`: it accepts a correct store, running or stopped, and finds what is wrong.

use std::{fs, path::Path};

use async_nats::jetstream;
use e2e::{
    System,
    event::{array, event, events},
    store::Store,
    verification::verify,
    wait::{eventually, holds},
};

/// A copy of a data directory, to be damaged.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

async fn put(jetstream: &jetstream::Context, body: impl Into<bytes::Bytes>) {
    let sent = jetstream.publish("events.orders", body.into()).await;
    sent.unwrap().await.unwrap();
}

const TWICE: &str = "INSERT INTO events SELECT (SELECT max(sequence) + 1 FROM events), topic_id, \
     previous, event_id, timestamp, source, payload, processed_at, incarnation, stream_sequence, \
     position, timestamp_filled FROM events WHERE sequence = 70";

/// A row that no message accounts for.
const REJECTED: &str = "INSERT INTO rejected SELECT 1, 'invalid', '', '', incarnation, 5, 0, 0, x'20', NULL, NULL FROM counters; \
     UPDATE counters SET rejected = 1, received = received + 1, rejected_bytes = 201";

const GAP: &str = "INSERT INTO applied SELECT incarnation, 6, last FROM applied WHERE first = 1; \
     UPDATE applied SET last = 4 WHERE first = 1";

#[tokio::test]
async fn manual_changes_to_a_stopped_store_are_found_with_and_without_the_broker() {
    let mut system = System::start().await;
    let run = system
        .publish(&[
            "generate",
            "--count",
            "5000",
            "--batch",
            "50",
            "--verify",
            system.api().url(),
        ])
        .await;
    run.succeeded();
    let ended = system.aggregator.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let url = system.broker.url();
    let broker = ["--json", "--nats-url", &url];

    let untouched = verify(system.data_dir(), &broker).await;
    untouched.proves();
    assert_eq!(untouched.check("received, from")["found"], 5000);
    assert_eq!(untouched.check("arrivals")["found"], 5000);
    assert_eq!(untouched.check("dedup index")["verdict"], "ok");

    let damages = [
        (
            "DELETE FROM events WHERE sequence = 70",
            "event 70 is missing",
            "is not stored",
        ),
        (
            TWICE,
            "events 70 and 3501 have the same identity",
            "events 70 and 3501 have the same identity",
        ),
        (
            "UPDATE counters SET received = received + 1",
            "received = unique + duplicates + rejected: recorded 5001, found 5000",
            "received, from the messages: recorded 5001, found 5000",
        ),
        (
            "UPDATE counters SET duplicate_dropped = duplicate_dropped + 1, received = received + 1",
            "duplicates, summed over topics: recorded 1501, found 1500",
            "duplicates, counted from the messages: recorded 1501, found 1500",
        ),
        (
            REJECTED,
            "",
            "rejected, counted from the messages: recorded 1, found 0",
        ),
        (
            GAP,
            "is from message 5 of incarnation 1, which is not recorded as applied",
            "message 5 was acked but is not recorded as applied",
        ),
        (
            "UPDATE events SET payload = '{}' WHERE sequence = 70",
            "its events do not match the recorded digest",
            "has a different payload than message",
        ),
    ];
    for (sql, by_rows, by_messages) in damages {
        let copied = copy(system.data_dir());
        Store::of(copied.path()).change(sql);
        let alone = verify(copied.path(), &["--json"]).await;
        if by_rows.is_empty() {
            // Only the messages have it.
            alone.proves();
        } else {
            alone.finds(by_rows);
        }
        verify(copied.path(), &broker).await.finds(by_messages);
    }
    // Only copies were damaged.
    verify(system.data_dir(), &broker).await.proves();
}

#[tokio::test]
async fn a_store_is_verified_while_it_runs_under_load_and_its_stream_is_trimmed() {
    let flags = [
        "--stream-max-bytes",
        "8MiB",
        "--stream-keep-bytes",
        "256KiB",
    ];
    let system = System::with(&flags).await;
    let publisher = system.endless_publisher();
    eventually("the stream is trimmed", async || {
        let jetstream = system.broker.jetstream().await;
        let stream = jetstream
            .get_stream("EVENTS")
            .await
            .map_err(|err| err.to_string())?;
        let state = stream.cached_info().state.clone();
        holds(state.first_sequence > 1, state)
    })
    .await;
    let url = system.broker.url();
    let mut counted = 0;
    for _ in 0..5 {
        let verified = verify(system.data_dir(), &["--json", "--nats-url", &url]).await;
        verified.proves();
        assert_eq!(verified.check("dedup index")["verdict"], "left_out");
        assert_eq!(verified.check("received, from")["verdict"], "left_out");
        let events = verified.check("events")["found"].as_u64().unwrap();
        assert!(events > counted, "it does not go on: {events}");
        counted = events;
    }
    publisher.finished().await.succeeded();
    system.aggregator.healthy().await;
}

#[tokio::test]
async fn a_store_that_was_killed_under_load_is_consistent() {
    let mut system = System::start().await;
    let publisher = system.endless_publisher();
    let url = system.broker.url();
    for round in 1..=3 {
        eventually("events are stored", async || {
            let stats = system.api().stats().await?;
            holds(stats.unique_processed > round * 500, stats)
        })
        .await;
        system.aggregator.kill();
        let verified = verify(system.data_dir(), &["--json", "--nats-url", &url]).await;
        verified.proves();
        assert_eq!(verified.check("dedup index")["verdict"], "ok");
        system.aggregator.start_again().await;
        system.aggregator.healthy().await;
    }
    publisher.finished().await.succeeded();
    let verified = verify(system.data_dir(), &["--json", "--nats-url", &url]).await;
    verified.proves();
    assert_eq!(verified.check("received, from")["verdict"], "ok");
}

#[tokio::test]
async fn rejected_arrivals_and_conflicts_are_verified_even_if_evicted() {
    let flags = [
        "--rejected-keep-bytes",
        "2KiB",
        "--conflicts-keep-bytes",
        "1KiB",
    ];
    let mut system = System::with(&flags).await;
    let jetstream = system.broker.jetstream().await;
    system.api().publish(&events("orders", 0..20)).await;
    for round in 0..20 {
        put(&jetstream, "poison").await;
        let body = format!(
            "[{}, 7, {{}}]",
            event("orders", &format!("mixed-{round}")).json()
        );
        put(&jetstream, body).await;
        let payload = format!(r#"{{"round":{round}}}"#);
        let other = event("orders", "id-0").with_payload(&payload);
        put(&jetstream, array(&[other, event("orders", "id-1")])).await;
    }
    let books = system.settled().await;
    assert_eq!(books.counts(), [20 + 20 + 60 + 40, 40, 40]);
    system.aggregator.stop().await;
    let url = system.broker.url();
    let verified = verify(system.data_dir(), &["--json", "--nats-url", &url]).await;
    verified.proves();
    assert_eq!(verified.check("rejected")["found"], 60);
    assert_eq!(verified.check("conflict")["found"], 20);
    assert_eq!(verified.check("received, from")["found"], 140);
    let kept = system.store().number("SELECT count(*) FROM rejected");
    assert!(0 < kept && kept < 60, "{kept} rows are kept");

    let newest = "SELECT max(id) FROM rejected";
    system.store().change(&format!(
        "UPDATE rejected SET body = x'00' WHERE id = ({newest})"
    ));
    let verified = verify(system.data_dir(), &["--json", "--nats-url", &url]).await;
    verified.finds("does not match message");
}

#[tokio::test]
async fn people_get_a_table_and_invalid_usage_has_its_own_exit_code() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..7)).await;
    system.settled().await;
    system.aggregator.stop().await;
    let verified = verify(system.data_dir(), &[]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    assert!(
        verified.stdout.ends_with("\nconsistent"),
        "{}",
        verified.stdout
    );
    assert!(verified.stderr.is_empty(), "{}", verified.stderr);

    system
        .store()
        .change("DELETE FROM events WHERE sequence = 3");
    let verified = verify(system.data_dir(), &[]).await;
    assert_eq!(verified.code, Some(1), "{}", verified.stderr);
    let line = "differs: event 3 is missing";
    assert!(verified.stdout.contains(line), "{}", verified.stdout);
    assert!(
        verified.stdout.ends_with("\nnot consistent"),
        "{}",
        verified.stdout
    );

    let nowhere = system.data_dir().join("nowhere");
    let verified = verify(&nowhere, &[]).await;
    assert_eq!(verified.code, Some(1));
    assert!(verified.stderr.contains("nowhere"), "{}", verified.stderr);
    assert!(!nowhere.exists());
    for wrong in [&["--nats-url", "a b"][..], &["--no-such-flag"]] {
        assert_eq!(verify(system.data_dir(), wrong).await.code, Some(2));
    }
    let url = system.broker.url();
    system.broker.stop().await;
    let verified = verify(system.data_dir(), &["--nats-url", &url]).await;
    assert_eq!(verified.code, Some(1));
    assert!(
        verified
            .stderr
            .contains("cannot be used: Connection refused"),
        "{}",
        verified.stderr
    );
}

#[tokio::test]
async fn a_store_restored_from_a_backup_lacks_what_was_acked_since_until_it_has_started() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..50)).await;
    system.settled().await;
    let backup = tempfile::tempdir().unwrap();
    let copy = backup.path().join("aggregator.db");
    let ended = system
        .aggregator
        .command(&["backup", copy.to_str().unwrap()])
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    system.api().publish(&events("orders", 30..80)).await;
    system.settled().await;
    system.aggregator.stop().await;

    let url = system.broker.url();
    let broker = ["--json", "--nats-url", &url];
    let alone = verify(backup.path(), &["--json"]).await;
    alone.proves();
    let index = alone.check("dedup index")["notes"].to_string();
    assert!(index.contains("rebuilt"), "{index}");
    verify(backup.path(), &broker)
        .await
        .finds("was acked but is not recorded as applied");

    fs::copy(&copy, system.data_dir().join("aggregator.db")).unwrap();
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [100, 80, 20]);
    verify(system.data_dir(), &broker).await.proves();
    system.aggregator.stop().await;
    let verified = verify(system.data_dir(), &broker).await;
    verified.proves();
    assert_eq!(verified.check("received, from")["found"], 100);
}

#[tokio::test]
async fn a_stream_unknown_to_the_store_is_skipped() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..5)).await;
    system.settled().await;
    system.aggregator.stop().await;
    let jetstream = system.broker.jetstream().await;
    jetstream.delete_stream("EVENTS").await.unwrap();
    let url = system.broker.url();
    let gone = verify(system.data_dir(), &["--nats-url", &url]).await;
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("does not exist"), "{}", gone.stderr);

    let other = tempfile::tempdir().unwrap();
    let mut aggregator = e2e::aggregator::Aggregator::start(&url, other.path(), &[]).await;
    aggregator.healthy().await;
    let verified = verify(system.data_dir(), &["--json", "--nats-url", &url]).await;
    verified.proves();
    assert_eq!(verified.check("arrivals")["verdict"], "left_out");
    aggregator.stop().await;
}
