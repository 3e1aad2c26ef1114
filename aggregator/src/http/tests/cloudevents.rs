//! `POST /cloudevents` without a broker: a valid request gets as far as 503.

use super::*;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json; charset=utf-8";

fn cloud(id: &str) -> String {
    format!(r#"{{"specversion":"1.0","type":"a","source":"/s","id":"{id}","data":{{"n":1.50}}}}"#)
}

impl Fixture {
    async fn cloud(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> String {
        let mut request = Request::post("/cloudevents");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(body.into()).unwrap()).await
    }

    async fn typed(&self, kind: &str, body: impl Into<Body>) -> String {
        self.cloud(&[("content-type", kind)], body).await
    }

    /// Sends a binary event with these headers in addition to the required ones.
    async fn binary(&self, more: &[(&str, &str)], body: impl Into<Body>) -> String {
        let core = [
            ("ce-specversion", "1.0"),
            ("ce-type", "a"),
            ("ce-source", "/s"),
            ("ce-id", "1"),
        ];
        self.cloud(&[&core, more].concat(), body).await
    }
}

#[tokio::test]
async fn a_request_without_cloudevent_headers_is_refused_with_the_types_accepted() {
    let api = Fixture::new().await;
    assert_snapshot!(api.typed("application/json", cloud("1")).await, @r#"
    415 content-type: application/problem+json
    {"type":"urn:problem:not-cloudevents-type","title":"Not CloudEvents by its headers","status":415,"detail":"send Content-Type: application/cloudevents+json or application/cloudevents-batch+json, or the header ce-specversion and the data under its own Content-Type","request_id":"test"}
    "#);
    for kind in [
        "application/cloudevents+avro",
        "application/cloudevents",
        "application/cloudevents-batch+avro",
    ] {
        let answer = api.binary(&[("content-type", kind)], "x").await;
        assert!(answer.starts_with("415 "), "{answer}");
    }
    assert!(api.cloud(&[], cloud("1")).await.starts_with("415 "));
}

#[tokio::test]
async fn events_of_all_three_modes_are_accepted() {
    let api = Fixture::new().await;
    let batch = format!("[{},{}]", cloud("1"), cloud("2"));
    for answer in [
        api.typed(STRUCTURED, cloud("1")).await,
        api.typed("Application/CloudEvents+JSON;charset=UTF-8", cloud("1"))
            .await,
        api.typed(BATCHED, batch).await,
        api.binary(&[], "").await,
        api.binary(&[("content-type", "application/json")], "1.50")
            .await,
        api.binary(&[("ce-time", "2026-01-31T12:00:00Z")], vec![0xFF])
            .await,
    ] {
        assert!(answer.starts_with("503 "), "{answer}");
    }
}

#[tokio::test]
async fn an_empty_batch_is_accepted_and_needs_no_broker() {
    let api = Fixture::new().await;
    assert_snapshot!(api.typed(BATCHED, " [ ] ").await, @r#"
    200 content-type: application/json
    {"status":"success","received":0,"message":"Events queued for processing"}
    "#);
}

#[tokio::test]
async fn every_invalid_event_of_a_batch_is_named_by_its_index() {
    let api = Fixture::new().await;
    let old = r#"{"specversion":"0.3","type":"a","source":"/s","id":"1"}"#;
    let body = format!(
        r#"[{},{old},7,{{"specversion":"1.0","Type":1}}]"#,
        cloud("1")
    );
    assert_snapshot!(api.typed(BATCHED, body).await, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"events of this request are not valid; nothing was published","errors":[{"index":1,"field":"specversion","code":"unsupported","message":"is \"0.3\"; only CloudEvents 1.0 is supported"},{"index":2,"field":null,"code":"wrong_type","message":"a CloudEvent is a JSON object"},{"index":3,"field":"Type","code":"unknown","message":"is not a valid attribute name; use only a to z and 0 to 9"},{"index":3,"field":"type","code":"missing","message":"is required"},{"index":3,"field":"source","code":"missing","message":"is required"},{"index":3,"field":"id","code":"missing","message":"is required"}],"errors_total":6,"request_id":"test"}
    "#);
    let many = format!("[{}]", vec!["7"; 10_001].join(","));
    assert!(api.typed(BATCHED, many).await.contains("too_many"));
    assert_snapshot!(api.typed(BATCHED, cloud("1")).await, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"a batch is an array of events","errors":[{"field":null,"code":"wrong_type","message":"a batch is an array of events"}],"errors_total":1,"request_id":"test"}
    "#);
    let answer = api.typed(STRUCTURED, format!("[{}]", cloud("1"))).await;
    assert!(answer.contains("a CloudEvent is a JSON object"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_with_line_and_column() {
    let api = Fixture::new().await;
    assert_snapshot!(api.typed(STRUCTURED, "{\n]").await, @r#"
    400 content-type: application/problem+json
    {"type":"urn:problem:not-json","title":"Not JSON","status":400,"detail":"key must be a string at line 2 column 1","line":2,"column":1,"request_id":"test"}
    "#);
    assert!(api.typed(BATCHED, "[").await.starts_with("400 "));
    for kind in [
        "application/json; charset=utf-8",
        "text/json",
        "application/vnd.a+json",
    ] {
        let answer = api.binary(&[("content-type", kind)], "just text").await;
        assert!(answer.starts_with("400 "), "{answer}");
    }
}

#[tokio::test]
async fn invalid_headers_are_named() {
    let api = Fixture::new().await;
    let headers = [
        ("ce-a", "%C0%A0"),
        ("ce-b", "\"open"),
        ("ce-data", "1"),
        ("ce-datacontenttype", "text/plain"),
    ];
    assert_snapshot!(api.binary(&headers, "x").await, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"events of this request are not valid; nothing was published","errors":[{"index":0,"field":"a","code":"wrong_type","message":"is not UTF-8, before or after percent-decoding"},{"index":0,"field":"b","code":"wrong_type","message":"has an unclosed double quote; write a literal one as %22"},{"index":0,"field":"data","code":"unknown","message":"is not an attribute header: send the type as Content-Type and the data as the body"},{"index":0,"field":"datacontenttype","code":"unknown","message":"is not an attribute header: send the type as Content-Type and the data as the body"}],"errors_total":4,"request_id":"test"}
    "#);
    let twice = api.binary(&[("ce-id", "2"), ("ce-my-own", "3")], "").await;
    assert_snapshot!(twice, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"events of this request are not valid; nothing was published","errors":[{"index":0,"field":"id","code":"repeated","message":"is given more than once"},{"index":0,"field":"my-own","code":"unknown","message":"is not a valid attribute name; use only a to z and 0 to 9"}],"errors_total":2,"request_id":"test"}
    "#);
    assert_snapshot!(api.cloud(&[("ce-specversion", "0.3")], "").await, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"events of this request are not valid; nothing was published","errors":[{"index":0,"field":"specversion","code":"unsupported","message":"is \"0.3\"; only CloudEvents 1.0 is supported"}],"errors_total":1,"request_id":"test"}
    "#);
}

#[tokio::test]
async fn an_event_of_more_than_512_kib_is_refused() {
    let api = Fixture::new().await;
    for bytes in [400 * 1024, 512 * 1024 + 1] {
        // The smaller one is too large, too, as base64.
        let answer = api.binary(&[], vec![0xFF; bytes]).await;
        assert!(answer.contains("too_large"), "{answer}");
    }
    assert!(
        api.binary(&[], vec![0xFF; 380 * 1024])
            .await
            .starts_with("503 ")
    );
}

#[tokio::test]
async fn a_cloudevent_from_the_stream_is_listed_as_an_event() {
    let api = Fixture::new().await;
    api.append(&[
        &cloud("1"),
        &cloud("1"),
        r#"{"specversion":"1.0","type":"a"}"#,
    ])
    .await;
    assert_snapshot!(api.get("/events").await, @r#"
    200 content-type: application/json
    {"events":[{"topic":"a","event_id":"[\"/s\",\"1\"]","timestamp":"1970-01-01T00:00:00Z","timestamp_filled":true,"source":"/s","payload":{"specversion":"1.0","datacontenttype":"application/json","data":{"n":1.50}},"processed_at":"1970-01-01T00:00:01.000000Z"}],"total":1,"filtered_by_topic":null,"complete":true,"next_cursor":null}
    "#);
    let rejected = api.get("/rejected").await;
    let detail = r#""reason":"invalid_event","detail":"source: is required; id: is required""#;
    assert!(rejected.contains(detail), "{rejected}");
    let conflicts = api.get("/conflicts").await;
    assert!(conflicts.contains("\"total\":0"), "{conflicts}");
}

#[tokio::test]
async fn a_rejected_cloudevent_is_requeued_as_a_cloudevent() {
    let api = Fixture::new().await;
    let other = cloud("1").replace(r#""type":"a""#, r#""type":"other""#);
    api.append(&[&other, r#"{"specversion":"1.0","type":"a"}"#])
        .await;
    let requeue = async |id: &str, body: String| {
        let request = Request::post(format!("/rejected/{id}/requeue"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into());
        api.ask(request.unwrap()).await
    };
    for (id, body, status) in [
        ("1", String::new(), "503 "),
        ("2", String::new(), "422 "),
        ("2", format!(" {}", cloud("2")), "503 "),
    ] {
        let answer = requeue(id, body).await;
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn a_web_hook_is_allowed_by_the_handshake_of_its_specification() {
    let api = Fixture::new().await;
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::options(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = api.router.clone().oneshot(request).await.unwrap();
        let header = |name| {
            let value = answer.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let agreed = ["webhook-allowed-origin", "webhook-allowed-rate", "allow"].map(header);
        (answer.status().as_u16(), agreed)
    };
    let some = |text: &str| Some(text.to_owned());
    let origin = ("WebHook-Request-Origin", "eventgrid.azure.net");
    for headers in [
        &[origin] as &[_],
        &[origin, ("WebHook-Request-Rate", "120")],
        &[
            origin,
            ("WebHook-Request-Callback", "https://example.com/?key=1"),
        ],
    ] {
        let agreed = [some("eventgrid.azure.net"), some("*"), some("POST,OPTIONS")];
        assert_eq!(ask("/cloudevents", headers).await, (200, agreed));
    }
    // Other requests do not get these headers.
    let plain = [None, None, some("POST,OPTIONS")];
    assert_eq!(ask("/cloudevents", &[]).await, (204, plain));
    let other = [None, None, some("POST")];
    assert_eq!(ask("/publish", &[origin]).await, (204, other));
}
