//! The API on its router, without a broker: refusals, and responses read from the store.

mod access;
mod cloudevents;
mod counts;
mod events;
mod lines;
mod live;
mod openapi;
mod otlp;
mod pages;
mod publishing;
mod review;
mod starting;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    http::{Request, header},
    middleware::map_request,
};
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::BodyExt;
use insta::assert_snapshot;
use shared::{
    connection::{Connection, Servers},
    message,
    publish::{Options, Publisher, Subjects},
    stream::StreamState,
    telemetry::Recent,
    trace::Tracer,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Authenticator, Broker, Edge, Hosts, Instruments, Permits, Process, api::Api, router};
use crate::{
    access::Access,
    health::Health,
    metrics::Metrics,
    store::{self, Delivery, Writer},
};

/// An API with its own store and a broker that is never reachable.
struct Fixture {
    router: Router,
    api: Arc<Api>,
    writer: Writer,
    _directory: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Access::anonymous()).await
    }

    async fn with(access: Access) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (writer, _, reader) =
            store::open(directory.path(), 0, store::Limits::default()).unwrap();
        reader.learn_leaders().await.unwrap();
        let nowhere = Servers::parse(&["nats://127.0.0.1:1"]).unwrap();
        let connection = Connection::open(&nowhere, "test").await.unwrap();
        let options = Options {
            stream: "EVENTS".to_owned(),
            max_events: 100,
            subjects: Subjects::default(),
            observer: None,
            tracer: Tracer::off(),
        };
        let (publisher, _) = Publisher::new(connection.clone(), options);
        let broker = Broker {
            connection,
            publisher,
            stream: "EVENTS".to_owned(),
            durable: "aggregator".to_owned(),
            stream_max_bytes: 1 << 30,
        };
        let process = Process {
            health: Health::starting(),
            metrics: Metrics::new(),
            stopping: CancellationToken::new(),
            started: Instant::now(),
            started_at: 0,
            settings: BTreeMap::new(),
            recent: Recent::default(),
        };
        let edge = Edge {
            hosts: Hosts::default(),
            authenticator: Authenticator::new(access, process.metrics.clone()),
            instruments: Instruments {
                metrics: process.metrics.clone(),
                tracer: Tracer::off(),
            },
        };
        let store = (reader, writer.clone());
        let mut api = Api::new(store, broker, process, edge, "service.name".to_owned());
        api.permits = Permits::new(1, 1, 1);
        let api = Arc::new(api);
        Self {
            router: router(Arc::clone(&api)).layer(map_request(with_host)),
            api,
            writer,
            _directory: directory,
        }
    }

    /// Appends messages of one event each, at the start of 1970.
    async fn append(&self, events: &[&str]) {
        let on_a = |json: &&str| ("events.a".to_owned(), (*json).to_owned());
        self.append_on(events.iter().map(on_a).collect()).await;
    }

    /// Appends messages, each with its subject.
    async fn append_on(&self, messages: Vec<(String, impl Into<Bytes>)>) {
        let stream = StreamState {
            name: "EVENTS".to_owned(),
            created: 1,
            first: 1,
            last: 0,
            messages: 0,
            bytes: 0,
        };
        self.writer.meet(stream.into(), 0).await.unwrap();
        let batch = (1..)
            .zip(messages)
            .map(|(sequence, (subject, body))| Delivery {
                senders: shared::publish::Senders::default(),
                sequence,
                time: 0,
                arrivals: message::decode(&subject, &body.into(), 0),
                subject,
            });
        let batch = Arc::new(batch.collect());
        self.writer.append(batch, 1_000_000).await.unwrap();
    }

    /// The status, the relevant headers, and the body.
    async fn ask(&self, mut request: Request<Body>) -> String {
        let id = header::HeaderValue::from_static("test");
        request.headers_mut().insert("x-request-id", id);
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let mut head = vec![answer.status().as_u16().to_string()];
        for name in [header::CONTENT_TYPE, header::ALLOW, header::RETRY_AFTER] {
            if let Some(value) = answer.headers().get(&name) {
                head.push(format!("{name}: {}", value.to_str().unwrap()));
            }
        }
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        format!(
            "{}\n{}",
            head.join(" "),
            std::str::from_utf8(&body).unwrap()
        )
    }

    async fn get(&self, path: &str) -> String {
        self.ask(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// The body of a response with the status 200.
    async fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path).await;
        let (head, body) = answer.split_once('\n').unwrap();
        assert!(head.starts_with("200 "), "{path}: {answer}");
        serde_json::from_str(body).unwrap()
    }

    async fn publish(&self, body: impl Into<Body>) -> String {
        let request = Request::post("/publish")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into());
        self.ask(request.unwrap()).await
    }
}

/// Adds the header Host, as HTTP/1.1 clients do.
async fn with_host(mut request: Request<Body>) -> Request<Body> {
    let localhost = header::HeaderValue::from_static("localhost");
    let host = request.headers_mut().entry(header::HOST);
    host.or_insert(localhost);
    request
}

