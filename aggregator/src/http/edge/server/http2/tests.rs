//! Clients of HTTP/2 that read slowly, or do nothing, and too many requests.

use axum::{Router, middleware::from_fn_with_state, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, client::conn::http2 as client};
use hyper_util::rt::TokioExecutor;
use prometheus::TextEncoder;
use shared::trace::Tracer;
use tokio::{
    io::duplex,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::*;
use crate::{
    access::Access,
    http::edge::{
        Edge, access::Authenticator, guard::Hosts, instrument::Instruments, pass,
        server::deadline::SHORTEST,
    },
    metrics::Metrics,
};

const MEBIBYTE: usize = 1024 * 1024;

type Sender = client::SendRequest<Full<Bytes>>;

/// A client of a router, and its connection.
async fn connected(places: usize, stopping: CancellationToken) -> (Sender, JoinHandle<()>) {
    connected_with(WINDOW, places, stopping).await
}

/// The same with room for this many bytes of a response that the client does not read.
async fn connected_with(
    window: u32,
    places: usize,
    stopping: CancellationToken,
) -> (Sender, JoinHandle<()>) {
    let (sender, serving, _) = measured(window, places, stopping).await;
    (sender, serving)
}

/// The same with the metrics of the requests.
async fn measured(
    window: u32,
    places: usize,
    stopping: CancellationToken,
) -> (Sender, JoinHandle<()>, Metrics) {
    let metrics = Metrics::new();
    let edge = Edge {
        hosts: Hosts::new(&[]),
        authenticator: Authenticator::new(Access::anonymous(), metrics.clone()),
        instruments: Instruments {
            metrics: metrics.clone(),
            tracer: Tracer::off(),
        },
    };
    let router = Router::new()
        .route("/small", get(async || "small"))
        .route("/page", get(async || "x".repeat(16 * 1024)))
        .route("/large", get(async || "x".repeat(MEBIBYTE)))
        .route("/never", get(std::future::pending::<()>))
        .layer(from_fn_with_state(edge, pass));
    let (near, far) = duplex(64 * 1024);
    let nobody = Client {
        peer: None,
        encrypted: None,
    };
    let places = Places::new(places);
    let serving = tokio::spawn(serve(far, nobody, router, places, stopping));
    let handshake = client::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .initial_connection_window_size(4 * WINDOW)
        .handshake(TokioIo::new(near));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    (sender, serving, metrics)
}

async fn ask(sender: &mut Sender, path: &str) -> hyper::Result<Response<Incoming>> {
    sender.ready().await?;
    let request = Request::get(format!("https://localhost{path}"));
    let request = request.body(Full::default()).unwrap();
    sender.send_request(request).await
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_in_time_is_reset_and_the_others_are_not() {
    let (mut sender, _serving) = connected(9, CancellationToken::new()).await;
    let slow = ask(&mut sender, "/large").await.unwrap();
    let small = ask(&mut sender, "/small").await.unwrap();
    assert_eq!(
        small.into_body().collect().await.unwrap().to_bytes(),
        "small"
    );
    // The client's window is full, and it reads only now.
    tokio::time::sleep(SHORTEST * 2).await;
    assert!(slow.into_body().collect().await.is_err());
    let large = ask(&mut sender, "/large").await.unwrap();
    let whole = large.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(whole.len(), MEBIBYTE);
}

#[tokio::test(start_paused = true)]
async fn a_response_is_reset_though_there_was_room_for_its_first_byte() {
    let (mut sender, _serving) = connected_with(1, 9, CancellationToken::new()).await;
    let page = ask(&mut sender, "/page").await.unwrap();
    tokio::time::sleep(SHORTEST * 2).await;
    assert!(page.into_body().collect().await.is_err());
    let page = ask(&mut sender, "/page").await.unwrap();
    let whole = page.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(whole.len(), 16 * 1024);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_one_with_a_request_is_not() {
    let (mut sender, serving) = connected(9, CancellationToken::new()).await;
    let start = Instant::now();
    ask(&mut sender, "/small").await.unwrap();
    serving.await.unwrap();
    assert!(start.elapsed() >= IDLE_TIMEOUT);
    assert!(ask(&mut sender, "/small").await.is_err());
    let (mut sender, serving) = connected(9, CancellationToken::new()).await;
    let waiting = timeout(IDLE_TIMEOUT * 3, ask(&mut sender, "/never")).await;
    assert!(waiting.is_err() && !serving.is_finished());
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_all_places_are_refused_with_503_and_counted() {
    let (mut sender, _serving, metrics) = measured(WINDOW, 1, CancellationToken::new()).await;
    let mut other = sender.clone();
    let waiting = tokio::spawn(async move { ask(&mut other, "/never").await });
    let refused = loop {
        let answer = ask(&mut sender, "/small").await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status(), 503);
    for header in ["retry-after", "x-request-id", "content-security-policy"] {
        assert!(refused.headers().contains_key(header), "{header}");
    }
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        body.contains("urn:problem:busy") && body.contains("request_id"),
        "{body}"
    );
    let counted = TextEncoder::new()
        .encode_to_string(&metrics.gather())
        .unwrap();
    let line = "aggregator_http_requests_total{route=\"/small\",status=\"503\"} 1";
    assert!(counted.contains(line), "{counted}");
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_last_request_when_the_service_stops() {
    let stopping = CancellationToken::new();
    let (mut sender, serving) = connected(9, stopping.clone()).await;
    let large = ask(&mut sender, "/large").await.unwrap();
    stopping.cancel();
    assert_eq!(
        large.into_body().collect().await.unwrap().to_bytes().len(),
        MEBIBYTE
    );
    timeout(SHORTEST, serving).await.unwrap().unwrap();
}
