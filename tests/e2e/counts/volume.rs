//! 20,000 events of which 30 % are duplicates, counted exactly.

use std::time::Duration;

use e2e::{System, event::event};

const EVENTS: usize = 20_000;
const UNIQUE: usize = 14_000;
const TOPICS: usize = 7;

/// More than this takes on a slow machine.
const DEADLINE: Duration = Duration::from_mins(3);

#[tokio::test]
async fn twenty_thousand_events_by_http_are_counted_exactly() {
    let system = System::start().await;
    // The first 14,000 are new; the others repeat some of them, in another order.
    let identity = |number: usize| {
        if number < UNIQUE {
            number
        } else {
            (number * 7_919) % UNIQUE
        }
    };
    let all: Vec<_> = (0..EVENTS)
        // A stride coprime to the number of events, so that duplicates arrive before and after their originals.
        .map(|number| identity(number * 7_001 % EVENTS))
        .map(|id| event(&format!("topic.{}", id % TOPICS), &format!("id-{id}")))
        .collect();
    for request in all.chunks(1_000) {
        system.api().publish(request).await;
    }
    let books = system.api().settled_within(DEADLINE).await;
    assert_eq!(books.counts(), [20_000, 14_000, 6_000]);
    assert_eq!(books.stats.conflicts, 0);
    assert_eq!(books.topics.len(), TOPICS);
    for topic in 0..TOPICS {
        let name = format!("topic.{topic}");
        let received = all.iter().filter(|event| event.topic == name).count() as u64;
        assert_eq!(books.of(&name), [received, 2_000, received - 2_000]);
    }
}

#[tokio::test]
async fn twenty_thousand_events_by_the_publisher_are_counted_exactly() {
    let system = System::start().await;
    let generate = ["generate", "--verify", system.api().url()];
    let run = system.publish(&generate).await;
    run.succeeded();
    assert_eq!(
        ["sent", "unique", "duplicates"].map(|name| run.count(name)),
        [20_000, 14_000, 6_000]
    );
    assert_eq!(run.verified(), [20_000, 14_000, 6_000]);
    let books = system.settled().await;
    assert_eq!(books.counts(), [20_000, 14_000, 6_000]);
    assert_eq!(books.stats.conflicts, 0);
    let run_id = run.summary["run_id"].as_str().unwrap();
    assert!(books.topics.keys().all(|topic| topic.contains(run_id)));
}

#[tokio::test]
async fn a_publisher_that_verifies_fails_when_the_counts_differ() {
    let system = System::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    std::fs::write(&file, event("orders", "1").json()).unwrap();
    let file = file.to_str().unwrap();
    let verify = ["--verify", system.api().url(), "--expect-unique"];
    let with = |expected| [&["send", file][..], &verify, &[expected]].concat();
    system.publish(&with("1")).await.succeeded();
    let run = system.publish(&with("1")).await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.summary["verified"], false);
    system.publish(&with("0")).await.succeeded();
    assert_eq!(system.settled().await.counts(), [3, 1, 2]);
}
