//! The aggregator's peak memory with a large backlog, with poison, and with idle connections.

use std::time::Duration;

use e2e::{
    aggregator::Aggregator,
    broker::{self, process::Server},
    port,
    publisher::publish,
    wait::{holds, within},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

/// What it must stay under, in KiB.
const MOST: u64 = 400_000;

const FLAGS: [&str; 4] = ["--stream-max-bytes", "8GiB", "--stream-keep-bytes", "4GiB"];

/// Far more than it takes to apply a backlog.
const DEADLINE: Duration = Duration::from_mins(20);

/// Poisonous messages.
const STORM: usize = 200_000;

/// Whether it stayed under its bound.
pub async fn memory(backlog: u64) -> bool {
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let port = port::free();
    let _nats = Server::start_in(port, &data.path().join("stream"));
    let url = broker::url(port);
    broker::ready(&url).await;
    // The stream is made by an aggregator, and filled while there is none.
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
    let mut is_bounded = told(&mut aggregator, &format!("a backlog of {backlog} events"));

    let client = async_nats::connect(&url).await;
    let client = client.expect("the broker can be connected to");
    for number in 0..STORM {
        let body = vec![b'['; 1 + number % 4_000];
        let sent = client.publish("events.poison", body.into()).await;
        sent.expect("a message can be sent");
    }
    client.flush().await.expect("messages are sent");
    applied(&aggregator).await;
    is_bounded &= told(&mut aggregator, &format!("{STORM} poisonous messages"));

    let mut connections = Vec::new();
    for _ in 0..1_000 {
        let address = aggregator.api().address();
        connections.push(TcpStream::connect(address).await.expect("a connection"));
    }
    for byte in *b"POST /publish " {
        for connection in connections.iter_mut().step_by(2) {
            // The service may have had enough of it.
            let _ = connection.write_all(&[byte]).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
    is_bounded & told(&mut aggregator, "1000 idle connections")
}

async fn applied(aggregator: &Aggregator) {
    within(DEADLINE, "all is applied", async || {
        let stats = aggregator.api().stats().await?;
        holds(stats.pending == Some(0), &stats)
    })
    .await;
}

/// Tells the peak until now; whether it is under the bound.
fn told(aggregator: &mut Aggregator, what: &str) -> bool {
    let file = format!("/proc/{}/status", aggregator.service().id());
    let status = std::fs::read_to_string(file).expect("Linux tells of its processes");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    let peak: u64 = peak.expect("a process has a peak");
    println!("{what}: peak {} MiB", peak / 1024);
    peak < MOST
}
