//! What of the store a token gets to see, and which events it may publish.

use std::collections::BTreeSet;

use super::*;
use crate::http::edge::access::scopes::{Needs, ROUTES};

const JSON: (&str, &str) = ("/publish", "application/json");

pub(super) fn event_of(topic: &str, id: &str, content: u8) -> String {
    format!(
        r#"{{"topic":"{topic}","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{"content":{content}}}}}"#
    )
}

/// Events, duplicates, conflicts and rejected arrivals of topics that the tokens `one` and `pattern` may read, and of `secret`.
async fn filled() -> (Fixture, Keys) {
    let (api, keys) = guarded().await;
    let mut messages = Vec::new();
    for topic in ["orders.eu", "orders.us", "secret", "secret.more"] {
        for body in [
            event_of(topic, "1", 0),
            event_of(topic, "2", 0),
            event_of(topic, "1", 0),
            event_of(topic, "2", 1),
            format!("\"no event, of {topic}\""),
        ] {
            messages.push((format!("events.{topic}"), body));
        }
    }
    messages.push(("events".to_owned(), event_of("secret", "", 0)));
    messages.push(("elsewhere".to_owned(), event_of("secret", "3", 0)));
    api.append_on(messages).await;
    (api, keys)
}

/// What a token may read; with the number of topics that it sees.
const READERS: [(&str, &[&str]); 3] = [
    ("one", &["orders.eu"]),
    ("pattern", &["orders.eu", "orders.us"]),
    ("operator", &["orders.eu", "orders.us"]),
];

/// Requests for what may be read, with each route.
const READS: [&str; 15] = [
    "/events",
    "/events?order=asc",
    "/events?event_id=1",
    "/events?contains=content",
    "/events?format=ndjson",
    "/events?limit=1",
    "/duplicates",
    "/topics",
    "/topics?sort=received",
    "/topics?contains=e&limit=1",
    "/topics?recent=true&order=desc",
    "/rejected",
    "/conflicts",
    "/histogram?since=1970-01-01T00:00:00Z&until=1970-01-01T01:00:00Z",
    "/event?topic=orders.eu&event_id=1",
];

