//! Answers of the broker that a client has sent to a subject of the API, where they are requests. The broker does not check the subjects
//! of replies.

use async_nats::{HeaderMap, jetstream};
use e2e::{
    aggregator::Aggregator,
    broker::{
        Broker,
        users::{Users, options},
    },
    event::{event, events},
};

/// What a publisher may add to a message, in the hope that the broker's answer to it is empty or is sent elsewhere.
const HEADERS: [&[(&str, &str)]; 8] = [
    &[],
    &[("Nats-Msg-Id", "the same")],
    &[("Nats-Expected-Stream", "OTHER")],
    &[("Nats-Expected-Last-Sequence", "1")],
    &[("Nats-Rollup", "all")],
    &[("Nats-TTL", "1s")],
    // Of later brokers: the parts of an atomic batch are confirmed by empty messages, and a trace is sent to any subject.
    &[("Nats-Batch-Id", "batch"), ("Nats-Batch-Sequence", "1")],
    &[("Nats-Trace-Dest", "$JS.API.STREAM.PURGE.EVENTS")],
];

/// What would remove messages, or the durable.
const REMOVING: [&str; 3] = [
    "STREAM.PURGE.EVENTS",
    "STREAM.DELETE.EVENTS",
    "CONSUMER.DELETE.EVENTS.aggregator",
];

/// What keeps the broker from obeying is that its API is strict. That of 2.10 is not, and `SECURITY.md` says so.
#[tokio::test]
async fn the_answer_to_a_publisher_is_no_request_to_purge_or_delete_the_stream() {
    let broker = Broker::with_users(Users::new()).await;
    let (url, users) = (broker.url(), broker.users());
    let data = tempfile::tempdir().unwrap();
    let login = users.login("aggregator", &url);
    let aggregator = Aggregator::start(&login, data.path(), &[]).await;
    aggregator.healthy().await;
    aggregator.api().store(&events("orders", 0..5)).await;
    let publisher = users.options("publisher").connect(&url).await.unwrap();
    let event = event("orders", "more").json();
    for request in REMOVING {
        for subject in ["events.orders", "$JS.API.STREAM.INFO.EVENTS"] {
            for fields in HEADERS {
                let mut headers = HeaderMap::new();
                for (name, value) in fields {
                    headers.insert(*name, *value);
                }
                let (reply, body) = (format!("$JS.API.{request}"), event.clone().into());
                let sent = publisher.publish_with_reply_and_headers(subject, reply, headers, body);
                sent.await.unwrap();
            }
        }
    }
    // It handles what a client sends in order, and answers this last.
    let streams = jetstream::new(publisher);
    let sent = streams.publish("events.orders", event.into()).await;
    sent.unwrap().await.unwrap();
    assert_eq!(aggregator.api().settled().await.stats.unique_processed, 6);
    aggregator.healthy().await;
    let tests = options().connect(&url).await.unwrap();
    let mut stream = jetstream::new(tests).get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.consumer_count, 1);
    assert_eq!(stream.cached_info().state.first_sequence, 1);
}
