//! The newest events, as they arrive.

use e2e::{
    System,
    event::{event, events},
};

use super::Page;

const NEWEST: &str = "#event-rows li:first-child";

#[tokio::test]
async fn events_appear_as_they_are_stored_and_wait_during_a_pause() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let summary = format!("{NEWEST} summary");
    for id in ["first", "second"] {
        system
            .api()
            .publish(&[event("orders", id).with_source("till")])
            .await;
        for part in [id, "orders", "till"] {
            page.browser.shows(&summary, part).await;
        }
    }
    page.browser.click("#pause").await;
    page.browser.shows("#pause", "Resume").await;
    system.api().publish(&events("orders", 0..3)).await;
    page.browser
        .shows("#events-note", "Paused; 3 new events")
        .await;
    page.browser.screenshot_of_page("paused").await;
    assert!(page.browser.text(&summary).await.contains("second"));
    page.counts("unique", 5).await;

    page.browser.click("#pause").await;
    page.browser.shows(&summary, "id-2").await;
    page.lists(
        "#event-rows bdi:nth-of-type(2)",
        &["id-2", "id-1", "id-0", "second", "first"],
    )
    .await;
    page.ends_well().await;
}

#[tokio::test]
async fn events_too_fast_to_read_are_skipped_and_a_pause_keeps_those_shown() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    system.api().store(&[event("orders", "read")]).await;
    page.browser.click(&format!("{NEWEST} summary")).await;
    system.api().store(&events("orders", 0..500)).await;
    page.browser
        .shows("#events-note", "Paused; 500 new events")
        .await;
    page.browser.click("#pause").await;
    page.browser.shows(NEWEST, "id-499").await;
    // The expanded one stays below the 50 newest.
    page.browser
        .until("document.querySelectorAll('#event-rows li').length === 51")
        .await;
    page.browser
        .shows("#event-rows li:last-child", "read")
        .await;
    page.ends_well().await;
}

/// Whether all of an element is within the window.
fn is_in_sight(selector: &str) -> String {
    format!(
        "(box => box.top >= 0 && box.bottom <= innerHeight && box.height > 0)\
         (document.querySelector('{selector}').getBoundingClientRect())"
    )
}

#[tokio::test]
async fn opening_selecting_or_scrolling_pauses_until_resumed_from_a_bar_in_sight() {
    let system = System::start().await;
    system.api().store(&events("old", 0..60)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows(NEWEST, "id-59").await;
    let place = format!(
        "(first => [first.textContent, first.getBoundingClientRect().top])\
         (document.querySelector('{NEWEST} summary'))"
    );
    let select =
        format!("getSelection().selectAllChildren(document.querySelector('{NEWEST} summary'))");
    let scroll = "document.getElementById('event-rows').scrollTop = 40".to_owned();
    let open = format!("document.querySelector('{NEWEST} summary').click()");
    for (round, reading) in [select, scroll, open].into_iter().enumerate() {
        browser.run(&reading, Vec::new()).await;
        browser.shows("#pause", "Resume").await;
        let before = browser.value(&place).await;
        let topic = format!("new-{round}");
        system.api().store(&events(&topic, 0..312)).await;
        browser.shows("#events-note", "312 new events").await;
        assert_eq!(browser.value(&place).await, before, "{reading}");
        // The bar stays in sight when the list is scrolled, and the page with it.
        browser
            .run(
                "const list = document.getElementById('event-rows');
                 list.scrollTop = 200;
                 scrollTo(0, list.getBoundingClientRect().bottom + scrollY - innerHeight / 2);",
                Vec::new(),
            )
            .await;
        browser.until(&is_in_sight("#events-bar")).await;
        browser.screenshot("paused-by-reading").await;
        browser.click("#pause").await;
        browser.shows(&format!("{NEWEST} .topic"), &topic).await;
        browser.shows("#pause", "Pause").await;
        browser
            .run("getSelection().removeAllRanges()", Vec::new())
            .await;
    }
    page.ends_well().await;
}

#[tokio::test]
async fn a_payload_expands_as_it_was_sent() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let payload =
        r#"{"amount": 1.50,"big":12345678901234567890,"a":1,"a":2,"text":"ä \" \\","list":[]}"#;
    let sent = event("orders", "1").with_payload(payload);
    system
        .api()
        .publish(&[sent.with_timestamp("2026-01-31T13:00:00+01:00")])
        .await;
    page.browser.click(&format!("{NEWEST} summary")).await;
    let payload = format!("{NEWEST} pre");
    for line in [
        r#""amount": 1.50,"#,
        r#""big": 12345678901234567890,"#,
        r#""a": 1,"#,
        r#""a": 2,"#,
        r#""text": "ä \" \\","#,
        r#""list": []"#,
    ] {
        page.browser.shows(&payload, line).await;
    }
    page.browser
        .shows(&format!("{NEWEST} dl"), "2026-01-31T13:00:00+01:00")
        .await;
    page.browser.screenshot_of_page("payload-unfolded").await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_link_with_a_filter_shows_others_the_same_and_back_undoes_a_step() {
    let system = System::start().await;
    for topic in ["orders", "payments", "a&b=c +%"] {
        system.api().store(&events(topic, 0..1)).await;
    }
    let query = "?topic=orders&topic=a%26b%3Dc%20%2B%25&sort=topic&order=asc";
    let Some(page) = Page::open(system.api(), query).await else {
        return;
    };
    let shown = "#event-rows .topic";
    page.lists(shown, &["a&b=c +%", "orders"]).await;
    page.lists("#topic-rows th a", &["a&b=c +%", "orders", "payments"])
        .await;
    page.browser.screenshot_of_page("shared-link").await;
    // New events are of these topics too.
    system.api().store(&events("payments", 1..2)).await;
    system.api().store(&events("orders", 1..2)).await;
    page.lists(shown, &["orders", "a&b=c +%", "orders"]).await;
    page.browser.click("#filter .chip:first-child button").await;
    page.lists(shown, &["a&b=c +%"]).await;
    page.browser.run("history.back()", Vec::new()).await;
    page.lists(shown, &["orders", "a&b=c +%", "orders"]).await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_topic_without_events_is_said_to_have_none_until_one_arrives() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..1)).await;
    let Some(page) = Page::open(system.api(), "?topic=nosuch").await else {
        return;
    };
    page.browser
        .shows("#events-note", "No event of this topic is stored.")
        .await;
    page.browser.screenshot_of_page("no-such-topic").await;
    system.api().store(&events("nosuch", 0..1)).await;
    page.lists("#event-rows .topic", &["nosuch"]).await;
    page.browser
        .until("document.getElementById('events-note').textContent === ''")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn every_time_names_its_zone() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..1)).await;
    system.put("events.orders", "{").await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.browser.set_time_zone("Asia/Tokyo").await;
    page.browser.reload().await;
    for named in ["#event-rows summary time", "#rejected .zone"] {
        page.browser.shows(named, "GMT+9").await;
    }
    page.browser.click(&format!("{NEWEST} summary")).await;
    page.browser.shows(&format!("{NEWEST} dl"), "Z (UTC)").await;
    page.ends_well().await;
}
