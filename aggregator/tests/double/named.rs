//! Orders that were found to fail, each reduced to the shortest; and one delivery from end to end.

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

/// Messages 1 to 10 are applied. The broker loses 6 to 10, and assigns these numbers and two more again before
/// the aggregator is back: the last number is not behind the applied ones, and the durable is gone, so only
/// the messages themselves show that 6 to 10 are others.
#[tokio::test]
async fn reused_numbers_up_to_past_the_old_last_are_delivered_although_the_durable_is_gone() {
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

/// The same with a durable that holds unacked deliveries, and is therefore recreated.
#[tokio::test]
async fn reused_numbers_up_to_past_the_old_last_are_delivered_although_the_durable_is_recreated() {
    let steps = [
        Step::Publish(messages(0..10)),
        Step::LoseAcks(3),
        Step::Deliver(vec![Pick::Next(10)]),
        Step::Settle,
        Step::Cut(vec![Change::LoseTail(5), Change::Publish(messages(20..27))]),
    ];
    Stage::play(SETTINGS, &steps).await;
}

/// The broker accepts messages and responds to every request, but its durable delivers nothing.
#[tokio::test]
async fn a_broker_that_loses_deliveries_is_pulled_again_and_health_reports_it() {
    let settings = Settings {
        patience: Duration::from_millis(300),
        ..SETTINGS
    };
    let mut stage = Stage::start(settings).await;
    stage.broker.with(|server| server.publish(messages(0..5)));
    let health = stage.health().clone();
    eventually("it stalls, is pulled again and stalls again", || {
        health.stalled() >= 2
    })
    .await;
    let failing = health.failing();
    assert!(
        failing["progress"].contains("5 messages are waiting"),
        "{failing:?}"
    );

    stage.broker.with(|server| server.mode = Mode::Honest);
    eventually("the waiting messages are applied", || {
        health.failing().is_empty()
    })
    .await;
    stage.settled().await;
    stage.stop().await;
}

/// Messages 1 to 10 are applied. Without losing the connection, the broker loses 6 to 10, and assigns these numbers
/// and two more again. Before any of them is delivered, the aggregator checks whether the stream must be trimmed.
#[tokio::test]
async fn reused_numbers_are_not_trimmed_because_of_earlier_messages_with_them() {
    let mut stage = Stage::start(Settings {
        keep_bytes: 0,
        ..SETTINGS
    })
    .await;
    stage.step(&Step::Publish(messages(0..10))).await;
    stage.step(&Step::Deliver(vec![Pick::Next(10)])).await;
    stage.settled().await;
    let checks = stage.broker.with(|server| {
        server.lose_tail(5);
        server.publish(messages(20..27));
        server.checks
    });
    let has_checked = |server: &mut Server| (server.checks >= checks + 4).then_some(());
    stage
        .broker
        .until("it checks the stream", has_checked)
        .await;
    stage.finish().await;
}

/// Messages 1 to 3 are applied. Without losing the connection, the broker loses 3 and assigns the number to a message of
/// the same event. All its elements are stored, so only its time shows that it is another arrival.
#[tokio::test]
async fn a_duplicate_under_a_reused_number_is_counted_and_not_taken_for_a_redelivery() {
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

/// A broker that is too old is sent no requests and delivers nothing, whether it is the first one, or follows one
/// that is not; when it is upgraded, consuming continues.
#[tokio::test]
async fn a_broker_that_is_too_old_is_refused_on_every_connect() {
    let broker = Broker::start().await;
    broker.with(|server| server.version = "2.9.10");
    let mut stage = Stage::on(broker, SETTINGS).await;
    stage.refused("2.9.10").await;
    let is_asked = |server: &mut Server| server.checks > 0 || server.stream.config.is_some();
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
