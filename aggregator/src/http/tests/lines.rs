//! `POST /publish` with one event per line.

use super::*;

async fn publish(api: &Fixture, body: impl Into<Body>) -> String {
    let request = Request::post("/publish")
        .header(header::CONTENT_TYPE, "application/x-ndjson; charset=utf-8")
        .body(body.into());
    api.ask(request.unwrap()).await
}

#[tokio::test]
async fn an_invalid_event_is_named_by_its_index() {
    let api = Fixture::new().await;
    assert_snapshot!(publish(&api, format!("{}\n\n7\n[]\n", event("1"))).await, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"events of this request are not valid; nothing was published","errors":[{"index":1,"field":null,"code":"wrong_type","message":"an event is a JSON object"},{"index":2,"field":null,"code":"wrong_type","message":"an event is a JSON object"}],"errors_total":2,"request_id":"test"}
    "#);
}

#[tokio::test]
async fn a_line_that_is_not_json_is_named_by_line_and_column() {
    let api = Fixture::new().await;
    assert_snapshot!(publish(&api, format!("{}\n\n  {{]", event("1"))).await, @r#"
    400 content-type: application/problem+json
    {"type":"urn:problem:not-json","title":"Not JSON","status":400,"detail":"key must be a string at line 3 column 4","line":3,"column":4,"request_id":"test"}
    "#);
}

#[tokio::test]
async fn lines_sent_as_json_are_refused_with_a_hint_at_their_type() {
    let api = Fixture::new().await;
    let one = event("1");
    for body in [
        format!("{one}\n{}\n", event("2")),
        format!("{one}\r\n\r\n7"),
        format!("{one} {one}"),
        format!("[{one}]\n[{one}]"),
        format!("{{\"events\":[{one}]}}\n{one}"),
        format!("{one}\n{{"),
    ] {
        let answer = api.publish(body.clone()).await;
        assert!(answer.starts_with("400 "), "{body}: {answer}");
        assert!(answer.contains("urn:problem:not-json"), "{answer}");
        assert!(answer.contains("application/x-ndjson"), "{body}: {answer}");
    }
    for body in ["{", "[{}", "{\"a\":1,}", "x"] {
        let answer = api.publish(body).await;
        assert!(answer.starts_with("400 "), "{body}: {answer}");
        assert!(!answer.contains("application/x-ndjson"), "{body}: {answer}");
    }
}

#[tokio::test]
async fn one_document_sent_as_lines_is_refused_with_a_hint_at_json() {
    let api = Fixture::new().await;
    let one = event("1");
    for body in [
        format!("[\n{one},\n{one}\n]"),
        format!("[{one},{one}]\n"),
        one.replace(',', ",\n"),
    ] {
        let answer = publish(&api, body.clone()).await;
        assert!(answer.starts_with('4'), "{body}: {answer}");
        assert!(
            answer.contains("Content-Type: application/json"),
            "{body}: {answer}"
        );
    }
    let answer = publish(&api, "7\n").await;
    assert!(!answer.contains("Content-Type"), "{answer}");
}

#[tokio::test]
async fn a_request_of_lines_has_1_to_10000_events() {
    let api = Fixture::new().await;
    let answer = publish(&api, "\n \n").await;
    assert!(answer.contains("\"code\":\"empty\""), "{answer}");
    let answer = publish(&api, "7\n".repeat(10_001)).await;
    assert!(answer.contains("\"code\":\"too_many\""), "{answer}");
}

#[tokio::test]
async fn valid_lines_reach_the_broker() {
    let api = Fixture::new().await;
    for kind in [
        "application/x-ndjson",
        "application/ndjson",
        "Application/JSONL",
    ] {
        let request = Request::post("/publish").header(header::CONTENT_TYPE, kind);
        let body = format!("{}\r\n{}\r\n", event("1"), event("2"));
        let answer = api.ask(request.body(body.into()).unwrap()).await;
        assert!(answer.starts_with("503 "), "{answer}");
    }
}
