//! The server: bounds the number and time of connections, and finishes open requests on shutdown.

pub mod deadline;
mod exchange;
mod places;
mod progress;
mod stream;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use axum::http;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::TokioIo,
    server::graceful::{GracefulConnection, GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use self::places::Places;
use self::{
    exchange::Routes,
    progress::{IDLE_TIMEOUT, Progress, Timer},
    stream::Stream,
};
use super::access::Peer;

/// Concurrent connections; further ones wait to be accepted. An address gets only a part of them: see [`Places`].
pub const MAX_CONNECTIONS: usize = 2_048;

/// Largest head of a request: its request line and header fields. hyper answers a larger one with 431, as it does one with
/// more than 100 fields.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// A connection is closed when its peer reads nothing of a response for this time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long open requests may take to finish when the service stops.
const DRAIN: Duration = Duration::from_secs(7);

/// Pause after the system failed to accept a connection, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until the token is cancelled, then finishes open requests. A connection that gets no place is closed without a response:
/// to send one would take a place.
pub async fn serve(
    listener: TcpListener,
    routes: impl Routes,
    places: Places,
    token: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let mut protocol = protocol();
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let free = places.free().await;
            (listener.accept().await, free)
        };
        tokio::select! {
            (accepted, free) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = places.take(free, peer.ip()) else {
                        continue;
                    };
                    undelayed(&stream);
                    let connection = connection(&mut protocol, routes.clone(), stream, Some(peer.ip()));
                    let connection = graceful.watch(connection);
                    connections.spawn(async move {
                        let _place = place;
                        if let Err(err) = connection.await {
                            debug!(error = %err, "a connection ended early");
                        }
                    });
                }
                Err(err) => {
                    debug!(error = %err, "a connection was not accepted");
                    tokio::select! {
                        () = sleep(ACCEPT_PAUSE) => {}
                        () = token.cancelled() => break,
                    }
                }
            },
            Some(_) = connections.join_next() => {}
            () = token.cancelled() => break,
        }
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!("requests were still open; closing their connections");
    }
}

/// The future of a connection over this byte stream.
fn connection(
    protocol: &mut http1::Builder,
    routes: impl Routes,
    bytes: impl AsyncRead + AsyncWrite + Send + 'static,
    peer: Option<IpAddr>,
) -> impl GracefulConnection<Error = hyper::Error> + Send + 'static {
    let progress = Progress::default();
    let mut bytes = TimeoutStream::new(bytes);
    bytes.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = Stream::new(Box::pin(bytes), progress.clone());
    protocol.timer(Timer(progress.clone()));
    let service = service_fn(move |mut request: http::Request<_>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer(peer));
        }
        exchange::answer(routes.clone(), progress.clone(), request)
    });
    protocol.serve_connection(TokioIo::new(stream), service)
}

fn protocol() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(IDLE_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES);
    http
}

fn undelayed(stream: &TcpStream) {
    // Responses are written in one go; waiting to fill a packet only delays them.
    if let Err(err) = stream.set_nodelay(true) {
        debug!(error = %err, "TCP_NODELAY could not be set on a connection");
    }
}
