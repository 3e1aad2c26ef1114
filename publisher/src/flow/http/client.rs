//! One connection to the aggregator, with one request in flight at a time. It reconnects after a failure.
//!
//! It uses hyper directly: a client with a connection pool costs more than the server it measures.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use shared::{
    api::{CA_FLAG, Target},
    command_line, tls,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum time for an answer; the aggregator itself gives up after 20 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The request was not sent.
    Unsent(String),
    /// The request was not sent, and never will be: the connection cannot be encrypted, or the certificate is not trusted.
    Untrusted(String),
    /// The request was sent at least in part.
    Unanswered(String),
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// A client with one connection.
#[derive(Debug)]
pub struct Client {
    host: String,
    port: u16,
    /// The value of the `Host` header.
    authority: String,
    /// The value of the `Authorization` header, if the address has a user or a password.
    authorization: Option<HeaderValue>,
    /// The path of the address, without a trailing slash.
    base: String,
    /// How connections are encrypted, if they are.
    tls: Option<Arc<ClientConfig>>,
    open: Option<OpenConnection>,
}

type Bytestream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// An open connection. It is driven only while a request is in flight, so there is no background task.
#[derive(Debug)]
struct OpenConnection {
    sender: SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<Bytestream>, Full<Bytes>>,
}

impl Client {
    /// A client of this aggregator, which need not be running yet.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        let url = target.url();
        let host = url.host_str().unwrap_or_default();
        Self {
            // An IPv6 address has brackets in a URL, but not when connecting to it.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            authority: match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            },
            authorization: target.authorization().cloned(),
            base: url.path().trim_end_matches('/').to_owned(),
            tls: target.tls().cloned(),
            open: None,
        }
    }

    /// The host of the aggregator, and its port if the address has one.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn post(&mut self, path: &str, json: Bytes) -> Result<Answer, ClientError> {
        self.request(Method::POST, path, json).await
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|err| ClientError::Unsent(err.to_string()))?;
        let open = self.connected().await?;
        let answered = timeout(ANSWER_TIMEOUT, open.exchange(request)).await;
        let answered = answered.unwrap_or_else(|_| {
            let seconds = ANSWER_TIMEOUT.as_secs();
            Err(ClientError::Unanswered(format!(
                "no answer within {seconds} s"
            )))
        });
        if answered.is_err() {
            self.open = None;
        }
        answered
    }

    async fn connected(&mut self) -> Result<&mut OpenConnection, ClientError> {
        let mut usable = None;
        if let Some(mut open) = self.open.take()
            && open.is_usable().await
        {
            usable = Some(open);
        }
        let open = if let Some(open) = usable {
            open
        } else {
            let connecting = timeout(
                CONNECT_TIMEOUT,
                OpenConnection::connect(&self.host, self.port, self.tls.clone()),
            );
            let connected = connecting.await.unwrap_or_else(|_| {
                let seconds = CONNECT_TIMEOUT.as_secs();
                let late = format!("no connection within {seconds} s");
                Err(ClientError::Unsent(late))
            });
            connected?
        };
        Ok(self.open.insert(open))
    }
}

impl OpenConnection {
    async fn connect(
        host: &str,
        port: u16,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, ClientError> {
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|err| unsent(&err))?;
        stream.set_nodelay(true).map_err(|err| unsent(&err))?;
        let stream = match tls {
            None => Either::Left(stream),
            Some(tls) => Either::Right(encrypted(&tls.into(), host, stream).await?),
        };
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(|err| ClientError::Unsent(err.to_string()))?;
        Ok(Self { sender, driver })
    }

    /// Whether the peer has kept it open; it closes idle connections.
    async fn is_usable(&mut self) -> bool {
        let Self { sender, driver } = self;
        tokio::select! {
            biased;
            _ = driver => false,
            ready = sender.ready() => ready.is_ok(),
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let Self { sender, driver } = self;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            Ok(Answer { status, body })
        };
        let mut exchange = pin!(exchange);
        let answered: hyper::Result<_> = tokio::select! {
            biased;
            answered = &mut exchange => answered,
            // The answer may be complete even if the peer closed the connection after it.
            _ = driver => exchange.await,
        };
        answered.map_err(|err| {
            if err.is_canceled() {
                ClientError::Unsent(err.to_string())
            } else {
                ClientError::Unanswered(err.to_string())
            }
        })
    }
}

fn unsent(err: &std::io::Error) -> ClientError {
    ClientError::Unsent(command_line::failure(err))
}

async fn encrypted(
    tls: &TlsConnector,
    host: &str,
    stream: TcpStream,
) -> Result<Box<TlsStream<TcpStream>>, ClientError> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|err| ClientError::Untrusted(err.to_string()))?;
    let stream = tls.connect(name, stream).await.map_err(|err| {
        let failure = command_line::failure(&err);
        match tls::advice(&err, CA_FLAG) {
            Some(advice) => ClientError::Untrusted(format!("{failure}; {advice}")),
            None => ClientError::Unsent(failure),
        }
    })?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Accepts one connection for each list, sends its answers, and closes it.
    async fn server(connections: Vec<Vec<&'static str>>) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answers in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n{}") {
                        request.push(stream.read_u8().await.unwrap());
                    }
                    assert!(request.starts_with(b"POST /base/publish HTTP/1.1\r\n"));
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Target::new(&url.parse().unwrap()).unwrap()
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    async fn post(client: &mut Client) -> Result<(u16, Bytes), ClientError> {
        let answered = client.post("/publish", Bytes::from("{}")).await;
        answered.map(|answer| (answer.status.as_u16(), answer.body))
    }

    #[tokio::test]
    async fn the_user_and_the_password_of_the_address_are_sent_as_authorization_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://me:a%3Ab@{address}/");
        let target = Target::new(&url.parse().unwrap()).unwrap();
        let head = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(OK.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        post(&mut Client::new(&target)).await.unwrap();
        let head = head.await.unwrap();
        assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
        // That of me:a:b.
        assert!(head.contains("authorization: Basic bWU6YTpi\r\n"), "{head}");
    }

    #[tokio::test]
    async fn one_connection_carries_several_requests() {
        let full = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let target = server(vec![vec![OK, full, OK]]).await;
        let mut client = Client::new(&target);
        assert_eq!(post(&mut client).await, Ok((200, Bytes::from("{}"))));
        assert_eq!(post(&mut client).await, Ok((503, Bytes::new())));
        assert_eq!(post(&mut client).await, Ok((200, Bytes::from("{}"))));
    }

    #[tokio::test]
    async fn a_closed_connection_is_replaced() {
        let last = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let target = server(vec![vec![last], vec![OK]]).await;
        let mut client = Client::new(&target);
        assert_eq!(post(&mut client).await.unwrap().0, 200);
        assert_eq!(post(&mut client).await.unwrap().0, 200);
    }

    #[tokio::test]
    async fn an_unsent_request_differs_from_an_unanswered_one() {
        let target = server(vec![vec![""]]).await;
        let mut client = Client::new(&target);
        let unanswered = post(&mut client).await;
        assert!(
            matches!(unanswered, Err(ClientError::Unanswered(_))),
            "{unanswered:?}"
        );
        let unsent = post(&mut client).await;
        assert!(matches!(unsent, Err(ClientError::Unsent(_))), "{unsent:?}");
    }
}
