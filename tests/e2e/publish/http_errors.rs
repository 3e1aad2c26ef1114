//! What the API refuses, and with what problem document. A refused request publishes nothing.

use e2e::{
    System,
    api::Answer,
    event::{array, event, events},
};

/// The checks that every problem document must pass.
fn problem(answer: &Answer, status: u16) -> serde_json::Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["type"].is_string(), "{problem}");
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
    assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
    assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
    problem
}

/// Index, field and code of each error of a 422.
fn errors(answer: &Answer) -> Vec<(Option<u64>, Option<String>, String)> {
    let problem = problem(answer, 422);
    let errors = problem["errors"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    errors
        .iter()
        .map(|error| {
            assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
            let code = text(&error["code"]).unwrap();
            (error["index"].as_u64(), text(&error["field"]), code)
        })
        .collect()
}

fn error(index: u64, field: &str, code: &str) -> (Option<u64>, Option<String>, String) {
    (Some(index), Some(field.to_owned()), code.to_owned())
}

#[tokio::test]
async fn invalid_json_is_400_with_the_line_and_column() {
    let system = System::start().await;
    let good = event("orders", "1").json();
    for (body, line, column) in [
        (format!("[\n{good},\n  oops]"), 3, 3),
        ("{".to_owned(), 1, 1),
        (String::new(), 1, 0),
        (format!("{good} {good}"), 1, good.len() + 2),
    ] {
        let answer = system.api().post(body).await;
        let problem = problem(&answer, 400);
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&line.into(), &column.into()),
            "{problem}"
        );
    }
    let answer = system.api().post(b"[\"\xff\"]".as_slice()).await;
    problem(&answer, 400);
    assert_eq!(system.settled().await.counts(), [0, 0, 0]);
}

#[tokio::test]
async fn unknown_paths_are_404_and_unknown_methods_405_with_the_allowed_ones() {
    let system = System::start().await;
    for (method, path) in [
        ("GET", "/nothing"),
        ("POST", "/publish/more"),
        ("DELETE", "/a/b"),
    ] {
        problem(&system.api().request(method, path).await, 404);
    }
    for (method, path, allowed) in [
        ("GET", "/publish", "POST"),
        ("POST", "/events", "GET"),
        ("DELETE", "/stats", "GET"),
        ("PUT", "/topics", "GET"),
        ("PATCH", "/health", "GET"),
    ] {
        let answer = system.api().request(method, path).await;
        problem(&answer, 405);
        assert!(answer.header("allow").contains(allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn a_content_type_that_is_not_json_is_415() {
    let system = System::start().await;
    let body = array(&events("orders", 0..1));
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/cbor"),
        Some("application/jsonp"),
    ] {
        let answer = system.api().post_as(content_type, body.clone()).await;
        problem(&answer, 415);
    }
    assert_eq!(system.settled().await.counts(), [0, 0, 0]);
    let parameters = Some("Application/JSON; charset=utf-8");
    let answer = system.api().post_as(parameters, body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(system.settled().await.counts(), [1, 1, 0]);
    let event = body.trim_matches(['[', ']']);
    let lines = format!("{event}\n\n{event}\n");
    let answer = system.api().post_as(Some("application/x-ndjson"), lines);
    assert_eq!(answer.await.json()["received"], 2);
    assert_eq!(system.settled().await.counts(), [3, 1, 2]);
}

#[tokio::test]
async fn an_invalid_event_refuses_the_whole_request_and_each_error_is_named() {
    let system = System::start().await;
    let body = format!(
        r#"[{},
           {{"topic":"","event_id":7,"timestamp":"2026-01-31 12:00","payload":[]}},
           {{"topic":"t","topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}},"level":1}},
           17]"#,
        event("orders", "1").json()
    );
    let answer = system.api().post(body).await;
    assert_eq!(
        errors(&answer),
        [
            error(1, "topic", "empty"),
            error(1, "event_id", "wrong_type"),
            error(1, "timestamp", "not_rfc3339"),
            error(1, "source", "missing"),
            error(1, "payload", "wrong_type"),
            error(2, "topic", "repeated"),
            error(2, "level", "unknown"),
            (Some(3), None, "wrong_type".to_owned()),
        ]
    );
    let long = event(&"x".repeat(256), "1").json();
    let answer = system.api().post(long).await;
    assert_eq!(errors(&answer), [error(0, "topic", "too_long")]);
    assert_eq!(system.settled().await.counts(), [0, 0, 0]);
}

#[tokio::test]
async fn of_many_errors_the_first_hundred_are_listed() {
    let system = System::start().await;
    let body = format!("[{}]", vec!["17"; 250].join(","));
    let answer = system.api().post(body).await;
    let errors = errors(&answer);
    assert_eq!(errors.len(), 100);
    assert_eq!(errors[99].0, Some(99));
    assert_eq!(answer.json()["errors_total"], 250);
}

#[tokio::test]
async fn a_body_of_another_shape_is_422() {
    let system = System::start().await;
    for body in [
        "[]",
        r#"{"events":[]}"#,
        "7",
        "null",
        r#""text""#,
        r#"{"events":{}}"#,
        r#"{"events":[],"more":1}"#,
    ] {
        let answer = system.api().post(body).await;
        let errors = errors(&answer);
        assert_eq!(errors.len(), 1, "{body}");
        assert_eq!(errors[0].0, None, "{body}");
    }
    assert_eq!(system.settled().await.counts(), [0, 0, 0]);
}

#[tokio::test]
async fn an_event_an_array_and_an_object_with_events_are_accepted() {
    let system = System::start().await;
    let [one, two, three] = ["1", "2", "3"].map(|id| event("orders", id).json());
    for (body, count) in [
        (one.clone(), 1),
        (format!("[{one},{two}]"), 2),
        (format!(" {{\"events\": [{three}]}}\n"), 1),
    ] {
        let answer = system.api().post(body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let expected = serde_json::json!({
            "status": "success",
            "received": count,
            "message": "Events queued for processing",
        });
        assert_eq!(answer.json(), expected);
    }
    assert_eq!(system.settled().await.counts(), [4, 3, 1]);
}

#[tokio::test]
async fn an_invalid_query_is_422_and_names_its_parameter() {
    let system = System::start().await;
    for (path, field, code) in [
        ("/events?limit=0", "limit", "out_of_range"),
        ("/events?limit=1001", "limit", "out_of_range"),
        ("/events?limit=ten", "limit", "out_of_range"),
        ("/events?limit=", "limit", "out_of_range"),
        ("/events?topic=", "topic", "empty"),
        ("/duplicates?topic=a&topic=b", "topic", "repeated"),
        ("/events?topic=%FF", "topic", "wrong_type"),
        ("/events?cursor=yesterday", "cursor", "wrong_type"),
        ("/events?topics=a", "topics", "unknown"),
        ("/topics?limit=0", "limit", "out_of_range"),
        ("/topics?topics=a", "topics", "unknown"),
        ("/stats?verbose", "verbose", "unknown"),
        ("/health?full=1", "full", "unknown"),
    ] {
        let answer = system.api().get(path).await.unwrap();
        let expected = (None, Some(field.to_owned()), code.to_owned());
        assert_eq!(errors(&answer), [expected], "{path}");
    }
    let long = format!("/events?topic={}", "x".repeat(256));
    let answer = system.api().get(&long).await.unwrap();
    assert_eq!(errors(&answer)[0].2, "too_long");
    for path in [
        "/events?limit=1",
        "/events?limit=1000&topic=a",
        "/topics?limit=1000",
    ] {
        let answer = system.api().get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
}
