//! Permissions that are missing: the health and the publisher say at once what is refused, with the subject.

use e2e::{
    aggregator::Aggregator,
    api::Api,
    broker::{Broker, users::Users},
    event::events,
    publisher::Publisher,
    wait::{eventually, holds},
};

/// A broker whose users may not use a subject of `compose/nats.conf`.
async fn without(subject: &str) -> Broker {
    let users = Users::new();
    users.edit(&format!("\"{subject}\""), "\"nothing\"");
    Broker::with_users(users).await
}

/// Permits it again.
async fn permit(broker: &mut Broker, subject: &str) {
    broker
        .users()
        .edit("\"nothing\"", &format!("\"{subject}\""));
    broker.reload().await;
}

/// Waits until `/health` names the subject, in a check of this part or else in a notice.
async fn named(api: &Api, part: &str, subject: &str) {
    eventually("health names the subject", async || {
        let health = api.get("/health").await?;
        let json = health.json();
        let said = [&json["checks"][part], &json["notices"][part]];
        let said = said.iter().filter_map(|text| text.as_str());
        let is_named = said
            .filter(|text| text.contains("does not permit"))
            .any(|text| text.contains(subject));
        holds(is_named, health.text())
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_is_named_in_the_health_until_it_is_permitted() {
    for subject in [
        "$JS.API.STREAM.CREATE.EVENTS",
        "$JS.API.STREAM.INFO.EVENTS",
        "$JS.API.CONSUMER.CREATE.EVENTS.aggregator",
        "$JS.API.CONSUMER.MSG.NEXT.EVENTS.*",
    ] {
        let mut broker = without(subject).await;
        let data = tempfile::tempdir().unwrap();
        let aggregator = Aggregator::start(&broker.login("aggregator"), data.path(), &[]).await;
        let said = subject.trim_end_matches('*');
        named(aggregator.api(), "consumer", said).await;
        permit(&mut broker, subject).await;
        aggregator.healthy().await;
    }
}

#[tokio::test]
async fn refused_acks_are_named_in_the_health() {
    let subject = "$JS.ACK.EVENTS.aggregator.>";
    let mut broker = without(subject).await;
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&broker.login("aggregator"), data.path(), &[]).await;
    aggregator.healthy().await;
    aggregator.api().publish(&events("orders", 0..10)).await;
    named(aggregator.api(), "consumer", subject).await;
    // What was committed is stored once, however often it is delivered again.
    permit(&mut broker, subject).await;
    aggregator.healthy().await;
    assert_eq!(aggregator.api().settled().await.counts(), [10, 10, 0]);
}

#[tokio::test]
async fn answers_that_may_not_be_received_are_named_in_the_health() {
    let subject = "_INBOX_aggregator.>";
    let mut broker = without(subject).await;
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&broker.login("aggregator"), data.path(), &[]).await;
    named(aggregator.api(), "consumer", subject).await;
    permit(&mut broker, subject).await;
    aggregator.healthy().await;
}

#[tokio::test]
async fn refused_trimming_is_a_notice() {
    let subject = "$JS.API.STREAM.PURGE.EVENTS";
    let broker = without(subject).await;
    let data = tempfile::tempdir().unwrap();
    let flags = ["--stream-keep-bytes", "0"];
    let aggregator = Aggregator::start(&broker.login("aggregator"), data.path(), &flags).await;
    aggregator.healthy().await;
    aggregator.api().publish(&events("orders", 0..10)).await;
    named(aggregator.api(), "trimming", subject).await;
}

#[tokio::test]
async fn refused_events_are_named_in_the_health_until_some_are_confirmed() {
    let users = Users::new();
    users.edit("\"events\", \"events.>\"", "\"events.a\"");
    let broker = Broker::with_users(users).await;
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&broker.login("aggregator"), data.path(), &[]).await;
    aggregator.healthy().await;
    let refused = aggregator.api().try_publish(&events("b", 0..1)).await;
    assert!(refused.is_err(), "{refused:?}");
    named(aggregator.api(), "publish", "events.b").await;
    aggregator.api().publish(&events("a", 0..1)).await;
    aggregator.healthy().await;
}

#[tokio::test]
async fn the_publisher_names_what_is_refused() {
    for (subject, said) in [
        ("$JS.API.STREAM.INFO.EVENTS", "$JS.API.STREAM.INFO.EVENTS"),
        ("_INBOX_publisher.>", "_INBOX_publisher.>"),
    ] {
        let broker = without(subject).await;
        let url = broker.login("publisher");
        let mut publisher = Publisher::start(&url, &["generate", "--count", "1"]);
        eventually("the publisher names it", async || {
            let log = publisher.service().log().join("\n");
            holds(log.contains("does not permit") && log.contains(said), log)
        })
        .await;
    }
}
