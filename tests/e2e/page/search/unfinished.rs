//! A search that is too long for one request.

use e2e::{
    System,
    event::{event, events},
};

use super::IDS;
use crate::page::Page;

/// The service stops a search after 500,000 events; here it does after five.
const SLOW: &str = "
    const real = window.fetch;
    window.fetch = async (path, options) => {
        if (!`${path}`.startsWith('events?')) return real(path, options);
        const query = new URLSearchParams(path.slice('events?'.length));
        const text = query.get('contains') ?? 'no payload has this';
        query.delete('contains');
        query.delete('ignore_case');
        query.delete('event_id');
        query.set('limit', 5);
        await window.gate;
        const page = await (await real(`events?${query}`, options)).json();
        page.complete = page.next_cursor === null;
        if (!page.complete) page.searched_to = page.events.at(-1).processed_at;
        page.events = page.events.filter((one) => JSON.stringify(one.payload).includes(text));
        return new Response(JSON.stringify(page));
    };";

#[tokio::test]
async fn a_search_that_ends_early_says_how_far_it_came_and_goes_on_until_all_is_searched() {
    let system = System::start().await;
    let rare = |id: &str| event("orders", id).with_payload(r#"{"n":"rare"}"#);
    system.api().store(&[rare("first")]).await;
    system.api().store(&events("orders", 0..12)).await;
    system.api().store(&[rare("second")]).await;
    system.api().store(&events("orders", 12..24)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.run(SLOW, Vec::new()).await;
    page.searches("rare").await;
    let note = |text: &str| {
        format!(
            "/^{text} Searched back to \\d\\d:\\d\\d:\\d\\d .+\\.$/.test(document.getElementById('events-note').textContent)"
        )
    };
    let is_stopped = note("Nothing found yet\\.");
    browser.until(&is_stopped).await;
    browser.screenshot_of_page("searched-back").await;
    assert_eq!(
        browser
            .value("document.getElementById('older').hidden")
            .await,
        true
    );
    // It says how far it is, and can be stopped.
    let close = "window.gate = new Promise(open => { window.open_gate = open; })";
    browser.run(close, Vec::new()).await;
    browser.shows("#go-on", "Go on").await;
    browser.click("#go-on").await;
    browser.shows("#go-on", "Stop").await;
    browser.until(&note("Searching …")).await;
    browser.screenshot_of_page("searching-back").await;
    browser.click("#go-on").await;
    browser.shows("#go-on", "Go on").await;
    browser.until(&is_stopped).await;
    browser.run("window.open_gate()", Vec::new()).await;
    // It does not end with the first event that it finds.
    browser.click("#go-on").await;
    page.lists(IDS, &["second", "first"]).await;
    browser
        .until("document.getElementById('go-on').hidden")
        .await;
    browser.shows("#events-note", "2 events, not live.").await;
    page.ends_well().await;
}
