//! Rejected arrivals and conflicts can be listed and requeued, and are bounded.

use e2e::{
    System,
    event::{array, event},
    wait::{eventually, holds},
};

#[tokio::test]
async fn a_rejected_body_is_requeued_changed_or_unchanged_and_stays_marked() {
    let system = System::start().await;
    // The topic does not match the subject; the event itself is valid.
    let astray = event("orders", "astray");
    system.put("events.payments", &array(&[astray])).await;
    system.put("events.orders", r#"{"topic":"orders"}"#).await;
    let books = system.settled().await;
    assert_eq!((books.counts(), books.stats.rejected), ([2, 0, 0], 2));

    let page = system.api().get("/rejected").await.unwrap().json();
    assert_eq!(page["total"], 2, "{page}");
    let [broken, astray] = [&page["rejected"][0], &page["rejected"][1]];
    assert_eq!(broken["body"], r#"{"topic":"orders"}"#);
    assert_eq!(astray["subject"], "events.payments");
    let requeue = async |rejected: &serde_json::Value, body: String| {
        let path = format!("/rejected/{}/requeue", rejected["id"]);
        system.api().post_to(&path, body).await
    };
    // Unchanged it is rejected again.
    assert_eq!(requeue(broken, String::new()).await.status, 422);
    let fixed = array(&[event("orders", "fixed")]);
    for answer in [
        requeue(broken, fixed).await,
        requeue(astray, String::new()).await,
    ] {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let books = system.settled().await;
    assert_eq!((books.counts(), books.stats.rejected), ([4, 2, 0], 2));
    let page = system.api().get("/rejected").await.unwrap().json();
    for rejected in page["rejected"].as_array().unwrap() {
        assert!(rejected["requeued_at"].is_string(), "{page}");
    }
}

#[tokio::test]
async fn kept_poison_and_conflicts_are_bounded_and_the_counters_never_decrease() {
    let bounds = [
        "--rejected-keep-bytes",
        "20KiB",
        "--conflicts-keep-bytes",
        "20KiB",
    ];
    let mut system = System::with(&bounds).await;
    system.api().publish(&[event("orders", "1")]).await;
    for number in 0..100 {
        let noise = format!("{number:01000}");
        system.put("events.orders", &format!("[{noise}]")).await;
        let other = format!(r#"{{"n":"{noise}"}}"#);
        let other = event("orders", "1").with_payload(&other);
        system.api().publish(&[other]).await;
    }
    let before = system.settled().await;
    assert_eq!(before.counts(), [201, 1, 100]);
    assert_eq!((before.stats.rejected, before.stats.conflicts), (100, 100));
    for table in ["rejected", "conflicts"] {
        let page = system.api().get(&format!("/{table}")).await.unwrap().json();
        let kept = page[table].as_array().unwrap().len() as u64;
        assert!((10..20).contains(&kept), "{kept} {table}");
        assert_eq!(page["evicted"], 100 - kept);
    }
    // Messages whose rows were evicted are delivered again, and are recognized.
    system.aggregator.stop().await;
    system.wind_back().await;
    system.aggregator.start_again().await;
    eventually("all messages come again", async || {
        let stats = system.api().stats().await?;
        holds(stats.redelivered == 201, &stats)
    })
    .await;
    let mut after = system.settled().await.stats;
    assert_eq!(after.received, before.stats.received);
    after.redelivered = 0;
    assert_eq!(after.rejected_evicted, before.stats.rejected_evicted);
}
