//! What is found, for others: export, link and command.

use e2e::event::event;
use serde_json::json;

use super::{COPY, IDS, with_events};
use crate::page::Page;

#[tokio::test]
async fn a_search_is_exported_and_copied_as_a_link_and_as_a_command() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "?topic=orders&since=-1h").await else {
        return;
    };
    page.lists(IDS, &["18", "17"]).await;
    page.searches("amount=1.50").await;
    page.lists(IDS, &["17"]).await;
    let exported = "const link = document.getElementById('export');
        return fetch(link.href).then(answer => answer.text()).then(text => [link.download, text])";
    let exported = page.browser.run(exported, Vec::new()).await;
    assert_eq!(exported[0], "events.ndjson");
    let lines: Vec<_> = exported[1].as_str().unwrap().lines().collect();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(r#""event_id":"17""#) && lines[0].contains(r#""amount":1.50"#));

    let command = page.copied("#copies", "Copy as curl").await;
    let url = system.api().url();
    let start = format!("curl -sS '{url}/events?topic=orders&payload.amount=1.50&since=20");
    assert!(
        command.starts_with(&start) && command.ends_with("&limit=50'"),
        "{command}"
    );
    let path = command
        .split('\'')
        .nth(1)
        .unwrap()
        .strip_prefix(url)
        .unwrap();
    let answer = system.api().get(path).await.unwrap();
    assert_eq!(answer.json()["events"].as_array().unwrap().len(), 1);

    // The link has the time that -1h is now.
    let link = page.copied("#copies", "Copy link").await;
    assert!(
        !link.contains("since=-1h") && link.contains("since=20"),
        "{link}"
    );
    page.browser.open(&link).await;
    page.lists(IDS, &["17"]).await;
    page.browser.shows("#filter .chip", "orders").await;
    // So have the times of the text.
    page.searches("amount=1.50 time_since=-1h").await;
    page.browser
        .until("location.search.includes('time_since')")
        .await;
    for label in ["Copy link", "Copy as curl"] {
        let copied = page.copied("#copies", label).await;
        assert!(
            !copied.contains("-1h") && copied.contains("time_since"),
            "{copied}"
        );
    }
    page.ends_well().await;
}

#[tokio::test]
async fn events_that_are_found_by_their_id_are_exported_and_copied_as_a_command() {
    let system = with_events().await;
    // Its payload contains its id, so that two queries find it.
    let both = event("refunds", "17").with_payload(r#"{"of":"17"}"#);
    system.api().store(&[both]).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    // The file is kept for the test in place of a download.
    let keep = "URL.createObjectURL = (file) => { file.text().then(text => { window.exported = text; }); return '#exported'; }";
    browser.run(keep, Vec::new()).await;
    for (typed, found) in [
        (
            "17",
            vec!["refunds 17", "payments 17", "orders 17", "orders 18"],
        ),
        // Nothing is found by text, so one request exports all.
        ("orders,17", vec!["orders 17"]),
        ("QUJDRA==", vec![]),
    ] {
        page.searches(typed).await;
        let note = if found.is_empty() {
            "No event matches."
        } else {
            "with this id"
        };
        browser.shows("#events-note", note).await;
        let listed = "[...document.querySelectorAll('#event-rows summary')].map(row => [...row.querySelectorAll('bdi')].slice(0, 2).map(name => name.textContent).join(' '))";
        assert_eq!(browser.value(listed).await, serde_json::json!(found));
        let export = "window.exported = null;
            const link = document.getElementById('export');
            const follow = (event) => {
                if (event.target !== link || event.defaultPrevented) return;
                event.preventDefault();
                fetch(link.href).then(answer => answer.text()).then(text => { window.exported = text; });
            };
            document.addEventListener('click', follow, { once: true });
            link.click();";
        browser.run(export, Vec::new()).await;
        browser.until("typeof window.exported === 'string'").await;
        let exported = browser.value("window.exported").await;
        let exported: Vec<_> = exported.as_str().unwrap().lines().map(named).collect();
        assert_eq!(exported, found, "{typed}");

        let command = page.copied("#copies", "Copy as curl").await;
        let mut got = Vec::new();
        for url in command.split('\'').skip(1).step_by(2) {
            let path = url.strip_prefix(system.api().url()).unwrap();
            let answer = system.api().get(path).await.unwrap().json();
            let events = answer["events"].as_array().unwrap();
            for one in events.iter().map(|one| named(&one.to_string())) {
                if !got.contains(&one) {
                    got.push(one);
                }
            }
        }
        assert_eq!(got, found, "{command}");
    }
    page.ends_well().await;
}

/// The topic and the id of an event as JSON.
fn named(event: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(event).expect("an event is JSON");
    let text = |name: &str| event[name].as_str().expect("a text").to_owned();
    format!("{} {}", text("topic"), text("event_id"))
}

#[tokio::test]
async fn copying_works_where_the_browser_has_no_clipboard_for_the_page() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let without = "Object.defineProperty(navigator, 'clipboard', { value: undefined });
        document.execCommand = (name) => { window.copied = `${name} ${document.activeElement.value}`; return true; }";
    page.browser.run(without, Vec::new()).await;
    page.browser.click("#copies button:nth-child(2)").await;
    page.browser
        .until("window.copied === `copy ${location.href}`")
        .await;
    page.browser.shows("#copied", "Copied.").await;
    page.ends_well().await;
}

