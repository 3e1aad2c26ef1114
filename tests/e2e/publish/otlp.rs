//! Log records over OTLP: each is stored once, whatever its sender repeats.

use e2e::System;
use serde_json::{Value, json};

/// A request with a record that has an id, one without an id, and one without an id and a time.
fn request() -> String {
    let text = |key: &str, text: &str| json!({"key": key, "value": {"stringValue": text}});
    let records = json!([
        {"timeUnixNano": "1", "attributes": [text("log.record.uid", "own")]},
        {"timeUnixNano": "2", "body": {"stringValue": "two"}},
        {"body": {"stringValue": "three"}},
    ]);
    json!({"resourceLogs": [{
        "resource": {"attributes": [text("service.name", "shop"), text("host.name", "h")]},
        "scopeLogs": [{"logRecords": records}],
    }]})
    .to_string()
}

#[tokio::test]
async fn records_sent_twice_are_stored_once_and_never_conflict() {
    let system = System::start().await;
    for _ in 0..2 {
        let answer = system.api().post_to("/v1/logs", request()).await;
        assert_eq!((answer.status, answer.text()), (200, "{}"));
    }
    assert_eq!(system.settled().await.counts(), [6, 3, 3]);
    let stats: Value = system.api().get("/stats").await.unwrap().json();
    assert_eq!(stats["identified_by_digest"], 4);
    assert_eq!(stats["conflicts"], 0);

    let page = system.api().events_of("shop").await.json();
    let events = page["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    for event in events {
        assert_eq!(event["source"], "h");
    }
    let own = events.iter().find(|event| event["event_id"] == "own");
    assert_eq!(own.unwrap()["timestamp"], "1970-01-01T00:00:00.000000001Z");
    let three = "/payload/record/body/stringValue";
    let three = events
        .iter()
        .find(|event| event.pointer(three) == Some(&json!("three")));
    let arrived = three.unwrap()["timestamp"].as_str().unwrap();
    assert!(
        arrived.starts_with("20"),
        "the time of its arrival is filled in: {arrived}"
    );
}

#[tokio::test]
async fn the_topic_is_the_attribute_that_is_configured() {
    let system = System::with(&["--otlp-topic", "host.name"]).await;
    let answer = system.api().post_to("/v1/logs", request()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(system.settled().await.counts(), [3, 3, 0]);
    assert_eq!(system.api().events_of("h").await.json()["total"], 3);
}
