//! The limits of the page: small and deeply nested payloads, rows that are evicted while in use, and hidden tabs.

use e2e::{
    System,
    event::{event, events},
};

use super::Page;

#[tokio::test]
async fn a_payload_of_the_greatest_depth_is_shown_and_the_page_continues() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    // Including the payload itself, 128 levels.
    let depth = 127;
    let payload = format!(r#"{{"a":{}1.50{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let deep = event("orders", "deep").with_payload(&payload);
    assert_eq!(system.api().store(&[deep]).await.status, 200);
    page.browser.shows("#event-rows", "deep").await;
    page.browser.click("#event-rows summary").await;
    page.browser.shows("#event-rows pre", "1.50").await;
    let brackets = "document.querySelector('#event-rows pre').textContent.split('[').length - 1";
    assert_eq!(page.browser.value(brackets).await, depth);
    system.api().store(&events("orders", 0..3)).await;
    page.counts("unique", 4).await;
    page.ends_well().await;
}

#[tokio::test]
async fn an_edited_body_stays_while_others_are_rejected() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    system.put("events.orders", "the first").await;
    page.counts("rejected", 1).await;
    page.browser.shows("#rejected-rows", "Not JSON").await;
    page.browser.click("#rejected-rows summary").await;
    let text = "document.querySelector('#rejected-rows details[open] textarea')";
    let typed = format!("{text}.value = 'half of an event'");
    page.browser.run(&typed, Vec::new()).await;
    for number in 0..25 {
        system
            .put("events.orders", &format!("other {number}"))
            .await;
    }
    page.browser
        .until("document.querySelectorAll('#rejected-rows li').length === 21")
        .await;
    page.browser.shows("#rejected-note", "26 in all.").await;
    let kept = format!("{text}.value");
    assert_eq!(page.browser.value(&kept).await, "half of an event");
    page.ends_well().await;
}

#[tokio::test]
async fn a_hidden_tab_holds_no_connection_and_catches_up() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    system.api().store(&[event("orders", "seen")]).await;
    page.browser.shows("#event-rows", "seen").await;
    let watched = "window.open_streams = 2;
        const close = EventSource.prototype.close;
        EventSource.prototype.close = function () { window.open_streams -= 1; close.call(this); };";
    page.browser.run(watched, Vec::new()).await;
    page.hides(true).await;
    page.browser.until("window.open_streams === 0").await;
    system.api().store(&[event("orders", "meanwhile")]).await;
    page.hides(false).await;
    page.browser.shows("#event-rows", "meanwhile").await;
    page.counts("unique", 2).await;
    page.ends_well().await;
}
