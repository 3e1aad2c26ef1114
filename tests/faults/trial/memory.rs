//! The aggregator's peak memory with a large backlog, poison messages, idle connections, and clients that read
//! slowly.

use std::time::Duration;

use e2e::{
    aggregator::Aggregator,
    broker::{self, process::Server},
    event::event,
    port,
    publisher::publish,
    wait::{holds, within},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::sleep,
};

/// The memory that the aggregator is given, in MiB.
const GIVEN: u64 = 256;

const FLAGS: [&str; 6] = [
    "--memory",
    "256MiB",
    "--stream-max-bytes",
    "8GiB",
    "--stream-keep-bytes",
    "4GiB",
];

/// Far more than it takes to apply a backlog.
const DEADLINE: Duration = Duration::from_mins(20);

/// What slow readers request: every kind of response that can be large.
const REQUESTS: [&str; 11] = [
    "/events?limit=1000",
    "/events?limit=1000&contains=x",
    "/events?format=ndjson",
    "/rejected?limit=1000",
    "/conflicts?limit=1000",
    "/duplicates?limit=1000",
    "/topics?limit=1000",
    "/topics?limit=1000&sort=duplicate_share",
    "/stats",
    "/events/tail",
    "/live",
];

/// Clients that read slowly.
const SLOW: usize = 200;

/// How often each of them reads, and how much.
const SLOW_PACE: Duration = Duration::from_secs(8);
const SLOW_BYTES: usize = 2 * 1024;

/// Reads before the peak is measured: longer than any response may take.
const SLOW_READS: usize = 12;

/// Poison messages.
const STORM: usize = 200_000;

/// Whether it kept to what it was given.
pub async fn memory(backlog: u64) -> bool {
    let data = tempfile::tempdir().expect("a temporary directory can be created");
    let port = port::free();
    let _nats = Server::start_in(port, &data.path().join("stream"), None);
    let url = broker::url(port);
    broker::ready(&url).await;
    // The stream is created by an aggregator, and filled while none runs.
    let store = data.path().join("store");
    let mut aggregator = Aggregator::start(&url, &store, &FLAGS).await;
    aggregator.healthy().await;
    aggregator.stop().await;
    let count = backlog.to_string();
    let run = publish(
        &url,
        &["generate", "--count", &count, "--run-id", "backlog"],
    )
    .await;
    run.succeeded();
    aggregator.start_again().await;
    applied(&aggregator).await;
    let backlog = format!("a backlog of {backlog} events");
    let mut is_bounded = is_below(&mut aggregator, &backlog);

    let client = async_nats::connect(&url).await;
    let client = client.expect("the broker can be connected to");
    for number in 0..STORM {
        let body = vec![b'['; 1 + number % 4_000];
        let sent = client.publish("events.poison", body.into()).await;
        sent.expect("a message can be sent");
    }
    client.flush().await.expect("messages are sent");
    applied(&aggregator).await;
    is_bounded &= is_below(&mut aggregator, &format!("{STORM} poison messages"));

    let mut connections = Vec::new();
    for _ in 0..1_000 {
        let address = aggregator.api().address();
        connections.push(TcpStream::connect(address).await.expect("a connection"));
    }
    for byte in *b"POST /publish " {
        for connection in connections.iter_mut().step_by(2) {
            // The service may have closed the connection.
            let _ = connection.write_all(&[byte]).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
    is_bounded &= is_below(&mut aggregator, "1000 idle connections");
    drop(connections);

    fill(&client, &aggregator).await;
    slow_readers(&client, &aggregator).await;
    is_bounded &= is_below(&mut aggregator, "slow readers after all that");
    // The peak of a process that has done nothing else before.
    aggregator.stop().await;
    aggregator.start_again().await;
    aggregator.healthy().await;
    slow_readers(&client, &aggregator).await;
    is_bounded & is_below(&mut aggregator, "slow readers alone")
}

/// Fills every kind of page to its maximum size.
async fn fill(client: &async_nats::Client, aggregator: &Aggregator) {
    for number in 0..100 {
        // Six bytes each as JSON.
        let body = vec![1; 512 * 1024 - number];
        let sent = client.publish("events.poison", body.into()).await;
        sent.expect("a message can be sent");
    }
    client.flush().await.expect("messages are sent");
    applied(aggregator).await;
    for number in 0..1_000 {
        let name = format!("{}{number:04}", "\u{1}".repeat(251));
        for source in ["first", "second"] {
            let mut event = event(&name, &name).with_source(source);
            if number < 100 {
                event = event.with_size(250_000);
            }
            aggregator.api().publish(&[event]).await;
        }
    }
    applied(aggregator).await;
}

/// Clients that request everything and read next to nothing of it, while events arrive.
async fn slow_readers(client: &async_nats::Client, aggregator: &Aggregator) {
    let address = aggregator.api().address();
    let mut connections = Vec::new();
    for path in REQUESTS.iter().cycle().take(SLOW) {
        let socket = TcpSocket::new_v4().expect("a socket");
        // A small buffer, so that the client's system holds little of a response and the aggregator has to hold the
        // rest.
        socket
            .set_recv_buffer_size(4 * 1024)
            .expect("a small buffer");
        let address = address.parse().expect("an address");
        let mut connection = socket.connect(address).await.expect("a connection");
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let sent = connection.write_all(head.as_bytes()).await;
        sent.expect("a request is sent");
        connections.push(connection);
    }
    for round in 0..SLOW_READS {
        let mut part = vec![0; SLOW_BYTES];
        for connection in &mut connections {
            // The connection may be closed, or have no data yet.
            let _ = connection.try_read(&mut part);
        }
        // For the tails.
        let event = event("tailed", &format!("{round}")).with_size(400_000);
        aggregator.api().publish(&[event]).await;
        client.flush().await.expect("the broker is connected");
        sleep(SLOW_PACE).await;
    }
}

async fn applied(aggregator: &Aggregator) {
    within(DEADLINE, "everything is applied", async || {
        let stats = aggregator.api().stats().await?;
        holds(stats.pending == Some(0), &stats)
    })
    .await;
}

/// Prints the peak so far; returns whether it is below the memory that was given.
fn is_below(aggregator: &mut Aggregator, what: &str) -> bool {
    let file = format!("/proc/{}/status", aggregator.service().id());
    let status = std::fs::read_to_string(file).expect("Linux has /proc");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    let peak: u64 = peak.expect("a process has a peak");
    println!("{what}: peak {} MiB of {GIVEN} MiB", peak / 1024);
    peak < GIVEN * 1024
}
