//! Orders that were found to go wrong, each the shortest that shows it; and one delivery from end to end.

use std::time::Duration;

use aggregator::consumer::PATIENCE;

use super::{
    broker::Broker,
    message::Message,
    script::{Change, Pick, Step},
    server::{Mode, Server},
    stage::{Settings, Stage, eventually},
};

const SETTINGS: Settings = Settings {
    batch_events: 100,
    batch_wait_ms: 1,
    keep_bytes: u64::MAX,
    patience: PATIENCE,
};

fn messages(ids: std::ops::Range<u8>) -> Vec<Message> {
    ids.map(Message::of).collect()
}

#[tokio::test]
async fn one_delivery_is_stored_and_acked() {
    let steps = [
        Step::Publish(messages(0..1)),
        Step::Deliver(vec![Pick::Next(1)]),
        Step::Settle,
    ];
    Stage::play(SETTINGS, &steps).await;
}

/// Messages 1 to 10 are applied. The broker loses 6 to 10 and gives these numbers out again, and two more, before
/// the aggregator is back: the last number is not behind what is applied, and the durable is gone, so nothing but
/// the messages themselves tells that 6 to 10 are others.
#[tokio::test]
async fn numbers_given_out_again_up_to_past_the_old_last_are_delivered_though_the_durable_is_gone()
{
    let steps = [
        Step::Publish(messages(0..10)),
        Step::Deliver(vec![Pick::Next(10)]),
        Step::Settle,
        Step::Cut(vec![
            Change::LoseTail(5),
            Change::ForgetDurable,
            Change::Publish(messages(20..27)),
        ]),
    ];
    Stage::play(SETTINGS, &steps).await;
}

/// The same with a durable that holds deliveries without an ack, which is made anew for that.
#[tokio::test]
async fn numbers_given_out_again_up_to_past_the_old_last_are_delivered_though_the_durable_is_made_anew()
 {
    let steps = [
        Step::Publish(messages(0..10)),
        Step::LoseAcks(3),
        Step::Deliver(vec![Pick::Next(10)]),
        Step::Settle,
        Step::Cut(vec![Change::LoseTail(5), Change::Publish(messages(20..27))]),
    ];
    Stage::play(SETTINGS, &steps).await;
}

/// The broker takes messages and answers everything, and its durable delivers nothing.
#[tokio::test]
async fn a_broker_that_swallows_deliveries_is_asked_anew_and_health_says_so() {
    let settings = Settings {
        patience: Duration::from_millis(300),
        ..SETTINGS
    };
    let mut stage = Stage::start(settings).await;
    stage.broker.with(|server| server.publish(messages(0..5)));
    let health = stage.health().clone();
    eventually("it stalls, is pulled anew and stalls again", || {
        health.stalled() >= 2
    })
    .await;
    let failing = health.failing();
    assert!(
        failing["progress"].contains("5 messages wait"),
        "{failing:?}"
    );

    stage.broker.with(|server| server.mode = Mode::Honest);
    eventually("what waited is applied", || health.failing().is_empty()).await;
    stage.settled().await;
    stage.stop().await;
}

/// Messages 1 to 10 are applied. While the connection stands, the broker loses 6 to 10 and gives these numbers out
/// again, and two more. Before any of them is delivered, the aggregator looks whether the stream is to be trimmed.
#[tokio::test]
async fn numbers_given_out_again_are_not_trimmed_for_what_was_applied_under_them() {
    let mut stage = Stage::start(Settings {
        keep_bytes: 0,
        ..SETTINGS
    })
    .await;
    stage.step(&Step::Publish(messages(0..10))).await;
    stage.step(&Step::Deliver(vec![Pick::Next(10)])).await;
    stage.settled().await;
    let looks = stage.broker.with(|server| {
        server.lose_tail(5);
        server.publish(messages(20..27));
        server.looks
    });
    let has_looked = |server: &mut Server| (server.looks >= looks + 4).then_some(());
    stage
        .broker
        .until("it looks at the stream", has_looked)
        .await;
    stage.finish().await;
}

/// Messages 1 to 3 are applied. While the connection stands, the broker loses 3 and gives the number to a message of
/// the same event. All that it holds is stored, so nothing but its time tells that it is another arrival.
#[tokio::test]
async fn a_duplicate_under_a_number_given_out_again_is_counted_and_not_taken_for_a_redelivery() {
    let steps = [
        Step::Publish(messages(0..3)),
        Step::Deliver(vec![Pick::Next(3)]),
        Step::Settle,
        Step::Change(Change::LoseTail(1)),
        Step::Publish(messages(2..3)),
        Step::Deliver(vec![Pick::Next(1)]),
    ];
    Stage::play(SETTINGS, &steps).await;
}

/// A broker that is too old is asked nothing and gives nothing, whether it is the first that is met, or comes after one
/// that is not; and as soon as it is upgraded all goes on.
#[tokio::test]
async fn a_broker_that_is_too_old_is_refused_on_every_connect() {
    let broker = Broker::start().await;
    broker.with(|server| server.version = "2.9.10");
    let mut stage = Stage::on(broker, SETTINGS).await;
    stage.refused("2.9.10").await;
    let is_asked = |server: &mut Server| server.looks > 0 || server.stream.config.is_some();
    assert!(!stage.broker.with(is_asked));
    stage.broker.with(|server| server.version = "2.10.6");
    stage.pulled().await;

    for (version, id) in [("2.10.5", 0), ("1.4.1", 1), ("unknown", 2)] {
        stage.step(&Step::Publish(messages(id..id + 1))).await;
        stage.cut().await;
        let deliveries = stage.broker.with(|server| {
            server.version = version;
            server.mode = Mode::Honest;
            server.deliveries
        });
        stage.open();
        stage.refused(version).await;
        let (pulls, delivered) = stage
            .broker
            .with(|server| (server.pulls(), server.deliveries));
        assert_eq!((pulls, delivered), (0, deliveries), "{version}");
        stage.broker.with(|server| server.version = "2.14.6");
        stage.pulled().await;
        stage.settled().await;
    }
    stage.finish().await;
}
