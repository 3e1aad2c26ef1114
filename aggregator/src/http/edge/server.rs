//! The server: bounds the number and time of connections, and finishes open requests on shutdown.

pub mod deadline;
mod exchange;
mod http2;
mod places;
mod progress;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

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

pub use self::http2::Excess;
use self::{
    exchange::Routes,
    places::Places,
    progress::{IDLE_TIMEOUT, Progress, Timer},
    stream::Stream,
};
use super::access::{Encrypted, Peer};
use crate::{metrics::Metrics, tls::Tls};

/// Concurrent connections; further ones wait to be accepted. An address gets only a part of them: see [`Places`].
const MAX_CONNECTIONS: usize = 2_048;

/// Largest head of a request: its request line and header fields. hyper answers a larger one with 431, as it does one with
/// more than 100 fields.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// A connection is closed when its peer reads nothing of a response for this time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long open requests may take to finish when the service stops.
const DRAIN: Duration = Duration::from_secs(7);

/// Pause after the system failed to accept a connection, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the log says that connections are refused, at most.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// The client of a connection, as its requests name it.
#[derive(Debug, Clone)]
struct Client {
    peer: Option<IpAddr>,
    encrypted: Option<Encrypted>,
}

impl Client {
    fn mark<B>(&self, request: &mut http::Request<B>) {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(Peer(peer));
        }
        if let Some(encrypted) = &self.encrypted {
            request.extensions_mut().insert(encrypted.clone());
        }
    }
}

/// The connections that were closed at once.
#[derive(Debug, Default)]
struct Refused {
    logged: Option<Instant>,
}

impl Refused {
    fn log(&mut self, address: IpAddr, connections: usize) {
        let now = Instant::now();
        if self
            .logged
            .is_none_or(|logged| now - logged >= REFUSED_PAUSE)
        {
            self.logged = Some(now);
            warn!(
                client.address = %address,
                connections,
                "a connection was closed at once because its address holds as many as are left for all others"
            );
        }
    }
}

/// Serves until the token is cancelled, then finishes open requests. With `tls`, every connection is encrypted.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    routes: impl Routes,
    metrics: Metrics,
    token: CancellationToken,
) {
    let places = Places::new(MAX_CONNECTIONS);
    serve_in(listener, tls, routes, (places, metrics), token).await;
}

/// The same with these places for connections. One that gets none is closed without a response: to send one would take a place.
async fn serve_in(
    listener: TcpListener,
    tls: Option<Tls>,
    routes: impl Routes,
    (places, metrics): (Places, Metrics),
    token: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let mut protocol = protocol();
    let tls = tls.map(|tls| tls::Server::new(tls, token.clone()));
    let mut connections = JoinSet::new();
    let mut refused = Refused::default();
    loop {
        let accepted = async {
            let free = places.free().await;
            (listener.accept().await, free)
        };
        tokio::select! {
            (accepted, free) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let place = match places.take(free, peer.ip()) {
                        Ok(place) => place,
                        Err(held) => {
                            metrics.connection_refused();
                            refused.log(peer.ip(), held);
                            continue;
                        }
                    };
                    undelayed(&stream);
                    let peer = Some(peer.ip());
                    let (watcher, routes) = (graceful.watcher(), routes.clone());
                    if let Some(server) = tls.clone() {
                        connections.spawn(async move {
                            let _place = place;
                            server.serve(stream, peer, routes, watcher).await;
                        });
                    } else {
                        let client = Client { peer, encrypted: None };
                        let connection = connection(&mut protocol, routes, stream, client);
                        let connection = watcher.watch(connection);
                        connections.spawn(async move {
                            let _place = place;
                            ended(connection.await);
                        });
                    }
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

fn ended(result: hyper::Result<()>) {
    if let Err(err) = result {
        debug!(error = %err, "a connection ended early");
    }
}

/// The future of a connection over this byte stream.
fn connection(
    protocol: &mut http1::Builder,
    routes: impl Routes,
    bytes: impl AsyncRead + AsyncWrite + Send + 'static,
    client: Client,
) -> impl GracefulConnection<Error = hyper::Error> + Send + 'static {
    let progress = Progress::default();
    let mut bytes = TimeoutStream::new(bytes);
    bytes.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = Stream::new(Box::pin(bytes), progress.clone());
    protocol.timer(Timer(progress.clone()));
    let service = service_fn(move |mut request: http::Request<_>| {
        client.mark(&mut request);
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
