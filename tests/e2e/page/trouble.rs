//! Warnings: shown at the top in words, and removed when the condition ends.

use std::time::Duration;

use e2e::{
    System,
    aggregator::Aggregator,
    broker::Broker,
    disk::Disk,
    event::{array, event, events},
    nginx::Nginx,
    proxy::{Conditions, Proxy},
    wait::{eventually, holds},
};

use super::Page;

/// The time within which the page must show a warning.
const SOON: Duration = Duration::from_secs(5);

/// The watchdog checks after 30 s; a stall is not detected before.
const STALL: Duration = Duration::from_mins(2);

impl Page {
    /// Waits until this is the only warning, in words and in the state.
    async fn warns(&self, deadline: Duration, title: &str) {
        let warned = format!(
            "document.querySelectorAll('#warnings p').length === 1 \
             && document.querySelector('#warnings strong').textContent === '{title}'"
        );
        self.browser.until_within(deadline, &warned).await;
        self.browser.shows("#state", title).await;
        let text = self.browser.text("#warnings p").await;
        assert!(text.len() > title.len() + 20, "only {text}");
    }

    /// Waits until there is no warning.
    pub(super) async fn is_well(&self, deadline: Duration) {
        self.browser
            .until_within(
                deadline,
                "document.getElementById('warnings').textContent === ''",
            )
            .await;
        self.browser.shows("#state", "All is well.").await;
    }

    /// The address of the tab's icon.
    async fn icon(&self) -> String {
        let icon = "document.querySelector('link[rel=icon]').getAttribute('href')";
        let icon = self.browser.value(icon).await;
        icon.as_str().expect("the page has an icon").to_owned()
    }
}

#[tokio::test]
async fn a_lost_broker_is_shown_within_seconds_until_it_is_back() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.is_well(SOON).await;
    page.browser.shows("#recovery", "No problem since ").await;
    page.browser
        .shows("#recovery", "when the aggregator started.")
        .await;
    assert_eq!(page.icon().await, "page/icon.svg");
    let before = page.browser.value("Date.now()").await;
    system.broker.stop().await;
    page.warns(SOON, "Broker lost.").await;
    page.browser
        .shows(
            "#warnings p",
            "No connection to the broker: connection refused. Check nats-server",
        )
        .await;
    let text = page.browser.text("#warnings p").await;
    assert_eq!(text.matches("onnection refused").count(), 1, "{text}");
    assert!(!text.contains("IO error"), "{text}");
    // Trouble is seen in the tab, too.
    assert_eq!(page.icon().await, "page/icon-trouble.svg");
    let title = page.browser.value("document.title").await;
    assert_eq!(title, "Broker lost · Event aggregator");
    // Since when, to the second, also for those who open the page later; and for how long.
    let since = "Date.parse(document.querySelector('#warnings time').dateTime)";
    let began = page.browser.value(since).await;
    let is_so = format!("{began} >= {before} - 1000 && {began} <= Date.now()");
    assert_eq!(page.browser.value(&is_so).await, true, "{before} {began}");
    page.browser
        .shows("#warnings .since", "UTC, for 3 s.")
        .await;
    page.browser.reload().await;
    page.warns(SOON, "Broker lost.").await;
    assert_eq!(page.browser.value(since).await, began);
    page.browser.screenshot("broker-lost").await;
    // Stored events remain visible.
    page.counts("unique", 3).await;
    page.browser.shows("#count-pending", "–").await;
    let hidden = "document.getElementById('recovery').hidden";
    assert_eq!(page.browser.value(hidden).await, true);
    system.broker.start_again().await;
    system.aggregator.healthy().await;
    page.is_well(SOON).await;
    // What was is said, also to those who open the page later.
    let ended = "Date.parse(document.querySelector('#recovery time').dateTime)";
    page.browser
        .shows("#recovery", "; before, the broker was lost for ")
        .await;
    let until = page.browser.value(ended).await;
    let is_so = format!("{until} > {began} && {until} <= Date.now()");
    assert_eq!(page.browser.value(&is_so).await, true, "{began} {until}");
    page.browser.screenshot("broker-back").await;
    page.browser.reload().await;
    page.browser
        .shows("#recovery", "; before, the broker was lost for ")
        .await;
    assert_eq!(page.browser.value(ended).await, until);
    assert_eq!(page.icon().await, "page/icon.svg");
    assert_eq!(
        page.browser.value("document.title").await,
        "Event aggregator"
    );
    system.api().publish(&events("orders", 3..4)).await;
    page.counts("unique", 4).await;
    page.ends_well().await;
}

