//! Time ranges, in which events were stored or which their timestamps are in.

use e2e::event::events;

use super::{IDS, with_events};
use crate::page::Page;

#[tokio::test]
async fn a_time_range_is_in_the_address_and_back_undoes_it() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let choose = "const range = document.getElementById('range'); range.value = arguments[0];
        range.dispatchEvent(new Event('change'))";
    browser.run(choose, vec!["-1h".into()]).await;
    page.is_at("?since=-1h").await;
    page.lists(IDS, &["c,d", "17", "18", "17"]).await;
    // A range that ends now goes on.
    browser.shows("#pause", "Pause").await;
    system.api().store(&events("later", 0..1)).await;
    browser.shows("#event-rows li:first-child", "later").await;
    // One in the past does not, and is empty.
    browser.run(choose, vec!["own".into()]).await;
    let fill = "document.getElementById('own-since').value = '2026-01-31T12:00:00';
        document.getElementById('own-until').value = '2026-01-31T13:00:00'";
    browser.set_time_zone("Asia/Tokyo").await;
    browser.run(fill, Vec::new()).await;
    browser.click("#own-range button").await;
    page.is_at("?since=2026-01-31T03%3A00%3A00.000Z&until=2026-01-31T04%3A00%3A00.000Z")
        .await;
    browser.shows("#events-note", "No event matches.").await;
    browser
        .shows("#histogram .axis", "31 Jan 2026, 12:00:00 GMT+9")
        .await;
    // The same times in UTC.
    let zone = "const zone = document.getElementById('time-zone'); zone.value = 'utc';
        zone.dispatchEvent(new Event('change'))";
    browser.run(zone, Vec::new()).await;
    browser
        .shows("#histogram .axis", "31 Jan 2026, 03:00:00 UTC")
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('own-since').value")
            .await,
        "2026-01-31T03:00"
    );
    browser.screenshot_of_page("own-range").await;
    browser.click("#all-times").await;
    page.is_at("?zone=utc").await;
    browser.shows("#event-rows summary time", "UTC").await;
    browser.run("history.go(-3)", Vec::new()).await;
    page.is_at("?since=-1h").await;
    browser.shows("#event-rows summary time", "GMT+9").await;
    browser.run("history.back()", Vec::new()).await;
    page.is_at("").await;
    page.ends_well().await;
}

#[tokio::test]
async fn an_own_range_begins_as_the_range_that_is_shown() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "?since=-1h").await else {
        return;
    };
    let browser = &page.browser;
    // What the fields have, and the time around their filling, in milliseconds since 1970.
    let choose = "const [range, since, until] = ['range', 'own-since', 'own-until'].map(id => document.getElementById(id));
        range.value = 'own';
        const before = Date.now();
        range.dispatchEvent(new Event('change'));
        const now = Date.now();
        const [from, to] = [since, until].map(({ value }) => new Date(value).getTime());
        return [from, to, before, now]";
    let filled = async || {
        let filled = browser.run(choose, Vec::new()).await;
        serde_json::from_value::<[u64; 4]>(filled).expect("the fields have times")
    };
    let [from, to, before, now] = filled().await;
    let hour = 3_600_000;
    assert!((before - hour - 999..=now - hour).contains(&from), "{from}");
    assert!((before..=now + 999).contains(&to), "{to}");
    browser.screenshot("own-range-filled").await;
    browser.click("#own-range button").await;
    browser.until("location.search.includes('until=')").await;
    page.lists(IDS, &["c,d", "17", "18", "17"]).await;
    // All time begins with the first event, or half an hour ago, in whole minutes as of when it was
    // asked for: not before the page was opened.
    let opened = browser.run("return Date.now()", Vec::new()).await;
    let opened = opened.as_u64().expect("the browser has a clock");
    browser.open(&format!("{}/", system.api().url())).await;
    browser.shows("#histogram li b", "4").await;
    let [from, to, before, now] = filled().await;
    let half = hour / 2;
    assert!(
        (opened - half - 60_000..=now - half).contains(&from),
        "{from}"
    );
    assert!((before..=now + 999).contains(&to), "{to}");
    page.ends_well().await;
}

#[tokio::test]
async fn a_range_without_events_is_offered_for_their_own_timestamps() {
    let system = with_events().await;
    // The timestamps are in it, and the events are stored later.
    let query = "?since=2026-01-31T11:00:00Z&until=2026-01-31T13:00:00Z";
    let Some(page) = Page::open(system.api(), query).await else {
        return;
    };
    let browser = &page.browser;
    browser
        .shows("#nothing", "the time at which events were stored")
        .await;
    browser.screenshot_of_page("nothing-stored").await;
    browser.click("#nothing a").await;
    page.lists(IDS, &["c,d", "17", "18", "17"]).await;
    page.is_at("?q=time_since%3D2026-01-31T11%3A00%3A00Z+time_until%3D2026-01-31T13%3A00%3A00Z")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_time_without_a_zone_is_of_the_zone_that_is_shown() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.set_time_zone("Asia/Tokyo").await;
    page.searches("time_since=\"2026-01-31 21:00\"").await;
    page.is_at("?q=time_since%3D2026-01-31T12%3A00%3A00.000Z")
        .await;
    page.lists(IDS, &["c,d", "17", "18", "17"]).await;
    // A time of day is of today.
    page.searches("time_until=04:00").await;
    browser
        .until("(time => /^time_until=20.*Z$/.test(time) && new Date(time.slice(11)).toTimeString().startsWith('04:00:00'))(new URLSearchParams(location.search).get('q'))")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_range_that_is_empty_or_wrong_is_said_to_be_so() {
    let system = with_events().await;
    let query = "?since=2026-01-31T13:00:00Z&until=2026-01-31T12:00:00Z";
    let Some(page) = Page::open(system.api(), query).await else {
        return;
    };
    let browser = &page.browser;
    browser
        .shows("#search-problem", "The time range is empty")
        .await;
    // No other range is offered for it.
    browser.shows("#events-note", "No event matches.").await;
    assert_eq!(
        browser
            .value("document.getElementById('nothing').hidden")
            .await,
        true
    );
    let wrong = format!("{}/?since=abc", system.api().url());
    browser.open(&wrong).await;
    browser.shows("#search-problem", "Since must be").await;
    browser
        .until("document.getElementById('pause').hidden")
        .await;
    page.ends_well_but(&["status of 422"]).await;
}
