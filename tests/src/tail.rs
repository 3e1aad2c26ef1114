//! A client that follows the events of `GET /events/tail`, reading as slowly as a test needs.

use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    api::Api,
    wait::{DEADLINE, holds},
};

/// The receive buffer of a connection that is not read, so that the aggregator soon has to wait.
const SMALL_BUFFER: u32 = 4 * 1024;

/// A connection that events arrive on.
#[derive(Debug)]
pub struct Tail {
    connection: Connection,
    /// Bytes received and not yet returned.
    text: Vec<u8>,
    /// The position at which it starts to follow, from the first message.
    pub position: i64,
}

#[derive(Debug)]
enum Connection {
    Http(Response),
    Plain(TcpStream),
}

/// A server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type; an event of the store is a `message`.
    pub kind: String,
    /// The position after it; 0 if it has none.
    pub id: i64,
    /// An event of the store, or other data.
    pub data: Value,
}

impl Message {
    /// The `event_id` of an event.
    pub fn event_id(&self) -> &str {
        assert_eq!(self.kind, "message", "{self:?}");
        self.data["event_id"].as_str().expect("an event has an id")
    }
}

impl Tail {
    /// Follows some topics, or all: from now on, or after the last event seen.
    pub async fn open(api: &Api, topics: &[&str], last_event_id: Option<i64>) -> Self {
        let opened = Self::try_open(api, topics, last_event_id).await;
        opened.expect("the aggregator accepts another client")
    }

    /// Like [`Self::open`], if it may be refused.
    ///
    /// # Errors
    /// What was returned instead.
    pub async fn try_open(
        api: &Api,
        topics: &[&str],
        last_event_id: Option<i64>,
    ) -> Result<Self, String> {
        let topics: Vec<_> = topics.iter().map(|topic| ("topic", topic)).collect();
        let mut request = request(api, "/events/tail").query(&topics);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = sent(request).await?;
        holds(answer.status() == 200, &answer)?;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Ok(Self::started(Connection::Http(answer)).await)
    }

    /// Follows a topic over a connection that buffers next to nothing unless it is read.
    pub async fn open_narrow(api: &Api, topic: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be created");
        let sized = socket.set_recv_buffer_size(SMALL_BUFFER);
        sized.expect("a buffer can be sized");
        let address = api.address().parse().expect("an address");
        let connected = socket.connect(address).await;
        let mut connection = connected.expect("the aggregator can be connected to");
        let head = format!("GET /events/tail?topic={topic} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let sent = connection.write_all(head.as_bytes()).await;
        sent.expect("a request can be sent");
        let head = timeout(DEADLINE, until(&mut connection, b"\r\n\r\n")).await;
        let head = head.expect("a response in time").expect("an answer");
        assert!(head.contains(" 200 OK\r\n"), "{head}");
        Self::started(Connection::Plain(connection)).await
    }

    /// Follows the stream at any path, without expecting a `start` message.
    pub async fn open_at(api: &Api, path: &str) -> Self {
        let answer = sent(request(api, path)).await;
        let answer = answer.expect("the aggregator answers");
        assert_eq!(answer.status(), 200, "{path}");
        Self {
            connection: Connection::Http(answer),
            text: Vec::new(),
            position: 0,
        }
    }

    async fn started(connection: Connection) -> Self {
        let mut tail = Self {
            connection,
            text: Vec::new(),
            position: 0,
        };
        let start = tail.message().await;
        assert_eq!(start.kind, "start", "{start:?}");
        tail.position = start.id;
        tail
    }

    /// The next message.
    pub async fn message(&mut self) -> Message {
        let message = self.next().await.expect("the connection is open");
        message.expect("the stream continues")
    }

    /// The next message, or nothing if the aggregator has ended the stream.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn next(&mut self) -> Result<Option<Message>, String> {
        let next = async {
            loop {
                while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                    let block: Vec<_> = self.text.drain(..end + 2).collect();
                    let message = parse(std::str::from_utf8(&block).expect("a message is text"));
                    if message.is_some() {
                        return Ok(message);
                    }
                }
                match self.connection.more().await? {
                    Some(more) => self.text.extend(more),
                    None => return Ok(None),
                }
            }
        };
        timeout(DEADLINE, next)
            .await
            .expect("a message arrives in time")
    }
}

impl Connection {
    /// The next bytes; none at the end.
    async fn more(&mut self) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Http(answer) => {
                let chunk = answer.chunk().await.map_err(|err| format!("{err:?}"))?;
                Ok(chunk.map(Into::into))
            }
            Self::Plain(connection) => {
                let size = until(connection, b"\r\n").await?;
                let size = usize::from_str_radix(size.trim(), 16).expect("a chunk has a size");
                let mut chunk = vec![0; size + 2];
                let read = connection.read_exact(&mut chunk).await;
                read.map_err(|err| err.to_string())?;
                chunk.truncate(size);
                Ok((size > 0).then_some(chunk))
            }
        }
    }
}

/// The bytes up to and including a mark.
async fn until(connection: &mut TcpStream, mark: &[u8]) -> Result<String, String> {
    let mut text = Vec::new();
    while !text.ends_with(mark) {
        let byte = connection.read_u8().await;
        text.push(byte.map_err(|err| err.to_string())?);
    }
    Ok(String::from_utf8(text).expect("it is text"))
}

/// Not with the API's client, which has a timeout for the whole response.
fn request(api: &Api, path: &str) -> RequestBuilder {
    let client = Client::builder().no_proxy().build();
    let client = client.expect("an HTTP client can be created");
    let request = client.get(format!("{}{path}", api.url()));
    match api.token() {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

/// The head of the response.
async fn sent(request: RequestBuilder) -> Result<Response, String> {
    let answer = timeout(DEADLINE, request.send()).await;
    let answer = answer.map_err(|_| "no response in time".to_owned())?;
    answer.map_err(|err| format!("{err:?}"))
}

/// Parses a block; none if it is a comment.
fn parse(block: &str) -> Option<Message> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ")?;
    Some(Message {
        kind: field("event: ").unwrap_or("message").to_owned(),
        id: field("id: ").map_or(0, |id| id.parse().expect("an id is a position")),
        data: serde_json::from_str(data).expect("data is JSON"),
    })
}
