//! A clock that was set back: order and times hold, and `/health` reports it until the clock catches up. Clocks of aggregators that share
//! a store: times are those of the database.

use e2e::{
    System,
    aggregator::Aggregator,
    broker::Broker,
    clock::Clock,
    database::Database,
    event::{event, events},
};
use serde_json::json;

/// How far a clock is ahead or behind, in seconds.
const HOUR: i64 = 3_600;

#[tokio::test]
async fn while_the_clock_is_behind_the_latest_event_processed_at_is_held_and_health_reports_it() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..5)).await;
    system.settled().await;
    assert!(system.api().get("/health").await.unwrap().json()["clock"].is_null());
    system.aggregator.stop().await;
    // As if the clock had been an hour ahead until now.
    let hour = "3600000000";
    system.store().change(&format!(
        "UPDATE events SET processed_at = processed_at + {hour} WHERE sequence = 5; \
         UPDATE counters SET processed_at = (SELECT max(processed_at) FROM events)"
    ));
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    system.api().publish(&[event("orders", "late")]).await;
    assert_eq!(system.settled().await.counts(), [6, 6, 0]);

    let health = system.api().get("/health").await.unwrap();
    assert_eq!(health.status, 200, "{}", health.text());
    let clock = health.json()["clock"].as_str().unwrap().to_owned();
    assert!(clock.contains("is held at"), "{clock}");
    let times = "SELECT count(DISTINCT processed_at) FROM events WHERE sequence >= 5";
    assert_eq!(system.store().number(times), 1);
    let newest = system.api().events_of("orders").await.json();
    assert_eq!(newest["events"][0]["event_id"], "late");
}

#[tokio::test]
async fn the_times_of_a_shared_store_are_the_databases_whatever_the_clocks_of_its_aggregators_show()
{
    let Some(database) = Database::new() else {
        return;
    };
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let (nats, url) = (broker.url_of("aggregator"), database.url());
    let start = async |name: &str, ahead: i64| {
        let clock = Clock::new(directory.path(), name).unwrap();
        clock.shift(ahead);
        let environment = clock.environment();
        let environment = environment
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let flags = ["--store", url.as_str()];
        let started = Aggregator::start_with(&nats, directory.path(), &flags, &environment).await;
        started.healthy().await;
        started
    };
    let times = || database.sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
    let before = times();
    // Each of them stores an event.
    let mut behind = start("behind", -HOUR).await;
    behind.api().store(&[event("orders", "1")]).await;
    behind.stop().await;
    let ahead = start("ahead", HOUR).await;
    ahead.api().store(&[event("orders", "2")]).await;
    let after = times();
    behind.start_again().await;
    behind.healthy().await;

    let stored =
        format!("SELECT count(*) FROM events WHERE processed_at BETWEEN {before} AND {after}");
    assert_eq!(database.sql(&stored), "2");
    for (aggregator, direction) in [(&ahead, "ahead of"), (&behind, "behind")] {
        let api = aggregator.api();
        let health = api.get("/health").await.unwrap();
        let clock = health.json()["clock"].to_string();
        let wanted = format!("s {direction} that of the database");
        assert!(clock.contains(&wanted), "{}", health.text());
        let recent = api.ask("/events", &[("since", "-10m")]).await.json();
        assert_eq!(recent["events"].as_array().unwrap().len(), 2, "{recent}");
        let counted = api.get("/histogram").await.unwrap().json();
        let stored: u64 = counted["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|bucket| bucket["stored"].as_u64())
            .sum();
        assert_eq!(stored, 2, "{counted}");
        let stats = api.get("/stats").await.unwrap().json();
        assert_eq!(stats["aggregators"].as_array().unwrap().len(), 2, "{stats}");
        assert_eq!(stats["consistent"], json!(true));
    }
}
