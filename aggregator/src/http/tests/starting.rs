//! Responses while the store is opening.

use super::*;
use crate::{
    http::{Edge, Instruments, edge::starting::Entrance},
    store::Opening,
};

#[tokio::test]
async fn every_route_but_livez_answers_503_with_progress_until_the_store_is_open() {
    let mut api = Fixture::new().await;
    let document = api.get("/openapi.json").await;
    let (_, document) = document.split_once('\n').unwrap();
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let edge = Edge {
        hosts: Hosts::default(),
        authenticator: Authenticator::new(Access::anonymous(), Metrics::new()),
        instruments: Instruments {
            metrics: Metrics::new(),
            tracer: Tracer::off(),
        },
    };
    let entrance = Entrance::new(Opening::default(), edge);
    let starting = Router::new().fallback_service(entrance.clone());
    let starting = starting.layer(map_request(with_host));
    let routes = std::mem::replace(&mut api.router, starting);
    let health = api.get("/health").await;
    assert!(
        health.starts_with(
            "503 content-type: application/json retry-after: 5\n{\"status\":\"starting\","
        ),
        "{health}"
    );
    assert!(
        health.ends_with(r#""checks":{"store":"the store is being opened"}}"#),
        "{health}"
    );
    assert_snapshot!(api.get("/stats").await, @r#"
    503 content-type: application/problem+json retry-after: 5
    {"type":"urn:problem:starting","title":"Starting","status":503,"detail":"the store is being opened; try again later, and see GET /health","request_id":"test"}
    "#);
    assert_snapshot!(api.get("/livez").await, @r"
    200 content-type: text/plain; charset=utf-8
    ok
    ");
    assert_snapshot!(api.get("/readyz").await, @r"
    503 content-type: text/plain; charset=utf-8 retry-after: 5
    store: the store is being opened
    ");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 15, "{paths:?}");
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(path.replace(['{', '}'], ""))
                .body(Body::empty());
            let answer = api.ask(request.unwrap()).await;
            if path == "/livez" {
                assert!(answer.starts_with("200 "), "{method} {path}: {answer}");
                continue;
            }
            assert!(answer.starts_with("503 "), "{method} {path}: {answer}");
            assert!(
                answer.contains("retry-after: 5"),
                "{method} {path}: {answer}"
            );
        }
    }
    let request = Request::get("/stats").header(header::HOST, "evil.example");
    let answer = api.ask(request.body(Body::empty()).unwrap()).await;
    assert!(answer.starts_with("421 "), "{answer}");

    entrance.open(routes);
    assert!(api.get("/stats").await.starts_with("200 "));
    assert!(api.get("/health").await.contains("unhealthy"));
    assert!(api.get("/livez").await.starts_with("200 "));
    assert!(api.get("/readyz").await.starts_with("503 "));
    assert!(api.get("/nothing").await.starts_with("404 "));
}
