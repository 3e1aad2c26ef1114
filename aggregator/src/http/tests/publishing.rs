//! `POST /publish`: refusals, and the errors that they name.

use super::*;

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_with_line_and_column() {
    let api = Fixture::new().await;
    assert_snapshot!(api.publish("[\n{]").await, @r#"
    400 content-type: application/problem+json
    {"type":"urn:problem:not-json","title":"Not JSON","status":400,"detail":"key must be a string at line 2 column 2","line":2,"column":2,"request_id":"test"}
    "#);
    assert_snapshot!(api.publish("").await, @r#"
    400 content-type: application/problem+json
    {"type":"urn:problem:not-json","title":"Not JSON","status":400,"detail":"EOF while parsing a value at line 1 column 0","line":1,"column":0,"request_id":"test"}
    "#);
}

#[tokio::test]
async fn a_body_that_is_not_json_by_its_type_is_refused() {
    let api = Fixture::new().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let request = Request::post("/publish").header(header::CONTENT_TYPE, kind);
        let answer = api.ask(request.body(event("1").into()).unwrap()).await;
        assert!(answer.starts_with("415 "), "{answer}");
    }
    let request = Request::post("/publish").body(event("1").into()).unwrap();
    assert_snapshot!(api.ask(request).await, @r#"
    415 content-type: application/problem+json
    {"type":"urn:problem:not-json-type","title":"Not JSON by its Content-Type","status":415,"detail":"send the header Content-Type: application/json, or application/x-ndjson for one event per line","request_id":"test"}
    "#);
}

#[tokio::test]
async fn every_invalid_event_is_named_by_its_index() {
    let api = Fixture::new().await;
    let body = format!(r#"{{"events":[{},{{"topic":""}},7]}}"#, event("1"));
    assert_snapshot!(api.publish(body).await, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"events of this request are not valid; nothing was published","errors":[{"index":1,"field":"topic","code":"empty","message":"must not be empty"},{"index":1,"field":"event_id","code":"missing","message":"is required"},{"index":1,"field":"timestamp","code":"missing","message":"is required"},{"index":1,"field":"source","code":"missing","message":"is required"},{"index":1,"field":"payload","code":"missing","message":"is required"},{"index":2,"field":null,"code":"wrong_type","message":"an event is a JSON object"}],"errors_total":6,"request_id":"test"}
    "#);
    let many = format!("[{}]", vec!["7"; 10_000].join(","));
    let answer = api.publish(many).await;
    assert_eq!(answer.matches("\"index\"").count(), 100);
    assert!(
        answer.contains("\"errors_total\":10000"),
        "the rest is counted"
    );
}

#[tokio::test]
async fn a_request_has_1_to_10000_events_and_at_most_16_mib() {
    let api = Fixture::new().await;
    assert_snapshot!(api.publish("[]").await, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"the request has no events","errors":[{"field":null,"code":"empty","message":"the request has no events"}],"errors_total":1,"request_id":"test"}
    "#);
    let answer = api
        .publish(format!("[{}]", vec!["7"; 10_001].join(",")))
        .await;
    assert!(answer.contains("too_many"), "{answer}");
    assert_snapshot!(api.publish(vec![b' '; 16 * 1024 * 1024 + 1]).await, @r#"
    413 content-type: application/problem+json
    {"type":"urn:problem:body-too-large","title":"Body too large","status":413,"detail":"a request body may have at most 16 MiB; send the events in several requests","request_id":"test"}
    "#);
    assert!(api.publish("\"text\"").await.starts_with("422 "));
    assert!(
        api.publish(r#"{"events":[],"more":1}"#)
            .await
            .starts_with("422 ")
    );
}

#[tokio::test]
async fn without_a_broker_publishing_is_refused_immediately_and_health_says_so() {
    let api = Fixture::new().await;
    assert_snapshot!(api.publish(event("1")).await, @r#"
    503 content-type: application/problem+json retry-after: 5
    {"type":"urn:problem:broker-unavailable","title":"Broker unavailable","status":503,"detail":"the broker cannot be reached, so nothing was published; send everything again later","request_id":"test"}
    "#);
    let health = api.get("/health").await;
    assert!(
        health.starts_with("503 content-type: application/json"),
        "{health}"
    );
    for part in ["unhealthy", "\"broker\":", "\"consumer\":"] {
        assert!(health.contains(part), "{health}");
    }
}
