//! Connections of real clients, byte by byte, on a small router.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream as Blocking},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    response::IntoResponse,
    routing::{any, get, post},
};
use futures::stream;
use prometheus::TextEncoder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    net::TcpSocket,
    sync::{Notify, Semaphore, mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::*;
use crate::{
    http::edge::{
        paging::{Room, Whole},
        streaming::{self, Chunk, Text},
    },
    metrics::Metrics,
};

/// More than any of these tests takes on a slow machine.
const DEADLINE: Duration = Duration::from_mins(1);

const MEBIBYTE: usize = 1024 * 1024;

/// A server whose `/read` reads its body, and whose `/refuse` does not.
async fn served() -> SocketAddr {
    served_with(MAX_CONNECTIONS, Metrics::new()).await
}

/// The same with this many places for connections.
async fn served_with(count: usize, metrics: Metrics) -> SocketAddr {
    let router = Router::new()
        .route("/", get(async || "read\n"))
        .route("/read", post(async |body: Bytes| body.len().to_string()))
        .route(
            "/refuse",
            post(async || (axum::http::StatusCode::PAYLOAD_TOO_LARGE, "too large\n")),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let places = (Places::new(count), metrics);
    let token = CancellationToken::new();
    tokio::spawn(serve_in(listener, None, router, places, token));
    address
}

fn nobody() -> Client {
    Client {
        peer: None,
        encrypted: None,
    }
}

/// The client's end of a connection that buffers this many bytes in each direction.
fn connected(router: Router, bytes: usize) -> DuplexStream {
    let (client, server) = duplex(bytes);
    tokio::spawn(connection(&mut protocol(), router, server, nobody()));
    client
}

/// The response to a client that writes all of these parts in order before it reads.
async fn written(server: SocketAddr, parts: Vec<Vec<u8>>) -> String {
    let client = spawn_blocking(move || {
        let mut connection = Blocking::connect(server)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(DEADLINE))?;
        for part in parts {
            connection.write_all(&part)?;
        }
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        std::io::Result::Ok(String::from_utf8(answer).unwrap())
    });
    client.await.unwrap().expect("an answer")
}

/// The head of a request that closes its connection, with this request line and these fields.
fn head(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n")
}

/// The response to a request on a new connection from this loopback address, and the connection; `None` if it was closed without
/// one.
async fn asked(server: SocketAddr, from: [u8; 4]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut connection = socket.connect(server).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // A refused connection may be reset before or after the request is written.
    connection.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"read\n") {
        let read = timeout(DEADLINE, connection.read_buf(&mut answer)).await;
        let bytes = read.expect("a response or the end").ok()?;
        if bytes == 0 {
            return None;
        }
    }
    Some(connection)
}

