//! Clients that send nothing, or only a part: their connections are closed after the documented times.

use std::time::Duration;

use e2e::{System, event::events};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// More than the longest of the documented times, 75 s for an idle connection.
const DEADLINE: Duration = Duration::from_secs(120);

/// The server's response before it closes the connection.
async fn answer(mut connection: TcpStream) -> String {
    let mut answer = String::new();
    let read = timeout(DEADLINE, connection.read_to_string(&mut answer));
    // A reset connection counts as closed.
    let _ = read.await.expect("the connection is closed");
    answer
}

async fn open(system: &System, sent: &str) -> TcpStream {
    let mut connection = TcpStream::connect(system.api().address()).await.unwrap();
    connection.write_all(sent.as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn connections_of_clients_that_are_too_slow_are_closed_and_others_continue() {
    let system = System::start().await;
    let silent = open(&system, "").await;
    let half_a_head = open(&system, "GET /stats HTTP/1.1\r\nhost: e2").await;
    let half_a_body = open(&system, "POST /publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[").await;
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

/// A load balancer answers 502 for a connection that it still holds but the service has closed. Those in wide use
/// close idle connections after 60 s.
#[tokio::test]
async fn an_idle_connection_outlives_60_seconds_and_a_slow_head_does_not() {
    let system = System::start().await;
    let request = "GET /events/tail HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut tail = open(&system, request).await;
    let request = "GET /topics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut used = open(&system, request).await;
    read_until(&mut used, "\"next_cursor\":null}").await;
    let mut fresh = open(&system, "").await;
    let slow = async {
        let mut connection = open(&system, "").await;
        let (mut read, mut write) = connection.split();
        let mut answer = Vec::new();
        let dribble = async {
            loop {
                // At a byte per second the head would take an hour.
                if write.write_all(b"G").await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            _ = read.read_to_end(&mut answer) => {}
            () = dribble => {}
        }
        answer
    };
    let minute = sleep(Duration::from_secs(62));
    let (slow, ()) = tokio::join!(timeout(Duration::from_secs(60), slow), minute);
    assert_eq!(slow.expect("the slow head is cut"), b"");
    for connection in [&mut used, &mut fresh] {
        connection.write_all(request.as_bytes()).await.unwrap();
        read_until(connection, "\"next_cursor\":null}").await;
    }
    // Bytes do arrive, but no request is complete.
    system.api().publish(&events("orders", 0..1)).await;
    read_until(&mut tail, "\"orders\"").await;
    assert_eq!(
        (answer(used).await, answer(fresh).await),
        Default::default()
    );
}

async fn read_until(connection: &mut TcpStream, end: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(end) {
        let read = timeout(DEADLINE, connection.read_buf(&mut seen)).await;
        let bytes = read.expect("more arrives").unwrap();
        assert_ne!(bytes, 0, "{}", String::from_utf8_lossy(&seen));
    }
}
