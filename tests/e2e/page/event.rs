//! One event with its address.

use e2e::{
    System,
    browser::Display,
    event::{event, events},
};

use super::Page;

const BODY: &str = "#event-body";

#[tokio::test]
async fn an_event_is_opened_from_its_row_and_closed_with_back() {
    let system = System::start().await;
    let sent = event("a,b&c", "1,2 +%ä");
    system.api().store(&[sent]).await;
    system.api().store(&events("orders", 0..2)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    page.lists("#event-rows .topic", &["orders", "orders", "a,b&c"])
        .await;
    browser.click("#event-rows li:last-child summary").await;
    browser.click("#event-rows li:last-child a").await;
    // A comma in a name is not the one between the names.
    browser
        .until("location.search === '?event=a%2Cb%26c,1%2C2%20%2B%25%C3%A4'")
        .await;
    browser
        .shows("#event-title", "Event 1,2 +%ä of a,b&c")
        .await;
    browser.shows(BODY, "1, at position 0 of its message").await;
    browser.until("document.activeElement.id === 'event'").await;
    let address = browser.address().await;
    browser.run("history.back()", Vec::new()).await;
    browser
        .until("document.getElementById('event').hidden")
        .await;
    // A program that passes the link on may encode the comma between the names as well.
    for query in [
        address.split_once('?').unwrap().1,
        "event=orders%2Cid-1",
        "zone=utc&event=orders,id-1",
    ] {
        browser
            .open(&format!("{}/?{query}", system.api().url()))
            .await;
        browser.shows(BODY, "duplicates").await;
    }
    browser.shows("#event-title", "Event id-1 of orders").await;
    // Another selection closes it, and the sort order does not.
    browser.click("th[data-sort=topic] button").await;
    browser
        .until("location.search.includes('sort=topic')")
        .await;
    browser.shows(BODY, "duplicates").await;
    browser.click("#event-body dl a").await;
    browser
        .until("document.getElementById('event').hidden")
        .await;
    page.lists("#event-rows .topic", &["orders"; 2]).await;
    page.ends_well().await;
}

#[tokio::test]
async fn an_event_shows_its_lag_its_places_its_size_its_duplicates_and_its_conflicts() {
    let system = System::start().await;
    let first = event("orders", "17").with_payload(r#"{"amount":1.50,"paid":true}"#);
    let second = first.clone().with_payload(r#"{"amount":1.5,"paid":true}"#);
    system
        .api()
        .store(&[event("orders", "16"), first.clone()])
        .await;
    system.api().store(&[first.clone(), first.clone()]).await;
    system.api().store(&[second.with_source("elsewhere")]).await;
    // A conflict of another event.
    system
        .api()
        .store(&[event("orders", "16").with_source("elsewhere")])
        .await;
    system.settled().await;
    let Some(page) = Page::open(system.api(), "?event=orders,17").await else {
        return;
    };
    let browser = &page.browser;
    let found = system
        .api()
        .get("/event?topic=orders&event_id=17")
        .await
        .unwrap()
        .json();
    for text in [
        "2026-01-31T12:00:00Z".to_owned(),
        " d from timestamp to processed_at".to_owned(),
        format!(
            "stream sequence\n{}, at position 1 of its message\nstore sequence\n2",
            found["stream_sequence"]
        ),
        format!("{} B", found["bytes"]),
        "duplicates\n3".to_owned(),
        "e2e".to_owned(),
    ] {
        browser.shows("#event-body dl", &text).await;
    }
    browser
        .shows("#event-body .sides > div:first-child h3", "Stored first")
        .await;
    page.lists(
        "#event-body .sides > div:last-child mark",
        &["source: elsewhere", "  \"amount\": 1.5,"],
    )
    .await;
    assert_eq!(page.texts("#event-body .rows > li").await.len(), 1);
    browser.screenshot_of_page("event-conflicted").await;
    page.ends_well().await;
}

#[tokio::test]
async fn an_event_that_is_not_stored_is_said_not_to_be_and_its_id_is_searched_for_in_all_topics() {
    let system = System::start().await;
    system.api().store(&[event("payments", "17 \"x\"")]).await;
    let Some(page) = Page::open(system.api(), "?event=orders,17%20%22x%22").await else {
        return;
    };
    let browser = &page.browser;
    browser
        .shows(
            "#event-note",
            "No event with this id is stored in this topic.",
        )
        .await;
    browser.screenshot_of_page("event-absent").await;
    browser.click("#event-body a").await;
    page.lists("#event-rows .topic", &["payments"]).await;
    page.ends_well_but(&["status of 404"]).await;
}

#[tokio::test]
async fn a_payload_is_shown_readable_decoded_or_as_it_came() {
    let system = System::start().await;
    let payload = r#"{"face":"\ud83d\ude00","text":"one\ntwo \"three\"","n":1.50,"evil":"\u202e<b>","half":"\ud83d"}"#;
    system
        .api()
        .store(&[event("orders", "1").with_payload(payload)])
        .await;
    let Some(page) = Page::open(system.api(), "?event=orders,1").await else {
        return;
    };
    let shown = "document.querySelector('#event-body pre').textContent";
    let until_shown = async |text: &str| {
        let text = serde_json::json!(text);
        page.browser.until(&format!("{shown} === {text}")).await;
    };
    let show = async |form: &str| {
        let choose =
            "const form = document.querySelector('#event-body select'); form.value = arguments[0];
            form.dispatchEvent(new Event('change'))";
        page.browser.run(choose, vec![form.into()]).await;
    };
    // Letters are shown as such; what would be unseen, or would no longer be JSON, stays an escape.
    until_shown("{\n  \"face\": \"\u{1f600}\",\n  \"text\": \"one\\ntwo \\\"three\\\"\",\n  \"n\": 1.50,\n  \"evil\": \"\\u202e<b>\",\n  \"half\": \"\\ud83d\"\n}").await;
    show("as it came").await;
    until_shown("{\n  \"face\": \"\\ud83d\\ude00\",\n  \"text\": \"one\\ntwo \\\"three\\\"\",\n  \"n\": 1.50,\n  \"evil\": \"\\u202e<b>\",\n  \"half\": \"\\ud83d\"\n}").await;
    show("all escapes decoded").await;
    until_shown("{\n  \"face\": \"\u{1f600}\",\n  \"text\": \"one\ntwo \"three\"\",\n  \"n\": 1.50,\n  \"evil\": \"U+202E<b>\",\n  \"half\": \"U+D83D\"\n}").await;
    page.browser.screenshot_of_page("event-decoded").await;
    // A row shows letters as well.
    page.browser
        .shows("#event-rows .preview", "\u{1f600}")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn an_event_is_copied_as_it_is_stored() {
    let system = System::start().await;
    let payload = r#"{"amount": 1.50,"note":"it's"}"#;
    let sent = event("it's", "1").with_payload(payload);
    system.api().store(&[sent]).await;
    let Some(page) = Page::open(system.api(), "?event=it's,1").await else {
        return;
    };
    page.browser.shows(BODY, "duplicates").await;
    assert_eq!(page.copied(BODY, "Copy payload").await, payload);
    let copied = page.copied(BODY, "Copy event as JSON").await;
    assert!(
        copied.starts_with(r#"{"topic":"it's","#) && copied.contains(payload),
        "{copied}"
    );
    let url = system.api().url();
    assert_eq!(
        page.copied(BODY, "Copy link").await,
        format!("{url}/?event=it%27s,1")
    );
    assert_eq!(
        page.copied(BODY, "Copy as curl").await,
        format!("curl -sS '{url}/event?topic=it%27s&event_id=1'")
    );
    page.ends_well().await;
}

#[tokio::test]
async fn a_hostile_event_is_only_text() {
    let system = System::start().await;
    let text = "\u{202e}<img src=x onerror=window.taken=1>\u{200b}";
    let payload = serde_json::json!({ text: text }).to_string();
    let hostile = event(text, text).with_source(text).with_payload(&payload);
    system.api().store(std::slice::from_ref(&hostile)).await;
    system.api().store(&[hostile.with_source("other")]).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let shown = "U+202E<img src=x onerror=window.taken=1>U+200B";
    browser.shows("#event-rows .preview", shown).await;
    browser.click("#event-rows summary").await;
    browser.click("#event-rows a").await;
    browser
        .shows("#event-title", &format!("Event {shown} of {shown}"))
        .await;
    browser.shows("#event-body .sides", "Received later").await;
    browser.shows("#event-body pre", shown).await;
    assert_eq!(
        browser
            .value("document.querySelectorAll('main img').length")
            .await,
        0
    );
    assert_eq!(browser.value("window.taken === undefined").await, true);
    for display in [Display::WIDE, Display::NARROW] {
        browser.set_display(display).await;
        browser
            .until(&format!("innerWidth === {}", display.width))
            .await;
        assert!(!browser.is_too_wide().await);
    }
    browser.screenshot_of_page("event-hostile").await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_row_shows_the_beginning_of_its_payload_in_one_line() {
    let system = System::start().await;
    let long = format!("{{\"a\":\r\n\t1.50,\"long\":\"{}\"}}", "x".repeat(100_000));
    system
        .api()
        .store(&[event("orders", "1").with_payload(&long)])
        .await;
    system.api().store(&[event("orders", "2")]).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let previews = "#event-rows .preview";
    page.browser.shows(previews, r#"{"n":1}"#).await;
    let texts = page.texts(previews).await;
    assert!(
        texts[1].starts_with(r#"{"a": 1.50,"long":"xxx"#) && texts[1].ends_with("x …"),
        "{}",
        texts[1]
    );
    assert!(texts[1].len() < 400, "{}", texts[1].len());
    page.ends_well().await;
}

#[tokio::test]
async fn an_address_that_names_no_event_says_so() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "?event=garbage").await else {
        return;
    };
    page.browser
        .shows("#event-note", "The address names no event")
        .await;
    assert_eq!(page.browser.text("#event-title").await, "No event");
    page.ends_well().await;
}

#[tokio::test]
async fn a_long_id_leaves_the_topic_its_place_and_a_blank_one_is_seen() {
    let system = System::start().await;
    system
        .api()
        .store(&[event("hello", &"x".repeat(200)), event("hello", " ")])
        .await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let id = "#event-rows li:first-child bdi:nth-of-type(2)";
    browser.shows(id, "U+0020").await;
    let is_whole = "[...document.querySelectorAll('#event-rows .topic')].every(one => one.scrollWidth <= one.clientWidth)";
    for display in [Display::WIDE, Display::NARROW] {
        browser.set_display(display).await;
        browser
            .until(&format!("innerWidth === {}", display.width))
            .await;
        browser.until(is_whole).await;
        assert!(!browser.is_too_wide().await);
    }
    browser.screenshot_of_page("event-ids").await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_conflict_leads_to_its_stored_event() {
    let system = System::start().await;
    let first = event("orders", "17").with_payload(r#"{"a":1,"c":3}"#);
    let second = first.clone().with_payload(r#"{"a":1,"c":4}"#);
    system.api().store(&[first]).await;
    system.api().store(&[second]).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.click("#conflict-rows summary").await;
    // Only one equal line would be left out, so it is shown.
    browser
        .shows("#conflict-rows .sides > div:first-child pre", "timestamp")
        .await;
    assert!(!browser.text("#conflict-rows .sides").await.contains('…'));
    browser.click("#conflict-rows a").await;
    browser.shows("#event-title", "Event 17 of orders").await;
    page.ends_well().await;
}
