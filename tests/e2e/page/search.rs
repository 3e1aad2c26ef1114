//! The bar over the events: search, time range, older pages, export and copies.

use e2e::{
    System,
    browser::Display,
    event::{event, events},
};
use fantoccini::key::Key;

use super::{Page, drawing::PRETENDED_TAIL};

const IDS: &str = "#event-rows bdi:nth-of-type(2)";

/// Keeps what is copied in `window.copied`, because a test must not depend on the clipboard of the machine.
const COPY: &str = "navigator.clipboard.writeText = async (text) => { window.copied = text; }";

impl Page {
    /// Types a search and starts it with Enter.
    async fn searches(&self, text: &str) {
        self.browser.fill("#query", text).await;
        self.browser.press(&[Key::Enter]).await;
    }

    /// Waits until the query of the address is this.
    async fn is_at(&self, query: &str) {
        let query = serde_json::json!(query);
        self.browser
            .until(&format!("location.search === {query}"))
            .await;
    }

    /// The text that a button copies.
    pub(super) async fn copied(&self, within: &str, label: &str) -> String {
        self.browser.run(COPY, Vec::new()).await;
        let press = "window.copied = null;
            [...document.querySelectorAll(`${arguments[0]} button`)].find(one => one.textContent === arguments[1]).click()";
        let arguments = vec![within.into(), label.into()];
        self.browser.run(press, arguments).await;
        let copied = self.browser.until("window.copied").await;
        copied.as_str().expect("it is a text").to_owned()
    }
}

async fn with_events() -> System {
    let system = System::start().await;
    let tea =
        event("orders", "17").with_payload(r#"{"amount":1.50,"items":[{"name":"black tea"}]}"#);
    let milk = event("orders", "18").with_payload(r#"{"amount":2.00,"note":"17 a=b"}"#);
    let other = event("payments", "17")
        .with_source("till")
        .with_payload(r#"{"amount":1.50}"#);
    let comma = event("a,b", "c,d");
    for one in [tea, milk, other, comma] {
        system.api().store(&[one]).await;
    }
    system
}

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
async fn what_cannot_be_searched_for_is_said_in_words_next_to_the_bar() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    for (typed, problem) in [
        ("tea amount=1 milk", "Only one text can be searched for."),
        (
            "note=black tea city=Bad Ems",
            "put a value with spaces in quotes: note=\"black tea\" city=\"Bad Ems\"",
        ),
        ("note=\"tea", "end it with a quote"),
        ("event_id=1 event_id=2", "event_id is given more than once"),
        ("time_since=yesterday", "must be an RFC 3339 time"),
    ] {
        page.searches(typed).await;
        page.browser.shows("#search-problem", problem).await;
    }
    page.browser.screenshot_of_page("wrong-search").await;
    let said = page.browser.text("#search-problem").await;
    assert_eq!(said.matches("RFC 3339").count(), 1, "{said}");
    page.searches("tea").await;
    page.lists(IDS, &["17"]).await;
    page.browser
        .until("document.getElementById('search-problem').textContent === ''")
        .await;
    page.ends_well_but(&["status of 422"]).await;
}

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
    // All time begins with the first event, or half an hour ago.
    browser.open(&format!("{}/", system.api().url())).await;
    browser.shows("#histogram li b", "4").await;
    let [from, to, before, now] = filled().await;
    let half = hour / 2;
    assert!(
        (before - half - 60_000..=now - half).contains(&from),
        "{from}"
    );
    assert!((before..=now + 999).contains(&to), "{to}");
    page.ends_well().await;
}

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
async fn a_search_that_finds_nothing_says_how_it_was_understood_and_offers_others() {
    let system = with_events().await;
    let Some(page) = Page::open(system.api(), "?topic=orders").await else {
        return;
    };
    let browser = &page.browser;
    let nothing = "#nothing";
    page.searches("amount=1.5 Tea").await;
    browser
        .shows(
            nothing,
            "Searched for: the field amount with the value 1.5 and the text Tea in the payload, or as an id, or all of it as an id.",
        )
        .await;
    browser.shows(nothing, "upper and lower case").await;
    browser.screenshot_of_page("nothing-found").await;
    // Of another topic.
    page.searches("source=till").await;
    browser.shows(nothing, "source till").await;
    browser.click("#nothing a").await;
    page.lists("#event-rows .topic", &["payments"]).await;
    browser
        .until("document.getElementById('nothing').hidden")
        .await;
    // A value with spaces that is not in quotes.
    page.searches("items.0.name=black tea").await;
    browser
        .shows(
            nothing,
            "the field items.0.name with the value black and the text tea in the payload",
        )
        .await;
    browser
        .shows(nothing, "search for items.0.name=\"black tea\"")
        .await;
    browser.screenshot_of_page("nothing-found-quotes").await;
    browser.click("#nothing a").await;
    page.is_at("?q=items.0.name%3D%22black+tea%22").await;
    page.lists(IDS, &["17"]).await;
    // A text that looks like a field.
    page.searches("a=b").await;
    browser.click("#nothing a").await;
    page.is_at("?q=contains%3D%22a%3Db%22").await;
    page.lists(IDS, &["18"]).await;
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
