//! What the live page follows: the samples, and the latest events.

use e2e::{System, event::events, tail::Tail, wait::eventually};

#[tokio::test]
async fn each_second_is_sampled_with_the_counts_and_the_unhealthy_parts() {
    let mut system = System::start().await;
    let api = system.api();
    api.store(&events("orders", 0..10)).await;
    api.store(&events("orders", 5..10)).await;
    let mut live = Tail::open_at(system.api(), "/live").await;
    let history = live.message().await;
    assert_eq!(history.kind, "history");
    assert!(history.data.as_array().is_some(), "{history:?}");
    loop {
        let sample = live.message().await.data;
        if sample["received"] == 15 {
            assert_eq!(sample["unique_processed"], 10);
            assert_eq!(sample["duplicate_dropped"], 5);
            assert_eq!(sample["rejected"], 0);
            assert!(sample["stream_bytes"].as_u64().unwrap() > 0, "{sample}");
            break;
        }
    }
    system.broker.kill().await;
    while live.message().await.data["checks"]["broker"].is_null() {}
    system.broker.start_again().await;
    loop {
        let sample = live.message().await.data;
        if sample["checks"] == serde_json::json!({}) && sample["pending"] == 0 {
            break;
        }
    }
    // A client that connects later receives the history.
    let mut late = Tail::open_at(system.api(), "/live").await;
    let history = late.message().await.data;
    let history = history.as_array().unwrap();
    assert!(history.len() > 2, "{history:?}");
    let lost = |sample: &serde_json::Value| sample["checks"]["broker"].is_string();
    assert!(history.iter().any(lost), "{history:?}");
    assert!(history.is_sorted_by_key(|sample| sample["at"].as_i64()));
}

#[tokio::test]
async fn a_client_that_wants_only_the_latest_gets_them_and_the_number_it_missed() {
    let system = System::start().await;
    let api = system.api();
    let mut tail = Tail::open_at(api, "/events/tail?topic=orders&latest=10").await;
    assert_eq!(tail.message().await.kind, "start");
    api.publish(&events("others", 0..50)).await;
    api.publish(&events("orders", 0..300)).await;
    eventually("all is stored", async || {
        let stats = api.stats().await?;
        e2e::wait::holds(stats.unique_processed == 350, stats)
    })
    .await;
    api.publish(&events("orders", 300..301)).await;
    let (mut missed, mut ids) = (0, Vec::new());
    while ids.last().is_none_or(|last| last != "id-300") {
        let next = tail.message().await;
        match next.kind.as_str() {
            "missed" => missed += next.data["missed"].as_u64().unwrap(),
            _ => ids.push(next.event_id().to_owned()),
        }
    }
    assert_eq!(missed + ids.len() as u64, 301);
    assert!(missed > 0, "{ids:?}");
    let numbers = ids.iter().map(|id| id[3..].parse::<u32>().unwrap());
    assert!(numbers.is_sorted(), "{ids:?}");
}
