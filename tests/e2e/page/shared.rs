//! The page of an aggregator that shares its store with another one.

use e2e::{aggregator::Aggregator, broker::Broker, clock::Clock, database::Database, event::event};

use super::Page;

/// Stores an event as if another aggregator had, in the message with this sequence.
fn store(database: &Database, sequence: u32) {
    database.sql(&format!(
        "INSERT INTO events (fingerprint, content, place, topic, event_id, \"timestamp\", timestamp_filled, source, payload, processed_at) \
         VALUES (decode(lpad(to_hex({sequence}), 32, '0'), 'hex'), 0, {sequence}::bigint << 17, 'orders', 'message-{sequence}', \
         '2026-01-31T12:00:00Z', false, 'till', '{{}}', 1800000000000000 - {sequence})"
    ));
}

#[tokio::test]
async fn events_beyond_the_floor_are_listed_once() {
    let Some(database) = Database::new() else {
        return;
    };
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let url = database.url();
    let start = async || {
        let nats = broker.url_of("aggregator");
        let aggregator = Aggregator::start(&nats, directory.path(), &["--store", &url]).await;
        aggregator.healthy().await;
        aggregator
    };
    let aggregator = start().await;
    let other = start().await;
    aggregator
        .api()
        .store(&[event("orders", "message-1")])
        .await;
    // Messages 2 and 3 are not applied yet, 4 is.
    store(&database, 4);
    let Some(page) = Page::open(aggregator.api(), "").await else {
        return;
    };
    let ids = "#event-rows bdi:nth-of-type(2)";
    page.lists(ids, &["message-4", "message-1"]).await;
    store(&database, 2);
    store(&database, 3);
    database.sql("INSERT INTO applied SELECT max(id), s, 0 FROM incarnations, generate_series(2, 4) s GROUP BY s");
    page.lists(ids, &["message-3", "message-2", "message-4", "message-1"])
        .await;
    page.browser
        .shows("#aggregators", "2 aggregators share the store: ")
        .await;
    page.browser.shows("#aggregators", "(this one)").await;
    page.browser.screenshot_of_page("shared").await;
    drop(other);
    page.ends_well().await;
}

#[tokio::test]
async fn an_aggregator_whose_clock_is_ahead_shows_the_others_as_alive() {
    let Some(database) = Database::new() else {
        return;
    };
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::new(directory.path(), "ahead").unwrap();
    clock.shift(3_600);
    let clock = clock.environment();
    let clock = clock
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let url = database.url();
    let start = async |environment| {
        let (nats, flags) = (broker.url_of("aggregator"), ["--store", url.as_str()]);
        let data = directory.path();
        let aggregator = Aggregator::start_with(&nats, data, &flags, environment).await;
        aggregator.healthy().await;
        aggregator
    };
    let ahead = start(&clock).await;
    let _other = start(&[]).await;
    ahead.api().store(&[event("orders", "1")]).await;
    let Some(page) = Page::open(ahead.api(), "").await else {
        return;
    };
    page.browser
        .shows("#aggregators", "2 aggregators share the store: ")
        .await;
    page.browser
        .shows("#warnings", "ahead of that of the database")
        .await;
    let shown = page.browser.text("#aggregators").await;
    assert!(!shown.contains("last seen"), "{shown}");
    page.ends_well().await;
}
