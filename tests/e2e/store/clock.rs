//! A clock that was set back: order and times hold, and `/health` reports it until the clock catches up.

use e2e::{
    System,
    event::{event, events},
};

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
