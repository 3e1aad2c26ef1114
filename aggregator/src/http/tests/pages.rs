//! Responses that take memory: their frames, their permits and their deadline.

use std::time::Duration;

use axum::http::{StatusCode, Version};
use tokio::time::{advance, timeout};

use super::*;
use crate::http::edge::{
    paging::{PAGE_BYTES, SMALL_BYTES},
    server::deadline::SHORTEST,
};

/// Longer than any test takes.
const SOON: Duration = Duration::from_secs(60);

/// A topic of 255 bytes, each of which takes six bytes in JSON.
fn topic(number: usize) -> String {
    let number = number.to_string();
    format!("{}{number}", "\\u0001".repeat(255 - number.len()))
}

fn large(number: usize, source: &str) -> String {
    let payload = "x".repeat(1_000);
    format!(
        r#"{{"topic":"{}","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"{source}","payload":{{"x":"{payload}"}}}}"#,
        topic(number)
    )
}

/// Every kind of page, each large enough to need a permit.
const LARGE: [&str; 7] = [
    "/events?limit=1000",
    "/events?format=ndjson",
    "/rejected?limit=1000",
    "/conflicts?limit=1000",
    "/duplicates?limit=1000",
    "/topics?limit=1000",
    "/stats",
];

/// Responses that are small enough to need no permit.
const SMALL: [&str; 10] = [
    "/events?limit=1",
    "/events?limit=1&contains=x",
    "/rejected?limit=1",
    "/conflicts?limit=1",
    "/duplicates?limit=1",
    "/topics?limit=1",
    "/missing",
    "/health",
    "/readyz",
    "/stats?topics=false",
];

async fn filled() -> Fixture {
    let api = Fixture::new().await;
    let mut messages = Vec::new();
    for number in 0..100 {
        let name: String = serde_json::from_str(&format!("\"{}\"", topic(number))).unwrap();
        let subject = shared::subject::of(&shared::event::Topic::new(&name).unwrap());
        for source in ["s", "other"] {
            messages.push((subject.clone(), large(number, source)));
        }
        messages.push(("events.a".to_owned(), "\u{1}".repeat(1_000)));
    }
    api.append_on(messages).await;
    api
}

async fn answer(api: &Fixture, path: &str) -> axum::response::Response {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = timeout(SOON, api.router.clone().oneshot(request)).await;
    let answer = answer.expect(path).unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer
}

#[tokio::test]
async fn a_large_response_holds_its_permit_until_its_last_frame_is_taken() {
    let api = filled().await;
    for path in LARGE {
        assert_eq!(api.api.permits.pages.available_permits(), 1, "{path}");
        let answer = answer(&api, path).await;
        let length = answer.headers().get(header::CONTENT_LENGTH);
        let length: Option<usize> = length.map(|length| length.to_str().unwrap().parse().unwrap());
        assert_eq!(length.is_none(), path.contains("ndjson"), "{path}");
        let mut body = answer.into_body();
        let mut taken = 0;
        while length.is_none_or(|length| taken < length) {
            let Some(frame) = body.frame().await else {
                break;
            };
            let frame = frame.unwrap().into_data().unwrap();
            assert!(frame.len() <= 16 * 1024, "{path}: {}", frame.len());
            taken += frame.len();
            let is_taken = length.is_some_and(|length| taken == length);
            let permits = api.api.permits.pages.available_permits();
            if length.is_some() {
                assert_eq!(permits, usize::from(is_taken), "{path} after {taken} bytes");
            }
        }
        assert!(taken > SMALL_BYTES, "{path}: {taken}");
        assert!(body.frame().await.is_none(), "{path}");
    }
}

#[tokio::test]
async fn small_responses_do_not_wait_for_slow_clients() {
    let api = filled().await;
    let _slow = answer(&api, "/events?limit=1000").await;
    assert_eq!(api.api.permits.pages.available_permits(), 0);
    for path in SMALL {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = timeout(SOON, api.router.clone().oneshot(request)).await;
        let answer = answer.expect(path).unwrap().into_body();
        answer.collect().await.expect(path);
    }
    let large = api.get("/events?limit=1000");
    assert!(timeout(Duration::from_millis(1), large).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_too_slowly_loses_its_response_and_its_permit() {
    let api = filled().await;
    for path in LARGE {
        let mut body = answer(&api, path).await.into_body();
        body.frame().await.unwrap().expect(path);
        assert_eq!(api.api.permits.pages.available_permits(), 0, "{path}");
        advance(SHORTEST / 2).await;
        body.frame().await.unwrap().expect("it is in time");
        advance(SHORTEST * 3).await;
        body.frame().await.unwrap().expect_err("it is late");
        drop(body);
        assert_eq!(api.api.permits.pages.available_permits(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_page_is_bounded_by_its_size_as_json() {
    let api = Fixture::new().await;
    // 3 MiB each as JSON, or 683 KiB as Base64.
    let escaped = vec![1; 512 * 1024];
    let encoded = vec![255; 512 * 1024];
    let bodies = [escaped.clone(), escaped, encoded.clone(), encoded];
    let messages = bodies.map(|body| ("events.a".to_owned(), body));
    api.append_on(messages.to_vec()).await;
    let mut path = "/rejected".to_owned();
    let mut page_rows = Vec::new();
    loop {
        let answer = api.get(&path).await;
        assert!(answer.len() < PAGE_BYTES + 1_000, "{}", answer.len());
        let (_, body) = answer.split_once('\n').unwrap();
        let page: serde_json::Value = serde_json::from_str(body).unwrap();
        let rows = page["rejected"].as_array().unwrap();
        page_rows.push(rows.len());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/rejected?cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(page_rows, [2, 1, 1]);
}

#[tokio::test]
async fn a_response_of_unknown_length_is_refused_over_http_1_0_unless_it_is_endless() {
    let api = filled().await;
    for path in ["/events/tail", "/live"] {
        let request = Request::get(path).version(Version::HTTP_10);
        let request = request.body(Body::empty()).unwrap();
        let answer = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    for path in ["/events?format=ndjson", "/events?format=ndjson&limit=1"] {
        let request = Request::get(path).version(Version::HTTP_10);
        let answer = api.ask(request.body(Body::empty()).unwrap()).await;
        assert!(answer.starts_with("426 "), "{path}: {answer}");
        assert!(answer.contains("proxy_http_version 1.1"), "{answer}");
        let request = Request::get(path).version(Version::HTTP_10);
        let request = request.body(Body::empty()).unwrap();
        let answer = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.headers()[header::UPGRADE], "HTTP/1.1", "{path}");
    }
    assert_eq!(api.api.permits.tails.available_permits(), 1);
    for path in LARGE
        .into_iter()
        .chain(SMALL)
        .chain(["/metrics", "/openapi.json", "/docs", "/"])
    {
        let request = Request::get(path).version(Version::HTTP_10);
        let answer = api.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            answer.starts_with("426 "),
            path.contains("ndjson"),
            "{path}"
        );
    }
}
