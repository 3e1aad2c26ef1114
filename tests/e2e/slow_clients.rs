//! Clients that send nothing, or not all: their connections end after the times that the service states.

use std::time::Duration;

use e2e::{System, event::events};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// More than the longest of the stated times, a minute for a body.
const DEADLINE: Duration = Duration::from_secs(100);

/// What the server answers before it closes the connection.
async fn answer(mut connection: TcpStream) -> String {
    let mut answer = String::new();
    let read = timeout(DEADLINE, connection.read_to_string(&mut answer));
    // A connection that is reset is closed as well.
    let _ = read.await.expect("the connection is closed");
    answer
}

#[tokio::test]
async fn clients_that_are_too_slow_are_closed_and_the_others_go_on() {
    let system = System::start().await;
    let open = async |sent: &str| {
        let mut connection = TcpStream::connect(system.api().address()).await.unwrap();
        connection.write_all(sent.as_bytes()).await.unwrap();
        connection
    };
    let silent = open("").await;
    let half_a_head = open("GET /stats HTTP/1.1\r\nhost: e2").await;
    let half_a_body = open("POST /publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[").await;
    system.api().publish(&events("orders", 0..5)).await;
    assert_eq!(system.settled().await.counts(), [5, 5, 0]);
    let (silent, half_a_head, half_a_body) =
        tokio::join!(answer(silent), answer(half_a_head), answer(half_a_body));
    assert!(!silent.contains("200 OK") && !half_a_head.contains("200 OK"));
    assert!(half_a_body.starts_with("HTTP/1.1 408 "), "{half_a_body}");
    assert!(
        half_a_body.contains("application/problem+json"),
        "{half_a_body}"
    );
    system.api().publish(&events("orders", 0..5)).await;
    assert_eq!(system.settled().await.counts(), [10, 5, 5]);
}
