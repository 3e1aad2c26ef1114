//! Stored events survive whatever happens to the process.

use e2e::{System, event::events};

/// Kills under load.
const KILLS: u64 = 5;

#[tokio::test]
async fn after_sigkill_under_load_every_count_is_exact() {
    let mut system = System::start().await;
    let mut publisher = system.endless_publisher();
    let mut received = 0;
    for _ in 0..KILLS {
        system.api().received_at_least(received + 500).await;
        system.aggregator.kill();
        assert!(publisher.service().is_running(), "it is killed under load");
        system.aggregator.start_again().await;
        received = system.api().stats().await.unwrap().received;
    }
    system.api().received_at_least(received + 500).await;
    let run = publisher.finished().await;
    let [sent, unique, duplicates] = run.sent();
    assert_eq!(run.verified(), [sent, unique, duplicates]);
    let books = system.settled().await;
    assert_eq!(books.counts(), [sent, unique, duplicates]);
    assert!(duplicates > 0);
    assert_eq!(books.stats.conflicts, 0);
    let identities = "SELECT count(*) FROM (SELECT DISTINCT topic_id, event_id FROM events)";
    assert_eq!(u64::try_from(system.store().number(identities)), Ok(unique));
}

#[tokio::test]
async fn counters_and_events_survive_a_restart_and_the_uptime_restarts() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..20)).await;
    system.api().publish(&events("payments", 0..5)).await;
    system.api().publish(&events("payments", 0..5)).await;
    let mut before = system.settled().await;
    let page = system.api().events_of("orders").await;
    let contents = system.store().contents();

    assert_eq!(system.aggregator.stop().await.code, Some(0));
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;

    let after = system.settled().await;
    assert!(after.stats.started_at > before.stats.started_at);
    before.stats.started_at.clone_from(&after.stats.started_at);
    before.stats.uptime_seconds = after.stats.uptime_seconds;
    assert_eq!(after, before);
    assert_eq!(system.api().events_of("orders").await.text(), page.text());
    assert_eq!(system.store().contents(), contents);
}

#[tokio::test]
async fn messages_published_while_the_aggregator_is_stopped_are_applied_when_it_returns() {
    let mut system = System::start().await;
    let url = system.api().url().to_owned();
    system.aggregator.kill();
    let publisher = system.publisher(&["generate", "--count", "3000", "--verify", &url]);
    system.aggregator.start_again().await;
    let run = publisher.ended().await;
    assert_eq!(run.verified(), [3000, 2100, 900]);
    assert_eq!(system.settled().await.counts(), [3000, 2100, 900]);
}
