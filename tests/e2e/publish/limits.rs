//! The limits of a request, from both sides.

use std::io;

use bytes::Bytes;
use e2e::{
    System,
    event::{array, event, events},
    wait::{eventually, holds},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MEBIBYTE: usize = 1024 * 1024;

#[tokio::test]
async fn ten_thousand_events_are_accepted_and_one_more_is_not() {
    let system = System::start().await;
    let mut all = events("orders", 0..10_001);
    let answer = system.api().post(array(&all)).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let error = &answer.json()["errors"][0];
    assert_eq!(error["code"], "too_many");
    assert_eq!(error["index"], serde_json::Value::Null);
    all.pop();
    system.api().publish(&all).await;
    assert_eq!(system.settled().await.counts(), [10_000, 10_000, 0]);
}

#[tokio::test]
async fn an_event_of_512_kib_is_accepted_and_one_byte_more_is_not() {
    let system = System::start().await;
    let most = event("orders", "most").with_size(MEBIBYTE / 2);
    let more = event("orders", "more").with_size(MEBIBYTE / 2 + 1);
    let answer = system.api().post(array(&[most.clone(), more])).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let error = &answer.json()["errors"][0];
    assert_eq!(
        (&error["index"], &error["code"]),
        (&1.into(), &"too_large".into())
    );
    system.api().publish(std::slice::from_ref(&most)).await;
    assert_eq!(system.settled().await.counts(), [1, 1, 0]);
    let stored = system
        .store()
        .query("SELECT payload FROM events", |row| row.get::<_, String>(0));
    assert!(stored == [most.payload], "the payload is returned");
}

#[tokio::test]
async fn a_body_of_16_mib_is_accepted_and_one_byte_more_is_413() {
    let system = System::start().await;
    let large: Vec<_> = (0..31)
        .map(|n| event("orders", &n.to_string()).with_size(MEBIBYTE / 2))
        .collect();
    let mut body = array(&large);
    body.push_str(&" ".repeat(16 * MEBIBYTE - body.len()));
    let answer = system.api().post(body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(system.settled().await.counts(), [31, 31, 0]);

    // The content length alone suffices for the refusal; the body need not be sent.
    let mut connection = TcpStream::connect(system.api().address()).await.unwrap();
    let request = format!(
        "POST /publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        16 * MEBIBYTE + 1
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let status = status_line(&mut connection).await;
    assert!(status.starts_with("HTTP/1.1 413"), "{status}");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_413_once_it_is_too_long() {
    let system = System::start().await;
    let mut connection = TcpStream::connect(system.api().address()).await.unwrap();
    let request = "POST /publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.write_all(request.as_bytes()).await.unwrap();
    let chunk = Bytes::from([b"100000\r\n".as_slice(), &vec![b' '; MEBIBYTE], b"\r\n"].concat());
    for _ in 0..16 {
        connection.write_all(&chunk).await.unwrap();
    }
    // At the limit; one more byte exceeds it.
    connection.write_all(b"1\r\n \r\n").await.unwrap();
    let status = status_line(&mut connection).await;
    assert!(status.starts_with("HTTP/1.1 413"), "{status}");
}

#[tokio::test]
async fn concurrent_bodies_beyond_64_mib_are_503_until_others_are_done() {
    let system = System::start().await;
    let small = array(&events("orders", 0..1));
    let mut held: Vec<Option<TcpStream>> = (0..4).map(|_| None).collect();
    // Four bytes are left once the server has read what was sent. Until then the small body may take the last of the
    // budget from a large one, which is refused, and is sent again.
    let refused = eventually("the bodies in flight are at their limit", async || {
        for connection in &mut held {
            if connection.as_ref().is_none_or(is_answered) {
                *connection = almost_whole(&system).await.ok();
            }
        }
        let answer = system.api().post(small.clone()).await;
        holds(answer.status == 503, answer.text())?;
        Ok(answer)
    })
    .await;
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    drop(held);
    eventually("there is room again", async || {
        let answer = system.api().post(small.clone()).await;
        holds(answer.status == 200, answer.text())
    })
    .await;
    assert_eq!(system.settled().await.stats.unique_processed, 1);
}

/// A connection that has sent the largest body except for its last byte.
async fn almost_whole(system: &System) -> io::Result<TcpStream> {
    let head = format!(
        "POST /publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        16 * MEBIBYTE
    );
    let mut connection = TcpStream::connect(system.api().address()).await?;
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(&vec![b' '; 16 * MEBIBYTE - 1]).await?;
    Ok(connection)
}

/// Whether the server has responded on the connection, or closed it.
fn is_answered(connection: &TcpStream) -> bool {
    let nothing_yet = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
    !connection.try_read(&mut [0]).is_err_and(nothing_yet)
}

async fn status_line(connection: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(connection.read_u8().await.expect("a response arrives"));
    }
    String::from_utf8(line).unwrap()
}