#[tokio::test]
async fn an_aggregator_that_does_not_respond_is_shown_until_it_returns() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.is_well(SOON).await;
    let quiet = "getComputedStyle(document.querySelector('#sum')).color";
    let value = "getComputedStyle(document.querySelector('#count-received')).color";
    assert_eq!(
        page.browser.value(&format!("{value} === {quiet}")).await,
        false
    );
    page.browser.shows("#chart-events b", "/s").await;
    system.aggregator.kill();
    page.warns(2 * SOON, "The aggregator does not respond.")
        .await;
    // Nothing passes for current: values are grey, rates are gone, ages go on counting, and the title says why.
    page.browser.until(&format!("{value} === {quiet}")).await;
    page.lists("#chart-events b", &["–"; 3]).await;
    let age = "parseInt(document.querySelector('#topic-rows td.last').textContent)";
    let before = page.browser.value(age).await;
    page.browser.until(&format!("{age} > {before}")).await;
    let title = page.browser.value("document.title").await;
    assert_eq!(title, "The aggregator does not respond · Event aggregator");
    page.browser.shows("#warnings .since", "Since ").await;
    // The icon of trouble was loaded while the aggregator responded.
    assert_eq!(page.icon().await, "page/icon-trouble.svg");
    let load = "const image = new Image(); image.src = document.querySelector('link[rel=icon]').href; return image.decode().then(() => true)";
    assert_eq!(page.browser.run(load, Vec::new()).await, true);
    page.browser.screenshot("aggregator-gone").await;
    system.aggregator.start_again().await;
    // The browser itself retries after some seconds.
    page.is_well(Duration::from_secs(20)).await;
    page.browser
        .until("document.title === 'Event aggregator'")
        .await;
    system.api().publish(&events("orders", 3..4)).await;
    page.counts("unique", 4).await;
    page.browser.until(&format!("{value} !== {quiet}")).await;
    page.browser
        .shows("#recovery", "; before, the aggregator did not respond for ")
        .await;
    page.browser
        .shows("#event-rows li:first-child", "id-3")
        .await;
    // The browser logs what failed meanwhile, also while the store was being opened.
    page.ends_well_but(&["net::ERR_", "status of 503"]).await;
}

#[tokio::test]
async fn a_proxy_that_holds_back_the_streams_is_named_although_requests_succeed() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    // It buffers responses although it is asked not to.
    let buffering = format!(
        "location / {{ proxy_pass http://{}; proxy_ignore_headers X-Accel-Buffering; \
         proxy_buffers 16 256k; proxy_buffer_size 256k; proxy_busy_buffers_size 512k; }}",
        system.api().address()
    );
    let Some(nginx) = Nginx::with("", &buffering).await else {
        return;
    };
    let Some(page) = Page::open(nginx.api(), "").await else {
        return;
    };
    page.warns(2 * SOON, "Live updates do not arrive.").await;
    page.browser.shows("#warnings", "proxy_buffering off").await;
    // What requests return is shown.
    page.browser.shows("#topic-rows", "orders").await;
    page.browser.shows("#rejected-note", "None").await;
    page.lists("#event-rows bdi:nth-of-type(2)", &["id-2", "id-1", "id-0"])
        .await;
    page.browser
        .shows("#events-note", "New events do not arrive")
        .await;
    page.browser.screenshot_of_page("held-back").await;
    page.ends_well().await;
}

