//! One connection to the aggregator, made anew where it broke, with one request under way at a time.
//!
//! It stands directly on hyper: a client with a pool costs more than the server that it measures.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::{net::TcpStream, time::timeout};

/// Longest time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest time for one answer; the aggregator itself gives up after 20 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed {
    /// The request was not sent.
    Unsent(String),
    /// The request was sent, or a part of it.
    Unanswered(String),
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    host: String,
    port: u16,
    /// As the `Host` header has it.
    authority: String,
    /// What the address has for a path, without the slash at its end.
    base: String,
    open: Option<Open>,
}

/// A connection that is there. It is driven while a request is under way, so that nothing runs beside.
#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<TcpStream>, Full<Bytes>>,
}

impl Client {
    /// To the aggregator at this address, which need not be there yet.
    #[must_use]
    pub fn new(url: &Url) -> Self {
        Self {
            // An IPv6 address stands in brackets in a URL, and without them where it is connected to.
            host: url
                .host_str()
                .unwrap_or_default()
                .trim_matches(['[', ']'])
                .to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            authority: url.authority().to_owned(),
            base: url.path().trim_end_matches('/').to_owned(),
            open: None,
        }
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// Where no answer came.
    pub async fn post(&mut self, path: &str, json: Bytes) -> Result<Answer, Failed> {
        self.ask(Method::POST, path, json).await
    }

    /// Asks.
    ///
    /// # Errors
    /// Where no answer came.
    pub async fn get(&mut self, path: &str) -> Result<Answer, Failed> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer, Failed> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|err| Failed::Unsent(err.to_string()))?;
        let open = self.connected().await?;
        let answered = timeout(ANSWER_TIMEOUT, open.exchange(request)).await;
        let answered = answered.unwrap_or_else(|_| {
            let seconds = ANSWER_TIMEOUT.as_secs();
            Err(Failed::Unanswered(format!("no answer for {seconds} s")))
        });
        if answered.is_err() {
            self.open = None;
        }
        answered
    }

    async fn connected(&mut self) -> Result<&mut Open, Failed> {
        let mut usable = None;
        if let Some(mut open) = self.open.take()
            && open.is_usable().await
        {
            usable = Some(open);
        }
        let open = if let Some(open) = usable {
            open
        } else {
            let connecting = timeout(CONNECT_TIMEOUT, Open::connect(&self.host, self.port));
            let connected = connecting.await.unwrap_or_else(|_| {
                let seconds = CONNECT_TIMEOUT.as_secs();
                Err(format!("no connection within {seconds} s"))
            });
            connected.map_err(Failed::Unsent)?
        };
        Ok(self.open.insert(open))
    }
}

impl Open {
    async fn connect(host: &str, port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect((host, port)).await;
        let stream = stream.map_err(|err| err.to_string())?;
        stream.set_nodelay(true).map_err(|err| err.to_string())?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(|err| err.to_string())?;
        Ok(Self { sender, driver })
    }

    /// Whether the peer has not closed it meanwhile, as it does with connections that are idle.
    async fn is_usable(&mut self) -> bool {
        let Self { sender, driver } = self;
        tokio::select! {
            biased;
            _ = driver => false,
            ready = sender.ready() => ready.is_ok(),
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failed> {
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
            // The answer may be there all the same, if the peer closed after it.
            _ = driver => exchange.await,
        };
        answered.map_err(|err| {
            if err.is_canceled() {
                Failed::Unsent(err.to_string())
            } else {
                Failed::Unanswered(err.to_string())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Takes as many connections as there are lists, and gives these answers on each before it closes it.
    async fn server(connections: Vec<Vec<&'static str>>) -> Url {
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
        Url::parse(&url).unwrap()
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    async fn post(client: &mut Client) -> Result<(u16, Bytes), Failed> {
        let answered = client.post("/publish", Bytes::from("{}")).await;
        answered.map(|answer| (answer.status.as_u16(), answer.body))
    }

    #[tokio::test]
    async fn one_connection_carries_one_request_after_the_other() {
        let full = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let url = server(vec![vec![OK, full, OK]]).await;
        let mut client = Client::new(&url);
        assert_eq!(post(&mut client).await, Ok((200, Bytes::from("{}"))));
        assert_eq!(post(&mut client).await, Ok((503, Bytes::new())));
        assert_eq!(post(&mut client).await, Ok((200, Bytes::from("{}"))));
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_made_anew() {
        let last = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let url = server(vec![vec![last], vec![OK]]).await;
        let mut client = Client::new(&url);
        assert_eq!(post(&mut client).await.unwrap().0, 200);
        assert_eq!(post(&mut client).await.unwrap().0, 200);
    }

    #[tokio::test]
    async fn what_was_not_sent_is_told_from_what_was_not_answered() {
        let url = server(vec![vec![""]]).await;
        let mut client = Client::new(&url);
        let lost = post(&mut client).await;
        assert!(matches!(lost, Err(Failed::Unanswered(_))), "{lost:?}");
        let away = post(&mut client).await;
        assert!(matches!(away, Err(Failed::Unsent(_))), "{away:?}");
    }
}
