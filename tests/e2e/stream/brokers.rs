//! The harness's own broker: what the other tests rely on.

use async_nats::jetstream::{self, stream};
use e2e::broker::Broker;

async fn stream(jetstream: &jetstream::Context) -> stream::Stream {
    let config = stream::Config {
        name: "KEPT".to_owned(),
        subjects: vec!["kept.>".to_owned()],
        ..stream::Config::default()
    };
    jetstream.get_or_create_stream(config).await.unwrap()
}

async fn publish(broker: &Broker, body: &'static str) {
    let jetstream = broker.jetstream().await;
    stream(&jetstream).await;
    let sent = jetstream.publish("kept.a", body.into()).await.unwrap();
    sent.await.unwrap();
}

async fn last(broker: &Broker) -> (u64, String) {
    let stream = stream(&broker.jetstream().await).await;
    let message = stream.get_last_raw_message_by_subject("kept.a").await;
    let message = message.unwrap();
    let body = String::from_utf8(message.payload.to_vec()).unwrap();
    (message.sequence, body)
}

#[tokio::test]
async fn messages_survive_a_stop_and_a_kill_of_the_broker() {
    let mut broker = Broker::start().await;
    let url = broker.url();
    publish(&broker, "before the stop").await;
    broker.stop().await;
    assert!(async_nats::connect(&url).await.is_err());
    broker.start_again().await;
    assert_eq!(broker.url(), url);
    assert_eq!(last(&broker).await, (1, "before the stop".to_owned()));

    publish(&broker, "before the kill").await;
    broker.kill().await;
    assert!(async_nats::connect(&url).await.is_err());
    broker.start_again().await;
    assert_eq!(last(&broker).await, (2, "before the kill".to_owned()));
}

#[tokio::test]
async fn two_brokers_are_independent() {
    let (one, other) = (Broker::start().await, Broker::start().await);
    publish(&one, "of the one").await;
    publish(&other, "of the other").await;
    assert_eq!(last(&one).await, (1, "of the one".to_owned()));
    assert_eq!(last(&other).await, (1, "of the other".to_owned()));
}
