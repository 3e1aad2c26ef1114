//! Pages of events.

use serde_json::Value;

use super::*;

#[tokio::test]
async fn events_are_returned_as_received_newest_first() {
    let api = Fixture::new().await;
    api.append(&[&event("1"), &event("2"), &event("1")]).await;
    assert_snapshot!(api.get("/events?topic=a&limit=1").await, @r#"
    200 content-type: application/json
    {"events":[{"topic":"a","event_id":"2","timestamp":"2026-01-31T12:00:00+01:00","source":"s","payload":{ "n":1e5 },"processed_at":"1970-01-01T00:00:01.000000Z"}],"total":2,"filtered_by_topic":"a","complete":true,"next_cursor":"XSjdJQIAAAAAAAAA"}
    "#);
    assert_snapshot!(api.get("/events?topic=a&limit=1&cursor=XSjdJQIAAAAAAAAA").await, @r#"
    200 content-type: application/json
    {"events":[{"topic":"a","event_id":"1","timestamp":"2026-01-31T12:00:00+01:00","source":"s","payload":{ "n":1e5 },"processed_at":"1970-01-01T00:00:01.000000Z"}],"total":2,"filtered_by_topic":"a","complete":true,"next_cursor":null}
    "#);
    assert_snapshot!(api.get("/events?topic=other").await, @r#"
    200 content-type: application/json
    {"events":[],"total":0,"filtered_by_topic":"other","complete":true,"next_cursor":null}
    "#);
}

#[tokio::test]
async fn a_page_that_stopped_searching_says_how_far_it_searched() {
    let api = Fixture::new().await;
    // More than a page searches in tests.
    let events: Vec<_> = (0..60).map(|id: u8| event(&id.to_string())).collect();
    let events: Vec<_> = events.iter().map(String::as_str).collect();
    api.append(&events).await;
    let page = async |query: &str| api.json(&format!("/events?contains=nowhere{query}")).await;
    let first = page("").await;
    assert_eq!(first["events"], Value::Array(Vec::new()));
    assert_eq!(first["complete"], false);
    assert_eq!(first["searched_to"], "1970-01-01T00:00:01.000000Z");
    let cursor = first["next_cursor"].as_str().unwrap();
    let mut rest = page(&format!("&cursor={cursor}")).await;
    // A busy machine may search fewer events at a time.
    while let Some(cursor) = rest["next_cursor"].as_str() {
        rest = page(&format!("&cursor={cursor}")).await;
    }
    assert_eq!(rest["complete"], true);
    assert!(rest.get("searched_to").is_none(), "{rest}");
}

#[tokio::test]
async fn events_are_found_by_their_own_time_and_by_relative_times() {
    let api = Fixture::new().await;
    let at = |id: &str, time: &str| event(id).replace("2026-01-31T12:00:00+01:00", time);
    let long_ago = at("1", "1990-01-01T00:00:00Z");
    let now = at("2", &crate::clock::rfc3339(crate::clock::now_micros()));
    api.append(&[&long_ago, &now]).await;
    let ids = async |query: &str| {
        let page = api.json(&format!("/events?{query}")).await;
        let events = page["events"].as_array().unwrap().clone();
        events
            .iter()
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(ids("time_until=2000-01-01T00:00:00Z").await, "1");
    assert_eq!(ids("time_since=1990-01-01T01:00:00%2B01:00").await, "21");
    assert_eq!(ids("time_since=-1h").await, "2");
    assert_eq!(ids("time_until=-1h").await, "1");
    // Both are stored in 1970.
    assert_eq!(ids("since=-1d").await, "");
    assert_eq!(ids("until=-1d").await, "21");
    let page = api.json("/events?until=-1d&limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&format!("until=-1d&cursor={cursor}")).await, "1");
}

#[tokio::test]
async fn an_event_is_found_by_its_id_in_all_topics() {
    let api = Fixture::new().await;
    let mut messages = Vec::new();
    for id in 0..30 {
        for topic in ["a", "b"] {
            let event = event(&id.to_string())
                .replace("\"topic\":\"a\"", &format!("\"topic\":\"{topic}\""));
            messages.push((format!("events.{topic}"), event));
        }
    }
    api.append_on(messages).await;
    let (mut topics, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.json(&format!("/events?event_id=0{cursor}")).await;
        for event in page["events"].as_array().unwrap() {
            assert_eq!(event["event_id"], "0");
            topics.push(event["topic"].clone());
        }
        let Some(next) = page["next_cursor"].as_str() else {
            assert_eq!(page["complete"], true);
            break;
        };
        // The first of 60 events are beyond what one page searches in tests.
        assert_eq!(page["complete"], false);
        cursor = format!("&cursor={next}");
    }
    assert_eq!(topics, ["b", "a"]);
    let none = api.json("/events?event_id=0&topic=c").await;
    assert_eq!(none["events"].as_array().unwrap().len(), 0);
}