#[tokio::test]
async fn an_address_that_takes_all_connections_it_can_get_leaves_some_for_another() {
    let metrics = Metrics::new();
    let server = served_with(8, metrics.clone()).await;
    let (greedy, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(asked(server, greedy).await.expect("half of all places"));
    }
    assert!(asked(server, greedy).await.is_none());
    assert!(asked(server, greedy).await.is_none());
    let measured = TextEncoder::new().encode_to_string(&metrics.gather());
    let counted = "aggregator_http_connections_refused_total 2";
    assert!(measured.unwrap().lines().any(|line| line == counted));
    let of_other = asked(server, other).await;
    assert!(of_other.is_some());
    // With a closed connection, its place comes back.
    held.pop();
    let again = async { while asked(server, greedy).await.is_none() {} };
    timeout(DEADLINE, again).await.expect("a place");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_writes_everything_before_it_reads() {
    let server = served().await;
    let length = 40 * MEBIBYTE;
    let sized = format!("content-length: {length}\r\n");
    let chunked = "transfer-encoding: chunked\r\n";
    for (line, status) in [
        ("POST /refuse", "413 "),
        ("POST /nothing", "404 "),
        ("PUT /read", "405 "),
    ] {
        let body = vec![b' '; length];
        let answer = written(server, vec![head(line, &sized).into(), body]).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        let mut parts = vec![head(line, chunked).into_bytes()];
        let chunk = [b"100000\r\n".as_slice(), &vec![b' '; MEBIBYTE], b"\r\n"].concat();
        parts.extend(vec![chunk; 40]);
        parts.push(b"0\r\n\r\n".to_vec());
        let answer = written(server, parts).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    // The connection itself refuses these.
    let fields = format!("x: {}\r\n", "x".repeat(length));
    let answer = written(server, vec![head("GET /", &fields).into()]).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let fields = format!("content-length: some\r\n{sized}");
    let request = [head("POST /read", &fields).into_bytes(), vec![b' '; length]];
    let answer = written(server, request.into()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_response_to_an_unread_request_announces_the_close() {
    let server = served().await;
    let request = "POST /refuse HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n12345";
    let answer = written(server, vec![request.into()]).await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    // After a request that was read, the connection stays open.
    let requests = format!(
        "POST /read HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n12345{}",
        head("GET /", "")
    );
    let answers = written(server, vec![requests.into()]).await;
    assert!(
        answers.contains("\r\n\r\n5HTTP/1.1 200 OK\r\n"),
        "{answers}"
    );
}

#[tokio::test]
async fn a_request_that_arrives_while_another_is_answered_is_answered_after_it() {
    let first = "GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let posted = "POST /slow HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n12345";
    let second = head("GET /", "");
    for (first, then, last) in [
        (first, second.as_str(), ""),
        (posted, &second, ""),
        (posted, &format!("\r\n{second}"), ""),
        // An empty line, and the request once the first is answered.
        (posted, "\r\n", &second),
    ] {
        let (running, mut is_running) = mpsc::channel(1);
        let (answered, is_answered) = oneshot::channel();
        let release = Arc::new(Notify::new());
        let released = Arc::clone(&release);
        let slow = any(async move |_: Bytes| {
            running.send(()).await.unwrap();
            released.notified().await;
            "slow\n"
        });
        let router = Router::new().route("/", get(async || "read\n"));
        // All written bytes but the last have been read by the server. It reads one byte while it answers a request.
        let mut client = connected(router.route("/slow", slow), 1);
        client.write_all(first.as_bytes()).await.unwrap();
        is_running.recv().await.unwrap();
        let (begin, rest) = then.split_at(2);
        client.write_all(begin.as_bytes()).await.unwrap();
        release.notify_one();
        let (mut reader, mut writer) = split(client);
        let writing = async {
            writer.write_all(rest.as_bytes()).await.unwrap();
            is_answered.await.unwrap();
            writer.write_all(last.as_bytes()).await.unwrap();
        };
        let reading = async {
            let mut answers = Vec::new();
            while !answers.ends_with(b"slow\n") {
                answers.push(reader.read_u8().await.unwrap());
            }
            answered.send(()).unwrap();
            reader.read_to_end(&mut answers).await.unwrap();
            answers
        };
        let ((), answers) = timeout(DEADLINE, async { tokio::join!(writing, reading) })
            .await
            .unwrap();
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
        let closes = answers.matches("connection: close").count();
        assert_eq!(closes, 1, "{answers}");
        assert!(answers.ends_with("read\n"), "{answers}");
    }
}

/// A router with a response of 1 MiB of each kind, and the semaphore of their permits.
fn large() -> (Router, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(1));
    let text = "x".repeat(MEBIBYTE);
    let (page, page_permits) = (text.clone(), Arc::clone(&permits));
    let whole = async move || {
        let permit = page_permits.try_acquire_owned().unwrap();
        Whole::of(&page, Room::Page).answer(Some(permit))
    };
    let (lines, chunk_permits) = (text.clone(), Arc::clone(&permits));
    let chunks = async move || {
        let permit = chunk_permits.try_acquire_owned().unwrap();
        let mut text = Text::default();
        text.write_all(lines.as_bytes()).unwrap();
        streaming::stream(stream::iter([Ok(Chunk::new(text, vec![permit]))]))
    };
    let framed = text.clone();
    let router = Router::new()
        .route("/whole", get(whole))
        .route("/chunks", get(chunks))
        .route(
            "/frames",
            get(async || streaming::in_frames(None, framed.into_response())),
        )
        .route("/text", get(async || text));
    (router, permits)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_now_and_then_is_cut_off_at_the_deadline() {
    for path in ["/whole", "/chunks", "/frames", "/text"] {
        let (router, permits) = large();
        let mut client = connected(router, 512);
        let request = head(&format!("GET {path}"), "");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut total = 0;
        let started = Instant::now();
        loop {
            let read = client.read(&mut [0; 512]).await.unwrap();
            if read == 0 {
                break;
            }
            total += read;
            sleep(Duration::from_secs(25)).await;
            assert!(started.elapsed() < WRITE_TIMEOUT * 4, "{path}");
        }
        assert!(total < MEBIBYTE, "{path}");
        assert_eq!(permits.available_permits(), 1, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_slow_but_in_time_gets_the_complete_response() {
    for path in ["/whole", "/chunks", "/frames", "/text"] {
        let mut client = connected(large().0, 16 * 1024);
        let request = head(&format!("GET {path}"), "");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while client.read_buf(&mut answer).await.unwrap() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
        let bytes = memchr::memchr_iter(b'x', &answer).count();
        assert!(bytes >= MEBIBYTE, "{path}: {bytes}");
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_refused_without_sending() {
    let server = served().await;
    let fields = format!(
        "expect: 100-continue\r\ncontent-length: {}\r\n",
        40 * MEBIBYTE
    );
    let answer = written(server, vec![head("POST /refuse", &fields).into()]).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let fields = "expect: 100-continue\r\ncontent-length: 5\r\n";
    let answer = written(
        server,
        vec![head("POST /read", fields).into(), b"12345".into()],
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n5"), "{answer}");
}

#[tokio::test]
async fn what_is_discarded_of_a_refused_request_is_bounded() {
    let server = served().await;
    let client = spawn_blocking(move || {
        let mut connection = Blocking::connect(server).unwrap();
        let fields = format!("content-length: {}\r\n", u32::MAX);
        let head = head("POST /refuse", &fields);
        connection.write_all(head.as_bytes()).unwrap();
        let part = vec![b' '; MEBIBYTE];
        // The socket buffers of both sides take some more than what is discarded.
        let written = (0..256).find(|_| connection.write_all(&part).is_err());
        written.expect("the connection is closed")
    });
    let mebibytes = timeout(DEADLINE, client).await.unwrap().unwrap();
    assert!(mebibytes >= 64, "{mebibytes}");
}

#[tokio::test]
async fn a_head_has_one_limit_however_it_arrives() {
    let server = served().await;
    let of_size = |bytes: usize| {
        let rest = head("GET /", "x: \r\n").len();
        head("GET /", &format!("x: {}\r\n", "x".repeat(bytes - rest)))
    };
    // `head` has two fields of its own.
    let of_fields = |fields: usize| head("GET /", &"x: x\r\n".repeat(fields - 2));
    for (head, status) in [
        (of_size(MAX_HEAD_BYTES), "200 "),
        (of_size(MAX_HEAD_BYTES + 1), "431 "),
        (of_size(40_000), "431 "),
        (of_size(1_000_000), "431 "),
        (of_fields(100), "200 "),
        (of_fields(101), "431 "),
        (of_fields(1_000), "431 "),
    ] {
        for size in [head.len(), 16_000, 1_000] {
            let parts = head.as_bytes().chunks(size).map(<[u8]>::to_vec);
            let answer = written(server, parts.collect()).await;
            let what = (head.len(), size, answer.lines().next());
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{what:?}"
            );
        }
    }
}

#[tokio::test]
async fn paths_with_redundant_slashes_are_answered_and_never_redirected() {
    let server = served().await;
    for (line, answered) in [
        ("GET //", "read\n"),
        ("POST //read", "0"),
        ("POST /read/", "0"),
        ("POST //read//?a=/", "0"),
        ("POST http://localhost//read/", "0"),
    ] {
        let answer = written(server, vec![head(line, "").into()]).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{line}: {answer}");
        let end = format!("\r\n\r\n{answered}");
        assert!(answer.ends_with(&end), "{line}: {answer}");
    }
}
