//! What is found: by text, field, source, topic and id.

use e2e::{System, browser::Display, event::event};

use super::{IDS, with_events};
use crate::page::Page;

#[tokio::test]
async fn a_search_finds_by_text_field_source_topic_and_id_and_is_in_the_address() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.lists(IDS, &["c,d", "17", "18", "17"]).await;
    for (typed, ids) in [
        ("black tea", vec!["17"]),
        ("Black TEA", vec!["17"]),
        ("amount=1.50", vec!["17", "17"]),
        ("amount=2.00", vec!["18"]),
        ("items.0.name=\"black tea\"", vec!["17"]),
        ("source=till", vec!["17"]),
        ("event_id=18", vec!["18"]),
        ("amount=1.50 source=e2e", vec!["17"]),
        ("contains=\"17 a=b\"", vec!["18"]),
        ("payload.amount=1.5", vec![]),
    ] {
        page.searches(typed).await;
        page.browser.shows("#events-title", "Found events").await;
        page.browser
            .until(&format!(
                "new URLSearchParams(location.search).get('q') === {}",
                serde_json::json!(typed)
            ))
            .await;
        page.lists(IDS, &ids).await;
        page.browser
            .shows(
                "#events-note",
                if ids.is_empty() {
                    "No event matches."
                } else {
                    "not live"
                },
            )
            .await;
    }
    // A topic has a place of its own.
    page.searches("topic=payments amount=1.50").await;
    page.is_at("?topic=payments&q=amount%3D1.50").await;
    page.browser.shows("#filter .chip", "payments").await;
    page.lists("#event-rows .topic", &["payments"]).await;
    let address = page.browser.address().await;
    page.browser.run("history.back()", Vec::new()).await;
    page.lists(IDS, &[]).await;
    assert_eq!(
        page.browser
            .value("document.getElementById('query').value")
            .await,
        "payload.amount=1.5"
    );
    // The link shows others the same.
    page.browser.open(&address).await;
    page.lists("#event-rows .topic", &["payments"]).await;
    assert_eq!(
        page.browser
            .value("document.getElementById('query').value")
            .await,
        "amount=1.50"
    );
    page.ends_well().await;
}

#[tokio::test]
async fn a_plain_id_or_a_topic_and_an_id_find_the_event_before_payloads_with_the_text() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.searches("17").await;
    // Two events have the id, and the payload of a third contains it.
    page.browser
        .shows(
            "#events-note",
            "2 events with this id, and 1 event whose payload contains the text",
        )
        .await;
    page.lists(IDS, &["17", "17", "18"]).await;
    page.lists("#event-rows .named .topic", &["payments", "orders"])
        .await;
    page.browser.screenshot_of_page("found-by-id").await;
    page.searches("orders,17").await;
    page.browser
        .shows("#events-note", "1 event with this id, not live.")
        .await;
    page.lists("#event-rows .topic", &["orders"]).await;
    page.lists(IDS, &["17"]).await;
    page.searches("a,b,c,d").await;
    page.lists("#event-rows .topic", &["a,b"]).await;
    page.ends_well().await;
}

#[tokio::test]
async fn an_id_that_looks_like_a_filter_is_found_when_it_is_typed_alone() {
    let system = System::start().await;
    let ids = ["QUJDRA==", "a=b c", "x/../y?z=1&q#f"];
    for id in ids {
        system.api().store(&[event("orders", id)]).await;
    }
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    for id in ids {
        page.searches(id).await;
        page.lists(IDS, &[id]).await;
        page.browser
            .shows("#events-note", "1 event with this id, not live.")
            .await;
    }
    page.ends_well().await;
}

#[tokio::test]
async fn the_case_of_a_text_is_matched_on_request() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "?q=Black+tea").await else {
        return;
    };
    let browser = &page.browser;
    page.lists(IDS, &["17"]).await;
    browser.click("#match-case").await;
    page.is_at("?q=Black+tea&case=match").await;
    page.lists(IDS, &[]).await;
    browser.shows("#nothing", "the text Black tea").await;
    // The link is that of the search.
    let export = "document.getElementById('export').search";
    assert_eq!(
        browser.value(export).await,
        "?contains=Black+tea&format=ndjson"
    );
    browser.click("#nothing a").await;
    page.is_at("?q=Black+tea").await;
    page.lists(IDS, &["17"]).await;
    assert_eq!(
        browser.value(export).await,
        "?contains=Black+tea&ignore_case=true&format=ndjson"
    );
    browser
        .until("!document.getElementById('match-case').checked")
        .await;
    // Events stored since are found in the same way.
    let other = event("orders", "19").with_payload(r#"{"n":"BLACK TEA"}"#);
    system.api().store(&[other]).await;
    browser.shows("#refresh", "Show 1 new event").await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_typed_topic_replaces_the_topics_of_an_earlier_search() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.searches("topic=orders amount=1.50").await;
    page.lists("#event-rows .topic", &["orders"]).await;
    page.searches("topic=payments amount=1.50").await;
    page.lists("#event-rows .topic", &["payments"]).await;
    page.is_at("?topic=payments&q=amount%3D1.50").await;
    page.searches("topic=payments topic=orders").await;
    page.is_at("?topic=payments&topic=orders").await;
    page.ends_well().await;
}

#[tokio::test]
async fn found_events_are_in_sight_after_a_search() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    for display in [Display::WIDE, Display::TABLET, Display::NARROW] {
        page.browser.set_display(display).await;
        page.browser.run("scrollTo(0, 0)", Vec::new()).await;
        page.searches("amount=2.00").await;
        page.lists(IDS, &["18"]).await;
        page.browser
            .until("(box => box.top >= 0 && box.bottom <= innerHeight)(document.querySelector('#event-rows li').getBoundingClientRect())")
            .await;
        page.browser
            .screenshot(&format!("search-in-sight-{}", display.width))
            .await;
        page.searches("").await;
        page.is_at("").await;
    }
    page.ends_well().await;
}
