//! Pages of older events, and what becomes of events that are stored after a search.

use e2e::{
    System,
    event::{event, events},
};

use super::{IDS, with_events};
use crate::page::{Page, drawing::PRETENDED_TAIL};

#[tokio::test]
async fn older_events_are_pages_with_addresses_of_their_own() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..120)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let span = format!(
        "(all => [all.length, all[0]?.textContent, all.at(-1)?.textContent].join(' '))([...document.querySelectorAll('{IDS}')])"
    );
    browser
        .until(&format!("{span} === '50 id-119 id-70'"))
        .await;
    // Those that arrive while the list is paused do not move the page.
    browser.click("#pause").await;
    system.api().store(&events("later", 0..10)).await;
    browser.shows("#events-note", "10 new events").await;
    let place = "document.getElementById('older').getBoundingClientRect().left";
    let before = browser.value(place).await;
    browser.click("#older").await;
    browser.until(&format!("{span} === '50 id-69 id-20'")).await;
    // It is where it was, for the next click.
    assert_eq!(
        browser
            .value("document.getElementById('newest').hidden")
            .await,
        false
    );
    assert_eq!(browser.value(place).await, before);
    browser
        .shows("#events-note", "50 older events, not live.")
        .await;
    let second = browser.address().await;
    browser.click("#older").await;
    browser.until(&format!("{span} === '20 id-19 id-0'")).await;
    browser
        .until("document.getElementById('older').disabled")
        .await;
    browser.screenshot_of_page("oldest-page").await;
    browser.run("history.back()", Vec::new()).await;
    browser.until(&format!("{span} === '50 id-69 id-20'")).await;
    browser.open(&second).await;
    browser.until(&format!("{span} === '50 id-69 id-20'")).await;
    browser.click("#newest").await;
    browser.shows("#event-rows li:first-child", "later").await;
    browser.shows("#events-title", "Newest events").await;
    // Pages of a search.
    page.searches("n=1 topic=orders").await;
    browser
        .until(&format!("{span} === '50 id-119 id-70'"))
        .await;
    browser.click("#older").await;
    browser.until(&format!("{span} === '50 id-69 id-20'")).await;
    page.ends_well().await;
}

#[tokio::test]
async fn new_events_that_match_a_search_are_counted_until_they_are_shown() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "?topic=orders").await else {
        return;
    };
    let browser = &page.browser;
    page.searches("amount=1.50 source=e2e").await;
    page.lists(IDS, &["17"]).await;
    browser.shows("#refresh", "Refresh").await;
    let paid = |id: &str| event("orders", id).with_payload(r#"{"amount":1.50}"#);
    let other = event("payments", "19").with_payload(r#"{"amount":1.50}"#);
    let elsewhere = paid("20").with_source("till");
    // Only the last of them is found, so it is the only one that is counted.
    system.api().store(&[other, elsewhere, paid("21")]).await;
    browser.shows("#refresh", "Show 1 new event").await;
    page.lists(IDS, &["17"]).await;
    system.api().store(&[paid("22")]).await;
    browser.shows("#refresh", "Show 2 new events").await;
    browser.screenshot_of_page("new-matches").await;
    browser.click("#refresh").await;
    page.lists(IDS, &["22", "21", "17"]).await;
    browser
        .until("document.getElementById('refresh').textContent === 'Refresh'")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn the_result_of_a_search_that_follows_skipped_events_stays() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.run(PRETENDED_TAIL, Vec::new()).await;
    page.lists(IDS, &["18", "17"]).await;
    // Times end when the test says so, unless they were cleared.
    let skip = "const [set, clear] = [window.setTimeout, window.clearTimeout];
        window.held = new Map();
        window.setTimeout = (work) => { window.held.set(-window.held.size - 1, work); return -window.held.size; };
        window.clearTimeout = (timer) => window.held.delete(timer) || clear(timer);
        window.tail.dispatchEvent(new MessageEvent('missed', { data: '{\"missed\":9}' }));
        window.setTimeout = set;
        return window.held.size";
    assert_eq!(browser.run(skip, Vec::new()).await, 1);
    browser.shows("#events-note", "9 skipped").await;
    page.searches("amount=2.00").await;
    browser.shows("#events-note", "1 event, not live.").await;
    browser
        .run("window.held.forEach(work => work())", Vec::new())
        .await;
    browser.shows("#events-note", "1 event, not live.").await;
    page.ends_well().await;
}
