//! Connections of HTTP/2: many requests over one, with the limits of those over HTTP/1.1.

mod streams;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
};

use axum::{body::Body, http, response::Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::streams::{Answering, Read, Streams};
use super::{
    Client, MAX_HEAD_BYTES, WRITE_TIMEOUT, ended,
    exchange::{Routes, allow_options, deadline_of, tidied},
    places::Places,
    progress::IDLE_TIMEOUT,
};

/// Requests of a connection at a time; a client waits with further ones.
const MAX_REQUESTS: u32 = 100;

/// Bytes of request bodies that a connection has in memory before they are read, and those of one body. They are the defaults of
/// the protocol: a larger window would let idle connections together take more memory than the service has.
const WINDOW: u32 = 65_535;

/// Serves a connection to its end.
pub async fn serve(
    bytes: impl AsyncRead + AsyncWrite + Send + 'static,
    client: Client,
    routes: impl Routes,
    places: Places,
    stopping: CancellationToken,
) {
    let mut bytes = TimeoutStream::new(bytes);
    bytes.set_write_timeout(Some(WRITE_TIMEOUT));
    let peer = client.peer.unwrap_or(IpAddr::from(Ipv4Addr::UNSPECIFIED));
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        client.mark(&mut request);
        answer(routes.clone(), (places.clone(), peer), request)
    });
    let streams = Streams::default();
    let _ending = streams.ending();
    let connection =
        protocol(streams.clone()).serve_connection(TokioIo::new(Box::pin(bytes)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return ended(result),
        () = streams.idle(Instant::now(), IDLE_TIMEOUT) => {}
        () = stopping.cancelled() => {}
    }
    // A request that is on its way is answered; for later ones the client opens another connection.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        result = connection => ended(result),
        () = streams.idle(Instant::now(), WRITE_TIMEOUT) => debug!("an idle connection was not closed by its client"),
    }
}

fn protocol(streams: Streams) -> http2::Builder<Streams> {
    let mut http = http2::Builder::new(streams);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_REQUESTS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
    http
}

/// Marks a request that is refused because too many are being answered.
#[derive(Debug, Clone, Copy)]
pub struct Excess;

/// Answers a request. If there are too many, it is marked, and the routes refuse it.
async fn answer(
    mut routes: impl Routes,
    (places, peer): (Places, IpAddr),
    mut request: http::Request<Incoming>,
) -> Result<http::Response<Read>, Infallible> {
    let answering = Answering::of_task();
    tidied(&mut request);
    let place = places.try_take(peer);
    if place.is_none() {
        request.extensions_mut().insert(Excess);
    }
    let mut answer: Response = routes.call(request.map(Body::new)).await?;
    answering.answers(deadline_of(&mut answer));
    allow_options(answer.headers_mut());
    Ok(answer.map(|body| Read::new(body, answering, place)))
}
