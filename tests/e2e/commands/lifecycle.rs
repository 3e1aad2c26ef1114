//! How the aggregator starts and stops.

use std::{process::Command, time::Duration};

use e2e::{
    System,
    aggregator::Aggregator,
    event::{array, events},
    service::{Service, Signal},
    wait::{DEADLINE, eventually, holds},
    workspace,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An address without a broker.
const NOWHERE: &str = "nats://127.0.0.1:9";

#[tokio::test]
async fn sigterm_under_load_stops_it_gracefully_after_everything_received_is_appended() {
    let mut system = System::start().await;
    let mut publisher = system.endless_publisher();
    let jetstream = system.broker.jetstream().await;
    for _ in 0..2 {
        let received = system.api().stats().await.unwrap().received;
        system.api().received_at_least(received + 1000).await;
        let ended = system.aggregator.stop().await;
        assert!(publisher.service().is_running(), "it is stopped under load");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        // Everything it acked is in its store: no ack without the rows.
        let stream = jetstream.get_stream("EVENTS").await.unwrap();
        let durable = stream.consumer_info("aggregator").await.unwrap();
        let applied = system.store().number("SELECT max(last) FROM applied");
        assert!(durable.ack_floor.stream_sequence <= u64::try_from(applied).unwrap());
        let wal = system.data_dir().join("aggregator.db-wal");
        let left = wal.metadata().map_or(0, |wal| wal.len());
        assert_eq!(left, 0, "the WAL is checkpointed");
        system.aggregator.start_again().await;
    }
    let run = publisher.finished().await;
    let [sent, unique, duplicates] = run.sent();
    assert_eq!(run.verified(), [sent, unique, duplicates]);
    assert_eq!(system.settled().await.counts(), [sent, unique, duplicates]);
}

/// Sends a request except for its last byte, and waits until the server reads it.
async fn open_request(system: &System, body: &str) -> TcpStream {
    let mut connection = TcpStream::connect(system.api().address()).await.unwrap();
    // The server sends 100 Continue when it begins to read the body.
    let head = format!(
        "POST /publish HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut response = [0; 25];
    connection.read_exact(&mut response).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 100 Continue\r\n\r\n");
    let (almost_all, _) = body.split_at(body.len() - 1);
    connection.write_all(almost_all.as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn a_request_that_is_open_at_sigterm_is_finished() {
    let mut system = System::start().await;
    let mut connection = open_request(&system, &array(&events("orders", 0..5))).await;
    system.aggregator.service().signal(Signal::TERM);
    eventually("no further connection is taken", async || {
        let again = TcpStream::connect(system.api().address()).await;
        holds(again.is_err(), again)
    })
    .await;
    connection.write_all(b"]").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let ended = system.aggregator.service().ended(DEADLINE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    system.aggregator.start_again().await;
    assert_eq!(system.settled().await.counts(), [5, 5, 0]);
}

#[tokio::test]
async fn a_second_signal_stops_it_immediately() {
    let mut system = System::start().await;
    // A request that is never finished prevents a graceful end.
    let _connection = open_request(&system, &array(&events("orders", 0..5))).await;
    system.aggregator.service().signal(Signal::INT);
    eventually("the first signal was noticed", async || {
        let again = TcpStream::connect(system.api().address()).await;
        holds(again.is_err(), again)
    })
    .await;
    system.aggregator.service().signal(Signal::INT);
    let ended = system
        .aggregator
        .service()
        .ended(Duration::from_secs(5))
        .await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[tokio::test]
async fn a_frozen_aggregator_continues_where_it_stopped() {
    let mut system = System::start().await;
    let publisher = system.endless_publisher();
    system.api().received_at_least(500).await;
    system.aggregator.service().signal(Signal::STOP);
    // Messages that are published meanwhile wait in the stream.
    let jetstream = system.broker.jetstream().await;
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    let before = stream.info().await.unwrap().state.last_sequence;
    eventually("the stream grows without it", async || {
        let info = stream.get_info().await.map_err(|err| err.to_string())?;
        holds(info.state.last_sequence > before + 10, info.state)
    })
    .await;
    system.aggregator.service().signal(Signal::CONT);
    let run = publisher.finished().await;
    let [sent, unique, duplicates] = run.sent();
    assert_eq!(run.verified(), [sent, unique, duplicates]);
    assert_eq!(system.settled().await.counts(), [sent, unique, duplicates]);
}

#[tokio::test]
async fn invalid_settings_exit_with_one_line_and_code_2() {
    let data = tempfile::tempdir().unwrap();
    for (flags, named) in [
        (&["--nats-url", "no address"][..], "--nats-url"),
        (&["--stream", "no.name"], "--stream"),
        (&["--durable", ""], "--durable"),
        (&["--stream-max-bytes", "plenty"], "--stream-max-bytes"),
        (
            &["--stream-max-bytes", "2MiB", "--stream-keep-bytes", "3MiB"],
            "--stream-keep-bytes",
        ),
        (&["--stream-replicas", "0"], "--stream-replicas"),
        (&["--log-level", "a=b=c"], "--log-level"),
        (&["--log-format", "xml"], "--log-format"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let url = if named == "--nats-url" {
            "no address"
        } else {
            NOWHERE
        };
        let flags = if named == "--nats-url" { &[] } else { flags };
        let ended = Aggregator::refused(url, data.path(), flags).await;
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains(named), "{}", ended.stderr);
    }
    let mut command = Command::new(workspace::binary("aggregator"));
    command.env("AGGREGATOR_LISTEN", "nowhere");
    let ended = Service::start("aggregator", &mut command)
        .ended(DEADLINE)
        .await;
    assert_eq!(ended.code, Some(2), "the environment is checked as well");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(
        std::fs::read_dir(data.path()).unwrap().next().is_none(),
        "nothing was made"
    );
}

#[tokio::test]
async fn the_exit_code_of_the_health_check_says_whether_it_is_healthy() {
    let mut system = System::start().await;
    let listen = system.api().address();
    let check = async || {
        let mut command = Command::new(workspace::binary("aggregator"));
        command
            .args(["healthcheck", "--listen", &listen])
            // Docker passes its proxy settings to every container.
            .envs(["HTTP_PROXY", "http_proxy"].map(|name| (name, "http://127.0.0.1:9")));
        Service::start("healthcheck", &mut command)
            .ended(DEADLINE)
            .await
            .code
    };
    assert_eq!(check().await, Some(0));
    system.broker.stop().await;
    system.aggregator.unhealthy().await;
    assert_eq!(check().await, Some(1));
    system.aggregator.kill();
    assert_eq!(check().await, Some(1));
}