#[tokio::test]
async fn the_page_is_live_behind_an_nginx_with_no_setting_but_proxy_pass() {
    let system = System::start().await;
    let Some(nginx) = Nginx::before(system.api()).await else {
        return;
    };
    let Some(page) = Page::open(nginx.api(), "").await else {
        return;
    };
    page.is_well(SOON).await;
    for id in ["1", "2"] {
        system.api().publish(&[event("orders", id)]).await;
        page.browser
            .shows("#event-rows li:first-child bdi:nth-of-type(2)", id)
            .await;
    }
    page.counts("unique", 2).await;
    page.is_well(SOON).await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_stall_is_shown_until_messages_are_applied_again() {
    let broker = Broker::start().await;
    let port = broker.url().rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(port).await;
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&proxy.url(), data.path(), &[]).await;
    aggregator.healthy().await;
    let Some(page) = Page::open(aggregator.api(), "").await else {
        return;
    };
    proxy.set(Conditions::DropDeliveries);
    aggregator.api().publish(&events("orders", 0..3)).await;
    page.warns(STALL, "Stalled.").await;
    page.counts("pending", 1).await;
    page.browser.screenshot("stalled").await;
    proxy.set(Conditions::Fair);
    page.is_well(STALL).await;
    page.counts("unique", 3).await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_full_disk_is_shown_within_seconds_until_there_is_space() {
    let disk = match Disk::new(16) {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!("skipped: no small disk can be mounted: {reason}");
            return;
        }
    };
    let broker = Broker::start().await;
    let aggregator = Aggregator::start(&broker.url(), disk.path(), &[]).await;
    aggregator.healthy().await;
    let api = aggregator.api();
    api.store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(api, "").await else {
        return;
    };
    // It is small, so that the page warns before it is full.
    page.warns(SOON, "Little disk space is left.").await;
    page.browser.shows("#warnings", "MiB is free").await;
    page.browser.shows("#count-disk", "MiB").await;
    page.browser.screenshot("disk-small").await;
    let filler = disk.fill();
    // Until one does not fit: writes that fit into the store's existing files still succeed.
    let mut number = 0;
    eventually("the store is full", async || {
        number += 1;
        let large = event("orders", &format!("large-{number}")).with_size(200_000);
        api.try_publish(&[large]).await?;
        let health = api.get("/health").await?;
        holds(health.status == 503, health.text())
    })
    .await;
    page.warns(SOON, "Disk full.").await;
    page.browser.screenshot("disk-full").await;
    drop(filler);
    page.warns(Duration::from_secs(30), "Little disk space is left.")
        .await;
    page.counts("unique", 3 + number).await;
    page.ends_well().await;
}

#[tokio::test]
async fn missing_messages_are_shown_until_they_are_acknowledged() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..1)).await;
    system.aggregator.stop().await;
    let jetstream = system.broker.jetstream().await;
    let body = array(&events("orders", 1..2));
    let sent = jetstream.publish("events.orders", body.into()).await;
    let lost = sent.unwrap().await.unwrap().sequence;
    let body = array(&events("orders", 2..3));
    let sent = jetstream.publish("events.orders", body.into()).await;
    sent.unwrap().await.unwrap();
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    assert!(stream.delete_message(lost).await.unwrap());
    system.aggregator.start_again().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.warns(Duration::from_secs(20), "Messages are missing.")
        .await;
    page.browser.shows("#warnings", "1 ").await;
    page.browser.screenshot("missing").await;
    page.browser.click("#warnings button").await;
    page.is_well(SOON).await;
    page.browser
        .shows("#recovery", "; before, messages were missing for ")
        .await;
    let health = system.api().get("/health").await.unwrap().json();
    assert_eq!(health["missing"], serde_json::Value::Null, "{health}");
    page.ends_well().await;
}
