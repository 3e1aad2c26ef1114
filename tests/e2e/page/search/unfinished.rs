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

/// Counts the requests of searches in `window.asked`.
const COUNTED: &str = "
    const slow = window.fetch;
    window.asked = 0;
    window.fetch = (path, options) => {
        if (`${path}`.startsWith('events?')) window.asked += 1;
        return slow(path, options);
    };";

/// The second request finds one event, and the last another.
async fn with_rare_events() -> System {
    let system = System::start().await;
    let rare = |id: &str| event("orders", id).with_payload(r#"{"n":"rare"}"#);
    system.api().store(&[rare("first")]).await;
    system.api().store(&events("orders", 0..12)).await;
    system.api().store(&[rare("second")]).await;
    system.api().store(&events("orders", 12..19)).await;
    system
}

#[tokio::test]
async fn a_search_waits_while_the_tab_is_hidden_and_goes_on_when_it_is_shown() {
    let system = with_rare_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.run(&format!("{SLOW} {COUNTED}"), Vec::new()).await;
    page.searches("rare").await;
    browser.shows("#events-note", "Nothing found yet.").await;
    browser.shows("#go-on", "Go on").await;
    // One for the text and one for an id.
    assert_eq!(browser.value("window.asked").await, 2);
    let close = "window.gate = new Promise(open => { window.open_gate = open; })";
    browser.run(close, Vec::new()).await;
    browser.click("#go-on").await;
    browser.shows("#go-on", "Stop").await;
    page.hides(true).await;
    browser.run("window.open_gate()", Vec::new()).await;
    // What was requested is listed, and nothing else is requested for nobody.
    page.lists(IDS, &["second"]).await;
    assert_eq!(browser.value("window.asked").await, 4);
    browser
        .shows(
            "#events-note",
            "Searching … 1 event so far. Searched back to ",
        )
        .await;
    assert_eq!(browser.value("window.asked").await, 4);
    page.hides(false).await;
    page.lists(IDS, &["second", "first"]).await;
    browser.shows("#events-note", "2 events, not live.").await;
    browser
        .until("document.getElementById('go-on').hidden")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn screen_readers_announce_when_a_search_begins_and_ends_and_not_each_step() {
    let system = with_rare_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let slow = format!("window.plain = window.fetch; {SLOW}");
    browser.run(&slow, Vec::new()).await;
    // What changes in a live region is announced.
    let listen = "const note = document.getElementById('events-note');
        window.announced = [];
        new MutationObserver(() => {
            if (note.ariaLive === 'polite') window.announced.push(note.textContent.replace(/\\d\\d:\\d\\d:\\d\\d .+(?=\\.$)/, 'TIME'));
        }).observe(note, { childList: true });";
    browser.run(listen, Vec::new()).await;
    page.searches("rare").await;
    browser.shows("#go-on", "Go on").await;
    // It takes one step and waits, because the tab is hidden. There it is stopped.
    page.hides(true).await;
    browser.click("#go-on").await;
    page.lists(IDS, &["second"]).await;
    browser.shows("#go-on", "Stop").await;
    browser.click("#go-on").await;
    browser.shows("#go-on", "Go on").await;
    page.hides(false).await;
    // It takes several steps, to the end.
    browser.click("#go-on").await;
    page.lists(IDS, &["second", "first"]).await;
    browser.shows("#events-note", "2 events, not live.").await;
    // New events are not announced.
    browser.run("window.fetch = window.plain", Vec::new()).await;
    page.searches("").await;
    page.is_at("").await;
    browser
        .shows("#event-rows li:first-child bdi:nth-of-type(2)", "id-18")
        .await;
    system.api().store(&[event("orders", "new")]).await;
    browser.shows("#event-rows li:first-child", "new").await;
    browser.click("#pause").await;
    system.api().store(&[event("orders", "newer")]).await;
    browser.shows("#events-note", "1 new event").await;
    let announced = browser.value("window.announced").await;
    let expected = serde_json::json!([
        "Searching …",
        "Nothing found yet. Searched back to TIME.",
        "Searching … Searched back to TIME.",
        "The newest 1 event, not live. Searched back to TIME.",
        "Searching … 1 event so far. Searched back to TIME.",
        "2 events, not live.",
    ]);
    assert_eq!(announced, expected);
    page.ends_well().await;
}