#[tokio::test]
async fn the_message_of_a_copy_moves_nothing_and_is_gone_soon_or_with_a_new_search() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    page.lists(IDS, &["c,d", "17", "18", "17"]).await;
    let places = "[...document.querySelectorAll('#controls, #copies button')]\
        .map(one => one.getBoundingClientRect()).map(box => [box.left, box.top, box.width, box.height].join(' ')).join()";
    browser.run(COPY, Vec::new()).await;
    let before = browser.value(places).await;
    browser.click("#copies button:nth-child(2)").await;
    browser.shows("#copied", "Copied.").await;
    assert_eq!(browser.value(places).await, before);
    browser.screenshot("copied").await;
    browser
        .until("document.getElementById('copied').textContent === ''")
        .await;
    // Its time does not end in this test.
    browser.run("window.setTimeout = () => 0", Vec::new()).await;
    browser.click("#copies button:nth-child(3)").await;
    browser.shows("#copied", "Copied.").await;
    page.searches("tea").await;
    browser
        .until("document.getElementById('copied').textContent === ''")
        .await;
    page.ends_well().await;
}

/// Each request of an export waits for `window.open_gate`, and what would be downloaded is kept.
const GATED: &str = "
    const real = window.fetch;
    Object.assign(window, { asked: [], stopped: 0, files: [] });
    window.fetch = async (path, options) => {
        if (!`${path}`.includes('format=ndjson')) return real(path, options);
        window.asked.push(path);
        await new Promise((open, stop) => {
            window.open_gate = open;
            options?.signal?.addEventListener('abort', () => {
                window.stopped += 1;
                stop(options.signal.reason);
            });
        });
        return real(path, options);
    };
    URL.createObjectURL = (file) => {
        file.text().then((text) => window.files.push(text));
        return '#exported';
    };";

const HREF: &str = "document.getElementById('export').getAttribute('href')";

/// Two queries export these events, the first those with this id.
const BY_ID: &str = "events?event_id=17&format=ndjson";
const BY_TEXT: &str = "events?contains=17&ignore_case=true&format=ndjson";

#[tokio::test]
async fn an_export_of_several_queries_says_that_it_is_running_and_runs_once() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.run(GATED, Vec::new()).await;
    page.searches("17").await;
    page.lists(IDS, &["17", "17", "18"]).await;
    // The address of the link is that of the query which exports most.
    assert_eq!(browser.value(HREF).await, BY_TEXT);
    let label = browser.text("#export").await;
    browser.click("#export").await;
    browser.shows("#export", "Exporting …").await;
    browser.screenshot("exporting").await;
    assert_eq!(browser.value("window.asked").await, json!([BY_ID]));
    // Neither another click nor another time zone changes it.
    let click = "document.getElementById('export').click()";
    browser.run(click, Vec::new()).await;
    let zone = "const zone = document.getElementById('time-zone'); zone.value = 'utc';
        zone.dispatchEvent(new Event('change'))";
    browser.run(zone, Vec::new()).await;
    page.is_at("?q=17&zone=utc").await;
    assert_eq!(browser.text("#export").await, "Exporting …");
    assert_eq!(browser.value("window.asked").await, json!([BY_ID]));
    browser.run("window.open_gate()", Vec::new()).await;
    browser.until("window.asked.length === 2").await;
    assert_eq!(browser.value("window.asked").await, json!([BY_ID, BY_TEXT]));
    browser.run("window.open_gate()", Vec::new()).await;
    browser.shows("#export", &label).await;
    browser.until("window.files.length === 1").await;
    assert_eq!(browser.value("window.stopped").await, 0);
    let file = browser.value("window.files[0]").await;
    let exported: Vec<_> = file.as_str().unwrap().lines().map(named).collect();
    assert_eq!(exported, ["payments 17", "orders 17", "orders 18"]);
    page.ends_well().await;
}

#[tokio::test]
async fn an_export_ends_when_something_else_is_selected_and_the_link_is_that_of_the_new_search() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.run(GATED, Vec::new()).await;
    page.searches("17").await;
    page.lists(IDS, &["17", "17", "18"]).await;
    let label = browser.text("#export").await;
    browser.click("#export").await;
    browser.shows("#export", "Exporting …").await;
    page.searches("orders,17").await;
    page.lists(IDS, &["17"]).await;
    browser.until("window.stopped === 1").await;
    browser.shows("#export", &label).await;
    // It is not a mistake of the reader.
    assert_eq!(browser.text("#search-problem").await, "");
    assert_eq!(
        browser.value(HREF).await,
        "events?topic=orders&event_id=17&format=ndjson"
    );
    // The next one runs, and is the only one that is saved.
    page.searches("17").await;
    page.lists(IDS, &["17", "17", "18"]).await;
    browser.click("#export").await;
    for requests in [2, 3] {
        browser
            .until(&format!("window.asked.length === {requests}"))
            .await;
        browser.run("window.open_gate()", Vec::new()).await;
    }
    browser.until("window.files.length > 0").await;
    browser.shows("#export", &label).await;
    assert_eq!(
        browser.value("window.asked").await,
        json!([BY_ID, BY_ID, BY_TEXT])
    );
    assert_eq!(browser.value("window.files.length").await, 1);
    page.ends_well().await;
}
