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
    let stats = api.get("/stats").await;
    let (counts, rest) = stats.split_once("\"disk\":{").unwrap();
    let (_, rest) = rest.split_once("},").unwrap();
    assert_snapshot!(format!("{counts}{rest}"), @r#"
    200 content-type: application/json
    {"received":3,"unique_processed":1,"duplicate_dropped":1,"rejected":1,"consistent":true,"rejected_evicted":0,"rejected_seen":0,"rejected_seen_up_to":0,"rejected_requeued":0,"conflicts":0,"conflicts_evicted":0,"conflicts_seen":0,"conflicts_seen_up_to":0,"redelivered":0,"pending":null,"missing":0,"stalls":0,"identified_by_digest":0,"topics":["a"],"topics_total":1,"uptime_seconds":0,"started_at":"1970-01-01T00:00:00.000000Z"}
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

#[tokio::test]
async fn the_disk_is_reported_with_the_counters() {
    let api = Fixture::new().await;
    api.append(&[&event("1")]).await;
    let disk = &api.json("/stats").await["disk"];
    let [free, total] = ["free_bytes", "total_bytes"].map(|name| disk[name].as_u64().unwrap());
    assert!(0 < free && free < total, "{disk}");
    assert!(disk["store_bytes"].as_u64().unwrap() > 0, "{disk}");
    // Nothing was stored within the last 24 hours.
    assert!(disk["seconds_left"].is_null(), "{disk}");
}

#[tokio::test]
async fn events_are_counted_over_time_for_all_topics_and_for_one() {
    let api = Fixture::new().await;
    api.append(&[&event("1"), &event("1"), "noise"]).await;
    let span = "since=1970-01-01T00:00:00Z&until=1970-01-01T00:30:00%2B01:00";
    let wrong = api.get(&format!("/histogram?{span}")).await;
    assert!(
        wrong.starts_with("422 "),
        "the end is before the beginning: {wrong}"
    );
    let span = "since=1970-01-01T00:30:00Z&until=1970-01-01T01:00:01Z";
    assert_snapshot!(api.get(&format!("/histogram?{span}")).await, @r#"
    200 content-type: application/json
    {"since":"1970-01-01T00:00:00.000000Z","until":"1970-01-01T02:00:00.000000Z","step_seconds":3600,"counted_since":null,"filtered_by_topic":null,"buckets":[{"at":"1970-01-01T00:00:00.000000Z","stored":1,"duplicates":1,"rejected":1},{"at":"1970-01-01T01:00:00.000000Z","stored":0,"duplicates":0,"rejected":0}]}
    "#);
    let of_topic = api.json(&format!("/histogram?topic=a&{span}")).await;
    assert_eq!(of_topic["filtered_by_topic"], "a");
    let first = &of_topic["buckets"][0];
    assert_eq!(
        (&first["stored"], &first["duplicates"]),
        (&1.into(), &1.into())
    );
    assert!(first.get("rejected").is_none(), "{first}");
    let of_two = format!("/histogram?topic=b&topic=a&{span}");
    let of_two = api.json(&of_two).await;
    assert_eq!(of_two["filtered_by_topic"], serde_json::json!(["a", "b"]));
    assert_eq!(of_two["buckets"], of_topic["buckets"]);
    let unknown = api.json(&format!("/histogram?topic=b&{span}")).await;
    assert_eq!(unknown["buckets"][0]["stored"], 0);
    let hour = api.json("/histogram").await;
    assert_eq!(hour["step_seconds"], 60);
    assert!((60..=61).contains(&hour["buckets"].as_array().unwrap().len()));
    for wrong in [
        "since=-20000d",
        "since=x",
        "topic=",
        "topic=1&topic=2&topic=3&topic=4&topic=5&topic=6&topic=7&topic=8&topic=9&topic=10&topic=11",
        "step=1",
    ] {
        let answer = api.get(&format!("/histogram?{wrong}")).await;
        assert!(answer.starts_with("422 "), "{wrong}: {answer}");
    }
}

#[tokio::test]
async fn topics_have_the_events_of_the_last_minutes_on_request() {
    let api = Fixture::new().await;
    api.append(&[&event("1")]).await;
    let stream = StreamState {
        name: "EVENTS".to_owned(),
        created: 1,
        first: 1,
        last: 1,
        messages: 1,
        bytes: 0,
    };
    let now = crate::clock::now_micros();
    api.writer.meet(stream.into(), now).await.unwrap();
    let batch = [event("1"), event("2")];
    let batch = (2..).zip(batch).map(|(sequence, json)| Delivery {
        senders: shared::publish::Senders::default(),
        subject: "events.a".to_owned(),
        sequence,
        time: 1,
        arrivals: message::decode("events.a", &Bytes::from(json), 0),
    });
    let batch = Arc::new(batch.collect());
    api.writer.append(batch, now).await.unwrap();
    let topics = api.json("/topics?recent=true").await;
    let recent = topics["topics"][0]["recent"].as_array().unwrap();
    assert_eq!(recent.len(), 30);
    let sum: u64 = recent.iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sum, 2, "the first event is older: {recent:?}");
    let without = api.json("/topics").await;
    assert!(without["topics"][0].get("recent").is_none(), "{without}");
}

#[tokio::test]
async fn a_topic_is_found_by_its_exact_name() {
    let api = Fixture::new().await;
    let of_ab = event("1").replace("\"topic\":\"a\"", "\"topic\":\"ab\"");
    let messages = [("events.a", event("1")), ("events.ab", of_ab)];
    let messages = messages.map(|(subject, body)| (subject.to_owned(), body));
    api.append_on(messages.into()).await;
    for (query, expected) in [
        ("topic=a", vec!["a"]),
        ("topic=ab&sort=received", vec!["ab"]),
        ("topic=b", vec![]),
        ("contains=a", vec!["a", "ab"]),
    ] {
        let page = api.json(&format!("/topics?{query}")).await;
        let names = page["topics"].as_array().unwrap().iter();
        let names: Vec<_> = names
            .map(|topic| topic["topic"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected, "{query}");
        assert_eq!(page["total"], 2);
    }
    for wrong in ["topic=", "topic=a&contains=a", "topic=a&cursor=a"] {
        let answer = api.get(&format!("/topics?{wrong}")).await;
        assert!(answer.starts_with("422 "), "{wrong}: {answer}");
    }
}
