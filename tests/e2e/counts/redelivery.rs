//! Messages that are delivered again after they were applied change only `redelivered`.

use async_nats::jetstream::consumer::pull;
use e2e::{
    System,
    event::events,
    wait::{eventually, holds},
};

#[tokio::test]
async fn redelivery_after_lost_acks_changes_only_redelivered() {
    let mut system = System::start().await;
    for start in 0..20 {
        let range = start * 10..start * 10 + 15;
        system.api().publish(&events("orders", range)).await;
    }
    let jetstream = system.broker.jetstream().await;
    let poison = jetstream.publish("events.orders", "no event".into()).await;
    poison.unwrap().await.unwrap();
    let mut before = system.settled().await;
    assert_eq!(before.counts(), [301, 205, 95]);
    assert_eq!((before.stats.rejected, before.stats.redelivered), (1, 0));
    let (contents, rejected) = (system.store().contents(), system.store().rejected());
    system.aggregator.stop().await;

    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    let messages = stream.info().await.unwrap().state.messages;
    assert_eq!(messages, 21);
    system.wind_back().await;
    system.aggregator.start_again().await;
    eventually("every message is delivered again", async || {
        let stats = system.api().stats().await?;
        holds(stats.redelivered >= messages, &stats)
    })
    .await;
    eventually("every message is acked again", async || {
        let info = stream.consumer_info("aggregator").await;
        let info = info.map_err(|err| err.to_string())?;
        let is_acked = info.ack_floor.stream_sequence == messages && info.num_ack_pending == 0;
        holds(is_acked, info)
    })
    .await;

    let after = system.settled().await;
    before.stats.redelivered = messages;
    before.stats.started_at.clone_from(&after.stats.started_at);
    before.stats.uptime_seconds = after.stats.uptime_seconds;
    assert_eq!(after, before);
    assert_eq!(system.store().contents(), contents);
    assert_eq!(system.store().rejected(), rejected);
}

#[tokio::test]
async fn a_missing_durable_is_recreated_at_the_position_of_the_store() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    system.settled().await;
    system.aggregator.stop().await;
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.delete_consumer("aggregator").await.unwrap();
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    system.api().publish(&events("orders", 5..15)).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [20, 15, 5]);
    assert_eq!(books.stats.redelivered, 0);
}

#[tokio::test]
async fn a_durable_ahead_of_the_store_is_recreated_so_that_nothing_is_skipped() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    system.settled().await;
    system.aggregator.stop().await;
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    // Another client acks, on the aggregator's durable, messages that the aggregator never received.
    for event in events("orders", 5..15) {
        let sent = jetstream.publish("events.orders", event.json().into());
        sent.await.unwrap().await.unwrap();
    }
    let durable = stream.get_consumer::<pull::Config>("aggregator").await;
    let stolen = durable.unwrap().fetch().max_messages(10).messages().await;
    let stolen = futures::StreamExt::collect::<Vec<_>>(stolen.unwrap()).await;
    assert_eq!(stolen.len(), 10);
    for message in stolen {
        message.unwrap().double_ack().await.unwrap();
    }
    system.aggregator.start_again().await;
    assert_eq!(system.settled().await.counts(), [20, 15, 5]);
}
