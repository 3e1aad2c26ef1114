//! Streams and durables that change behind the aggregator's back: it recovers by itself, or reports what is missing.

use e2e::{
    System,
    event::{array, events},
    wait::{eventually, holds},
};

#[tokio::test]
async fn messages_deleted_before_they_were_applied_are_missing_until_acknowledged() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..1)).await;
    system.settled().await;
    system.aggregator.stop().await;
    let jetstream = system.broker.jetstream().await;
    let mut deleted = Vec::new();
    for number in 1..=5 {
        let body = array(&events("orders", number..number + 1));
        let sent = jetstream.publish("events.orders", body.into()).await;
        let sequence = sent.unwrap().await.unwrap().sequence;
        if number % 2 == 0 {
            deleted.push(sequence);
        }
    }
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    for sequence in deleted {
        assert!(stream.delete_message(sequence).await.unwrap());
    }
    system.aggregator.start_again().await;
    let stats = eventually("everything in the stream is applied", async || {
        let stats = system.api().stats().await?;
        holds(stats.pending == Some(0), &stats)?;
        Ok(stats)
    })
    .await;
    assert_eq!((stats.unique_processed, stats.missing), (4, 2));
    let health = system.api().get("/health").await.unwrap().json();
    assert_eq!(health["missing"], 2, "{health}");
    let missing = system.api().get("/missing").await.unwrap().json();
    assert_eq!(missing["missing"].as_array().unwrap().len(), 2, "{missing}");

    let ended = system.aggregator.command(&["acknowledge-missing"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("2 sequences"), "{}", ended.stdout);
    assert_eq!(system.settled().await.counts(), [4, 4, 0]);
}

#[tokio::test]
async fn a_durable_deleted_under_load_is_recreated_and_nothing_is_lost() {
    let mut system = System::start().await;
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    for round in 0..5 {
        let numbers = round * 100..round * 100 + 150;
        system.api().publish(&events("orders", numbers)).await;
        stream.delete_consumer("aggregator").await.unwrap();
        // The next one can be deleted only when it exists.
        eventually("the durable is made again", async || {
            let info = stream.consumer_info("aggregator").await;
            info.map(drop).map_err(|err| err.to_string())
        })
        .await;
    }
    assert_eq!(system.settled().await.counts(), [750, 550, 200]);
    system.aggregator.healthy().await;
    assert!(system.aggregator.service().is_running());
}

#[tokio::test]
async fn a_stream_deleted_under_the_aggregator_is_recreated_and_continues() {
    let system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    system.settled().await;
    let jetstream = system.broker.jetstream().await;
    jetstream.delete_stream("EVENTS").await.unwrap();
    eventually("events are taken again", async || {
        let answer = system.api().post(array(&events("orders", 5..15))).await;
        holds(answer.status == 200, answer.text())
    })
    .await;
    let books = system.settled().await;
    assert_eq!(books.stats.unique_processed, 15);
    assert_eq!(books.stats.missing, 0);
    system.aggregator.healthy().await;
}
