//! The oldest broker that is tested; `tests/run.sh` installs it. Old brokers are known to lose messages that they
//! confirmed, so that is tested here.

use async_nats::{ConnectOptions, jetstream};
use e2e::{
    aggregator::Aggregator,
    broker::{
        self,
        process::{self, oldest},
    },
    event::event,
    port,
};

/// A stream that is full after some thousand messages.
const FLAGS: [&str; 4] = ["--stream-max-bytes", "1MiB", "--stream-keep-bytes", "0"];

/// Consecutive refusals after which the stream counts as full.
const REFUSALS: usize = 50;

/// While the aggregator is stopped, messages are published until the stream accepts no more. Those that it confirmed
/// are all applied when the aggregator is back.
#[tokio::test]
async fn a_full_stream_of_the_oldest_broker_keeps_all_that_it_confirmed() {
    let Some(program) = oldest() else {
        return;
    };
    let port = port::free();
    let _broker = process::Server::start_program(&program, port, &[]);
    let url = broker::url(port);
    broker::ready(&url).await;
    let data = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start(&url, data.path(), &FLAGS).await;
    aggregator.healthy().await;
    aggregator.stop().await;

    let client = ConnectOptions::new().connect(&url).await.unwrap();
    let jetstream = jetstream::new(client);
    let (mut confirmed, mut refused) = (0, 0);
    for number in 0_u64.. {
        let body = event("full", &number.to_string()).json();
        let sent = jetstream.publish("events.full", body.into()).await;
        match sent.unwrap().await {
            Ok(_) => (confirmed, refused) = (confirmed + 1, 0),
            Err(_) => refused += 1,
        }
        if refused == REFUSALS {
            break;
        }
    }
    assert!(confirmed > 1_000, "{confirmed}");

    aggregator.start_again().await;
    let books = aggregator.api().settled().await;
    assert_eq!(books.counts(), [confirmed, confirmed, 0]);
    assert_eq!(books.stats.missing, 0);
}
