//! OTLP on the router: the response has the encoding of the request.

use std::io::Write;

use axum::http::HeaderMap;

use super::*;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

const RECORD: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1"}]}]}]}"#;

/// Status, headers and body.
async fn post(
    api: &Fixture,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (u16, HeaderMap, Bytes) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).unwrap();
    let answer = api.router.clone().oneshot(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, body)
}

async fn logs(api: &Fixture, kind: &str, body: impl Into<Body>) -> String {
    let request = Request::post("/v1/logs").header(header::CONTENT_TYPE, kind);
    api.ask(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn an_empty_request_is_accepted_in_both_encodings() {
    let api = Fixture::new().await;
    assert_snapshot!(logs(&api, "application/json; charset=utf-8", "{}").await, @r#"
    200 content-type: application/json
    {}
    "#);
    assert_snapshot!(logs(&api, PROTOBUF, "").await, @r#"
    200 content-type: application/x-protobuf
    "#);
}

#[tokio::test]
async fn without_a_broker_a_sender_is_asked_to_retry() {
    let api = Fixture::new().await;
    assert_snapshot!(logs(&api, JSON, RECORD).await, @r#"
    503 content-type: application/json retry-after: 5
    {"code":14,"message":"the broker cannot be reached, so nothing was published; send everything again later"}
    "#);
    // A ResourceLogs that contains a ScopeLogs that contains an empty record.
    let record = &b"\x0a\x04\x12\x02\x12\0"[..];
    let kind = [("content-type", PROTOBUF)];
    let (status, headers, body) = post(&api, "/v1/logs", &kind, record).await;
    assert_eq!(
        (status, &headers["retry-after"]),
        (503, &"5".parse().unwrap())
    );
    assert_eq!(headers["content-type"], PROTOBUF);
    // Field 1 is the code, 14; field 2 the message.
    assert_eq!(body[..3], [0x08, 14, 0x12]);
    assert!(
        api.get("/stats")
            .await
            .contains("\"identified_by_digest\":0")
    );
}

#[tokio::test]
async fn an_undecodable_request_is_refused_in_its_encoding() {
    let api = Fixture::new().await;
    assert_snapshot!(logs(&api, JSON, "[]").await, @r#"
    400 content-type: application/json
    {"code":3,"message":"ExportLogsServiceRequest in JSON must be an object"}
    "#);
    let kind = [("content-type", PROTOBUF)];
    let (status, headers, body) = post(&api, "/v1/logs", &kind, "{}").await;
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (400, PROTOBUF)
    );
    assert_eq!(body[..3], [0x08, 3, 0x12]);
}

#[tokio::test]
async fn another_type_is_refused_as_a_problem() {
    let api = Fixture::new().await;
    assert_snapshot!(logs(&api, "text/plain", RECORD).await, @r#"
    415 content-type: application/problem+json
    {"type":"urn:problem:not-otlp-type","title":"Not OTLP by its Content-Type","status":415,"detail":"send the header Content-Type: application/x-protobuf or application/json","request_id":"test"}
    "#);
}

#[tokio::test]
async fn records_that_are_too_large_are_reported() {
    let api = Fixture::new().await;
    let text = "x".repeat(512 * 1024);
    let record = RECORD.replace(
        r#""timeUnixNano":"1""#,
        &format!(r#""body":{{"stringValue":"{text}"}}"#),
    );
    assert_snapshot!(logs(&api, JSON, record).await, @r#"
    200 content-type: application/json
    {"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"record 0: too large for an event: 524315 bytes; at most 524288 are accepted"}}
    "#);
}

#[tokio::test]
async fn only_logs_are_accepted() {
    let api = Fixture::new().await;
    let traces = Request::post("/v1/traces").header(header::CONTENT_TYPE, JSON);
    assert_snapshot!(api.ask(traces.body("{}".into()).unwrap()).await, @r#"
    404 content-type: application/json
    {"code":12,"message":"/v1/traces is not supported, only logs are, at /v1/logs: do not export traces and metrics to this address"}
    "#);
    let metrics = Request::post("/v1/metrics").body(Body::empty()).unwrap();
    assert_snapshot!(api.ask(metrics).await, @r#"
    404 content-type: application/problem+json
    {"type":"urn:problem:not-found","title":"Not found","status":404,"detail":"/v1/metrics is not supported, only logs are, at /v1/logs: do not export traces and metrics to this address","request_id":"test"}
    "#);
    let kind = [("content-type", PROTOBUF)];
    let (status, _, body) = post(&api, "/v1/metrics", &kind, "").await;
    assert_eq!((status, &body[..3]), (404, &[0x08, 12, 0x12][..]));
    assert!(api.get("/v1/logs").await.starts_with("405 "));
}

#[tokio::test]
async fn a_compressed_request_is_decompressed() {
    let api = Fixture::new().await;
    let mut compressed = Vec::new();
    let mut gzip = flate2::write::GzEncoder::new(&mut compressed, flate2::Compression::default());
    gzip.write_all(RECORD.as_bytes()).unwrap();
    gzip.finish().unwrap();
    let headers = [("content-type", JSON), ("content-encoding", "gzip")];
    let (status, ..) = post(&api, "/v1/logs", &headers, compressed.clone()).await;
    assert_eq!(status, 503, "it gets as far as the broker");
    compressed.truncate(compressed.len() - 1);
    let (status, _, body) = post(&api, "/v1/logs", &headers, compressed).await;
    assert_eq!(status, 400);
    assert!(body.starts_with(b"{\"code\":3,\"message\":\"the body cannot be decompressed"));
    let headers = [("content-type", JSON), ("content-encoding", "br")];
    let (status, headers, _) = post(&api, "/v1/logs", &headers, RECORD).await;
    assert_eq!(
        (status, &headers["accept-encoding"]),
        (415, &"gzip, zstd".parse().unwrap())
    );
}

#[tokio::test]
async fn a_request_with_unknown_names_is_accepted_with_a_list_of_them_and_counted() {
    let api = Fixture::new().await;
    assert_snapshot!(logs(&api, JSON, r#"{"resource_logs":[{"scope_logs":[]}]}"#).await, @r#"
    200 content-type: application/json
    {"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"ignored members that OTLP does not define: resource_logs in ExportLogsServiceRequest; member names in its JSON are in camel case: resourceLogs, not resource_logs"}}
    "#);
    let metrics = api.get("/metrics").await;
    assert!(
        metrics.contains("aggregator_otlp_requests_with_unknown_members_total 1"),
        "{metrics}"
    );
}