fn event(id: &str) -> String {
    format!(
        r#"{{"topic":"a","event_id":"{id}","timestamp":"2026-01-31T12:00:00+01:00","source":"s","payload":{{ "n":1e5 }}}}"#
    )
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let api = Fixture::new().await;
    assert_snapshot!(api.get("/nothing").await, @r#"
    404 content-type: application/problem+json
    {"type":"urn:problem:not-found","title":"Not found","status":404,"detail":"nothing is served at /nothing; see POST /publish, /cloudevents and /v1/logs, GET /events, /events/tail, /event, /duplicates, /topics, /stats, /health, /livez, /readyz, /metrics, /diagnostics, /rejected, /conflicts, /missing, /openapi.json and /docs","request_id":"test"}
    "#);
    assert_snapshot!(api.get("/publish").await, @r#"
    405 content-type: application/problem+json allow: POST
    {"type":"urn:problem:method-not-allowed","title":"Method not allowed","status":405,"detail":"/publish does not support GET","request_id":"test"}
    "#);
}

#[tokio::test]
async fn options_succeeds_and_permits_nothing_to_other_sites() {
    let api = Fixture::new().await;
    for (path, allowed) in [
        ("/", "GET,HEAD"),
        ("/publish", "POST"),
        ("/events", "GET,HEAD"),
        ("/health", "GET,HEAD"),
        ("/rejected/1/requeue", "POST"),
        ("/v1/logs", "POST"),
        ("/cloudevents", "POST,OPTIONS"),
        ("/docs/reader.js", "GET,HEAD"),
        ("*", "GET,HEAD,POST,OPTIONS"),
    ] {
        let request = Request::options(path)
            .header("origin", "http://other.example")
            .header("access-control-request-method", "POST");
        let request = request.body(Body::empty()).unwrap();
        let answer = api.router.clone().oneshot(request).await.unwrap();
        let headers = answer.headers();
        assert_eq!(answer.status(), 204, "{path}");
        assert_eq!(headers[header::ALLOW], allowed, "{path}");
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    let request = Request::options("/nothing/here").body(Body::empty());
    assert!(api.ask(request.unwrap()).await.starts_with("404 "));
    let probe = Request::options("/").version(axum::http::Version::HTTP_10);
    let probe = api.ask(probe.body(Body::empty()).unwrap()).await;
    assert!(probe.starts_with("204 "), "{probe}");
}

#[tokio::test]
async fn every_response_has_the_id_of_its_request() {
    let api = Fixture::new().await;
    let answer = async |path: &str, id: Option<&str>| {
        let request = Request::get(path).body(Body::empty());
        let mut request = request.unwrap();
        if let Some(id) = id {
            let id = header::HeaderValue::from_str(id).unwrap();
            request.headers_mut().insert("x-request-id", id);
        }
        let answer = api.router.clone().oneshot(request).await.unwrap();
        let id = answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (id, String::from_utf8(body.to_vec()).unwrap())
    };
    for path in ["/stats", "/nothing", "/publish", "/events?limit=0"] {
        assert_eq!(answer(path, Some("mine:1")).await.0, "mine:1", "{path}");
        let (fresh, body) = answer(path, None).await;
        assert_eq!(fresh.len(), 32, "{path}");
        let member = format!(",\"request_id\":\"{fresh}\"}}");
        assert_eq!(body.ends_with(&member), path != "/stats", "{body}");
        let (replaced, _) = answer(path, Some("not sane")).await;
        assert_ne!(replaced, "not sane");
    }
}

#[tokio::test]
async fn metrics_leave_out_figures_of_the_broker_while_it_is_unreachable() {
    let api = Fixture::new().await;
    api.append(&[&event("1"), &event("1"), "noise"]).await;
    let metrics = api.get("/metrics").await;
    assert!(
        metrics.starts_with("200 content-type: text/plain; version=0.0.4"),
        "{metrics}"
    );
    for line in [
        "aggregator_events_total{outcome=\"stored\"} 1",
        "aggregator_events_total{outcome=\"duplicate\"} 1",
        "aggregator_events_total{outcome=\"rejected\"} 1",
        "aggregator_applied_floor_sequence 3",
        "aggregator_part_healthy{part=\"broker\"} 0",
        "aggregator_part_healthy{part=\"store\"} 1",
    ] {
        assert!(
            metrics.lines().any(|metric| metric == line),
            "{line} in {metrics}"
        );
    }
    for unknown in ["aggregator_stream_bytes", "aggregator_pending_messages"] {
        assert!(!metrics.contains(unknown), "{metrics}");
    }
    let counted = "aggregator_http_requests_total{route=\"/metrics\",status=\"200\"} 1";
    let metrics = api.get("/metrics").await;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_request_that_its_client_aborts_is_counted() {
    let api = Fixture::new().await;
    let body = futures::stream::pending::<Result<Bytes, std::convert::Infallible>>();
    let request = Request::post("/publish")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(body))
        .unwrap();
    let answer = api.router.clone().oneshot(request).now_or_never();
    assert!(answer.is_none(), "its body never ends");
    let counted = "aggregator_http_requests_total{route=\"/publish\",status=\"aborted\"} 1";
    let metrics = api.get("/metrics").await;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    let answered = "{route=\"/metrics\",status=\"aborted\"}";
    assert!(
        !api.get("/metrics").await.contains(answered),
        "it was answered"
    );
}

#[tokio::test]
async fn an_invalid_query_parameter_is_refused_by_name() {
    let api = Fixture::new().await;
    assert_snapshot!(api.get("/events?limit=1001").await, @r#"
    422 content-type: application/problem+json
    {"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"the query parameter limit must be a whole number from 1 to 1000","errors":[{"field":"limit","code":"out_of_range","message":"must be a whole number from 1 to 1000"}],"errors_total":1,"request_id":"test"}
    "#);
    for query in [
        "/events?limit=0",
        "/events?topic=",
        "/events?cursor=x",
        "/stats?a=b",
        "/topics?topics=a",
    ] {
        assert!(api.get(query).await.starts_with("422 "), "{query}");
    }
}
