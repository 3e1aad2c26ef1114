//! Counters and probes.

use super::*;

#[tokio::test]
async fn topics_and_stats_add_up_and_pending_is_unknown_without_a_broker() {
    let api = Fixture::new().await;
    api.append(&[&event("1"), &event("1"), "noise"]).await;
    assert_snapshot!(api.get("/topics").await, @r#"
    200 content-type: application/json
    {"topics":[{"topic":"a","received":2,"unique_processed":1,"duplicate_dropped":1,"first_at":"1970-01-01T00:00:01.000000Z","last_at":"1970-01-01T00:00:01.000000Z"}],"total":1,"next_cursor":null}
    "#);
    assert_snapshot!(api.get("/stats").await, @r#"
    200 content-type: application/json
    {"received":3,"unique_processed":1,"duplicate_dropped":1,"rejected":1,"consistent":true,"rejected_evicted":0,"conflicts":0,"conflicts_evicted":0,"redelivered":0,"pending":null,"missing":0,"stalls":0,"identified_by_digest":0,"topics":["a"],"topics_total":1,"uptime_seconds":0,"started_at":"1970-01-01T00:00:00.000000Z"}
    "#);
}

#[tokio::test]
async fn stats_leave_out_the_topic_names_on_request() {
    let api = Fixture::new().await;
    api.append(&[&event("1")]).await;
    let stats = api.get("/stats?topics=false").await;
    assert!(stats.starts_with("200 "), "{stats}");
    assert!(!stats.contains("\"topics\""), "{stats}");
    assert!(stats.contains("\"topics_total\":1"), "{stats}");
    let with = api.get("/stats?topics=true").await;
    assert!(with.contains("\"topics\":[\"a\"]"), "{with}");
    let wrong = api.get("/stats?topics=no").await;
    assert!(wrong.starts_with("422 "), "{wrong}");
    assert!(wrong.contains("topics must be true or false"), "{wrong}");
}

#[tokio::test]
async fn the_service_is_live_without_a_broker_and_ready_only_with_one() {
    let api = Fixture::new().await;
    assert!(api.get("/livez").await.starts_with("200 "));
    let ready = api.get("/readyz").await;
    assert!(ready.starts_with("503 "), "{ready}");
    assert!(ready.contains("\nbroker: "), "{ready}");
    let failing = api.get("/health").await;
    assert!(failing.contains("\"broker\":"), "{failing}");
    assert!(api.get("/readyz?verbose").await.starts_with("422 "));
}