/// The path of a request's target.
fn route(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

#[tokio::test]
async fn nothing_of_other_topics_is_in_any_response() {
    let (api, keys) = filled().await;
    let covered: BTreeSet<_> = READS.iter().map(|path| route(path)).collect();
    let read = ROUTES.iter().filter(|(_, _, needs)| *needs == Needs::Read);
    let mut routes: BTreeSet<_> = read.map(|(_, path, _)| *path).collect();
    // It has no end, and has a test of its own.
    assert!(routes.remove("/events/tail"));
    assert_eq!(covered, routes);
    for (name, topics) in READERS {
        for path in READS {
            let (status, body) = api.get_as(&keys, name, path).await;
            assert_eq!(status, 200, "{name} {path}: {body}");
            assert!(!body.contains("secret"), "{name} {path}: {body}");
            let (_, all) = api.get_as(&keys, "reader", path).await;
            assert!(
                ["histogram", "limit=1", "event?"]
                    .iter()
                    .any(|part| path.contains(part))
                    || all.contains("secret"),
                "{all}"
            );
        }
        let count = topics.len() as u64;
        let json = async |path: &str| -> serde_json::Value {
            serde_json::from_str(&api.get_as(&keys, name, path).await.1).unwrap()
        };
        assert_eq!(json("/events").await["total"], 2 * count);
        assert_eq!(json("/topics").await["total"], count);
        assert_eq!(json("/topics?limit=1").await["total"], count);
        let duplicates = json("/duplicates").await;
        assert_eq!(duplicates["total"], 2 * count);
        assert_eq!(
            duplicates["recent"].as_array().unwrap().len() as u64,
            2 * count
        );
        for (path, rows) in [("/rejected", "rejected"), ("/conflicts", "conflicts")] {
            let page = json(path).await;
            assert_eq!(page[rows].as_array().unwrap().len() as u64, count, "{path}");
            assert_eq!(
                (&page["total"], &page["evicted"]),
                (&serde_json::Value::Null, &serde_json::Value::Null)
            );
        }
        let histogram =
            json("/histogram?since=1970-01-01T00:00:00Z&until=1970-01-01T01:00:00Z").await;
        let stored = histogram["buckets"].as_array().unwrap().iter();
        let stored: u64 = stored
            .map(|bucket| bucket["stored"].as_u64().unwrap())
            .sum();
        assert_eq!(stored, 2 * count);
    }
}

#[tokio::test]
async fn a_topic_that_may_not_be_read_is_refused_whether_it_exists_or_not() {
    let (api, keys) = filled().await;
    for path in [
        "/events?",
        "/events?format=ndjson&",
        "/events/tail?",
        "/event?event_id=1&",
        "/duplicates?",
        "/topics?",
        "/rejected?",
        "/conflicts?",
        "/histogram?",
    ] {
        let mut answers = Vec::new();
        for topic in ["secret", "absent"] {
            let path = format!("{path}topic={topic}");
            let (status, body) = api.get_as(&keys, "pattern", &path).await;
            assert_eq!(status, 403, "{path}: {body}");
            let (body, _) = body.split_once("request_id").unwrap();
            answers.push(body.replace(topic, "TOPIC"));
        }
        assert_eq!(answers[0], answers[1]);
        let (status, body) = match path {
            "/events/tail?" => continue,
            path => {
                api.get_as(&keys, "pattern", &format!("{path}topic=orders.eu"))
                    .await
            }
        };
        assert_eq!(status, 200, "{path}: {body}");
    }
    let (status, _) = api
        .get_as(&keys, "pattern", "/events?topic=orders.eu&topic=secret")
        .await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_tail_has_only_events_that_may_be_read() {
    let (api, keys) = filled().await;
    let request = Request::get("/events/tail")
        .header(header::AUTHORIZATION, keys.header("pattern", false))
        .header("last-event-id", "0");
    let answer = api
        .router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let mut text = String::new();
    // The last event of those topics.
    while !text.contains("orders.us\",\"event_id\":\"2\"") {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert_eq!(text.matches("\"topic\":\"orders.").count(), 4, "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_request_is_refused_as_a_whole_if_one_event_may_not_be_published() {
    let (api, keys) = filled().await;
    let (mine, other) = (event_of("orders.eu", "9", 0), event_of("secret", "9", 0));
    let cloud = |topic: &str| {
        format!(
            r#"{{"specversion":"1.0","type":"{topic}","source":"s","id":"9","time":"2026-01-31T12:00:00Z"}}"#
        )
    };
    let otlp = |topic: &str| {
        format!(
            r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{topic}"}}}}]}},"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":"x"}}}}]}}]}}]}}"#
        )
    };
    let cloudevents = ("/cloudevents", "application/cloudevents+json");
    let batch = ("/cloudevents", "application/cloudevents-batch+json");
    for (to, body, status) in [
        (JSON, mine.clone(), 503),
        (JSON, other.clone(), 403),
        (JSON, format!("[{mine},{other}]"), 403),
        (JSON, format!("{{\"events\":[{mine},{other}]}}"), 403),
        (("/publish?wait=stored", JSON.1), other.clone(), 403),
        (
            ("/publish", "application/x-ndjson"),
            format!("{mine}\n{other}\n"),
            403,
        ),
        (
            ("/publish", "application/x-ndjson"),
            format!("{mine}\n{mine}\n"),
            503,
        ),
        (cloudevents, cloud("orders.eu"), 503),
        (cloudevents, cloud("secret"), 403),
        (
            batch,
            format!("[{},{}]", cloud("orders.eu"), cloud("secret")),
            403,
        ),
        (("/v1/logs", JSON.1), otlp("orders.eu"), 503),
        (("/v1/logs", JSON.1), otlp("secret"), 403),
    ] {
        // The broker is not reachable, so whatever may be published is answered with 503.
        let (given, answer) = api.post_as(&keys, "publish", to, &body).await;
        assert_eq!(given, status, "{to:?} {body}: {answer}");
        assert_eq!(answer.contains("secret"), status == 403, "{answer}");
    }
    let (_, status) = api
        .post_as(&keys, "publish", ("/v1/logs", JSON.1), &otlp("secret"))
        .await;
    assert!(
        status.starts_with("{\"code\":7,"),
        "PERMISSION_DENIED: {status}"
    );
}

#[tokio::test]
async fn a_requeue_needs_admin_and_publish_for_each_event() {
    let (api, keys) = filled().await;
    let mine = event_of("orders.eu", "9", 0);
    for (name, body, status) in [
        ("publish", &mine, 403),
        ("admin", &mine, 403),
        ("operator", &mine, 503),
        ("operator", &event_of("secret", "9", 0), 403),
    ] {
        let (given, answer) = api
            .post_as(&keys, name, ("/rejected/1/requeue", JSON.1), body)
            .await;
        assert_eq!(given, status, "{name} {body}: {answer}");
    }
}

#[tokio::test]
async fn only_an_admin_sees_who_sent_what_was_kept() {
    let (api, keys) = guarded().await;
    api.append(&[&event("0")]).await;
    let mut senders = shared::publish::Senders::default();
    senders.add(None, 1);
    senders.add(Some(&"till-7".into()), 2);
    // A conflict with the event, which is the first of topic `orders.eu`, and a rejected arrival, both of one sender.
    let bodies = [
        event_of("orders.eu", "1", 0),
        event_of("orders.eu", "1", 1),
        event_of("orders.eu", "", 1),
    ];
    let body = Bytes::from(format!("[{}]", bodies.join(",")));
    let delivery = Delivery {
        senders,
        sequence: 2,
        time: 0,
        arrivals: message::decode("events", &body, 0),
        subject: "events".to_owned(),
    };
    api.writer
        .append(Arc::new(vec![delivery]), 2_000_000)
        .await
        .unwrap();
    for path in ["/rejected", "/conflicts"] {
        let (_, seen) = api.get_as(&keys, "operator", path).await;
        assert!(seen.contains("\"sent_by\":\"till-7\""), "{seen}");
        let (_, seen) = api.get_as(&keys, "pattern", path).await;
        assert!(
            seen.contains("orders.eu") && !seen.contains("till-7"),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_published_now_costs_nothing_of_the_rate() {
    let (api, keys) = guarded().await;
    let body = format!("[{}]", vec![event_of("a", "1", 0); 100].join(","));
    for _ in 0..2 {
        let (status, answer) = api.post_as(&keys, "slow", JSON, &body).await;
        assert_eq!(status, 503, "{answer}");
    }
}

#[tokio::test]
async fn an_export_fails_once_its_token_has_ended() {
    let (api, keys) = filled().await;
    let open = async || {
        let request = Request::get("/events?format=ndjson")
            .header(header::AUTHORIZATION, keys.header("reader", false));
        let request = request.body(Body::empty()).unwrap();
        api.router.clone().oneshot(request).await.unwrap()
    };
    let whole = open().await.into_body().collect().await;
    assert!(whole.is_ok());
    let cut_off = open().await;
    assert_eq!(cut_off.status(), 200);
    api.api.edge.authenticator.access.replace(Tokens::default());
    assert!(cut_off.into_body().collect().await.is_err());
}
