//! Encrypted connections: the handshake, and the answer to a client that does not begin one.

use std::{convert::Infallible, future::ready, io, net::IpAddr, time::Duration};

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use hyper_util::server::graceful::Watcher;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use tracing::debug;

use super::{
    Client, MAX_CONNECTIONS, connection, ended, exchange::Routes, http2, places::Places, protocol,
};
use crate::{
    access::Certificate,
    http::edge::{access::Encrypted, guard, problem::Problem},
    tls::Tls,
};

/// How long a handshake may take, from accepting the connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The first byte of a handshake: the type of its record (RFC 8446, 5.1). No request begins with it.
const HANDSHAKE: u8 = 22;

/// Serves encrypted connections. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct Server {
    tls: Tls,
    /// Requests over HTTP/2 at a time, of all connections: as many as there may be over HTTP/1.1.
    places: Places,
    stopping: CancellationToken,
}

/// A connection whose first bytes have arrived.
enum Accepted {
    Encrypted(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

impl Server {
    /// `stopping` ends handshakes, and connections as soon as their requests are answered.
    pub fn new(tls: Tls, stopping: CancellationToken) -> Self {
        Self {
            tls,
            places: Places::new(MAX_CONNECTIONS),
            stopping,
        }
    }

    /// Serves a connection to its end. A shutdown waits for the `watcher`.
    pub async fn serve(
        self,
        stream: TcpStream,
        peer: Option<IpAddr>,
        routes: impl Routes,
        watcher: Watcher,
    ) {
        let accepted = tokio::select! {
            accepted = timeout(HANDSHAKE_TIMEOUT, self.accept(stream)) => accepted,
            () = self.stopping.cancelled() => return,
        };
        let accepted = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match accepted {
            Ok(Accepted::Encrypted(stream)) => {
                let (_, session) = stream.get_ref();
                let shown = session.peer_certificates().and_then(|shown| shown.first());
                let certificate = shown.and_then(|shown| Certificate::parse(shown));
                let is_http2 = session.alpn_protocol() == Some(b"h2");
                let client = Client {
                    peer,
                    encrypted: Some(Encrypted { certificate }),
                };
                if is_http2 {
                    let Self {
                        places, stopping, ..
                    } = self;
                    http2::serve(*stream, client, routes, places, stopping).await;
                    drop(watcher);
                } else {
                    let connection = connection(&mut protocol(), routes, *stream, client);
                    ended(watcher.watch(connection).await);
                }
            }
            Ok(Accepted::Plain(stream)) => {
                let client = Client {
                    peer,
                    encrypted: None,
                };
                let refuse =
                    service_fn(|request: Request| ready(Ok::<_, Infallible>(refusal(&request))));
                let connection = connection(&mut protocol(), refuse, stream, client);
                ended(watcher.watch(connection).await);
            }
            Err(err) => debug!(error = %err, "a connection was not encrypted"),
        }
    }

    async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [HANDSHAKE] {
            return Ok(Accepted::Plain(stream));
        }
        let encrypted = self.tls.acceptor().accept(stream).await?;
        Ok(Accepted::Encrypted(Box::new(encrypted)))
    }
}

/// The response to a request that is not encrypted.
fn refusal(request: &Request) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.filter(|host| guard::is_host(host));
    let mut response = Problem::not_encrypted(host).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}
