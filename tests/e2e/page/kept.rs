//! Rejected arrivals and conflicts.

use e2e::{
    System,
    browser::Display,
    event::{array, event},
};

use super::Page;

#[tokio::test]
async fn rejected_arrivals_show_the_reason_and_are_requeued_unchanged_or_fixed() {
    let system = System::start().await;
    // The topic does not match the subject; the event itself is valid.
    system
        .put("events.payments", &array(&[event("orders", "astray")]))
        .await;
    system.put("events.orders", r#"{"topic":"orders"}"#).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let [broken, astray] = [1, 2].map(|index| format!("#rejected-rows li:nth-child({index})"));
    page.browser.shows("#rejected-note", "2 in all").await;
    page.browser.shows(&astray, "events.payments").await;
    // Each row says in one line why, before it is opened.
    page.browser
        .shows(&format!("{broken} summary .detail"), "is required")
        .await;
    page.browser
        .shows(&format!("{astray} summary .detail"), "orders")
        .await;
    let heights = "new Set([...document.querySelectorAll('#rejected-rows summary')]\
        .map(row => Math.round(row.getBoundingClientRect().height))).size";
    assert_eq!(page.browser.value(heights).await, 1);
    let time = page.browser.text(&format!("{broken} time")).await;
    assert!(!time.contains("UTC"), "{time} repeats the time zone");
    page.browser
        .shows("#rejected", "Times in UTC. 2 in all")
        .await;
    page.browser
        .shows(&format!("{broken} summary .reason"), "Invalid event:")
        .await;
    page.browser.screenshot_of_page("rejected-rows").await;
    page.browser.click(&format!("{broken} summary")).await;
    page.browser
        .shows(&format!("{broken} .why"), "is required")
        .await;
    page.browser
        .shows(&broken, "Received as events.orders.")
        .await;
    page.browser.screenshot_of_page("rejected").await;

    // Unchanged it is rejected again.
    page.browser.click(&format!("{broken} button")).await;
    page.browser
        .shows(&format!("{broken} .problem"), "Not sent: ")
        .await;
    page.browser
        .shows(&format!("{broken} label"), "Body as received")
        .await;
    let fixed = event("orders", "fixed").json();
    page.browser
        .fill(&format!("{broken} textarea"), &fixed)
        .await;
    page.browser.click(&format!("{broken} button")).await;
    page.browser.shows(&broken, "Sent with your changes.").await;
    page.browser.shows("#review", "1 rejected to review").await;
    page.browser
        .shows("#rejected-seen", "Mark it as seen for everyone")
        .await;
    page.browser
        .shows(&format!("{broken} label"), "Body, edited")
        .await;
    page.lists(&format!("{broken} .problem"), &[]).await;
    page.browser.click(&format!("{astray} summary")).await;
    page.browser.click(&format!("{astray} button")).await;
    page.browser.shows(&astray, "Sent again unchanged.").await;
    page.browser.shows(&astray, "Sent again at ").await;
    // The outcome is in sight, although the row is the lowest of a list that scrolls.
    let bottom =
        |of: &str| format!("document.querySelector('{of}').getBoundingClientRect().bottom");
    let outcome = bottom(&format!("{astray} [role=status]"));
    let list = bottom("#rejected-rows");
    page.browser
        .until(&format!("{outcome} <= Math.min({list}, innerHeight)"))
        .await;
    for row in [&broken, &astray] {
        page.browser
            .shows(&format!("{row} summary"), "sent again")
            .await;
    }
    // What was sent again is not to review.
    page.browser.shows("#state", "All is well.").await;
    page.browser
        .until("document.getElementById('review').hidden && document.getElementById('rejected-seen').hidden")
        .await;
    page.browser.screenshot_of_page("sent-again").await;

    let books = system.settled().await;
    assert_eq!((books.counts(), books.stats.rejected), ([4, 2, 0], 2));
    page.counts("unique", 2).await;
    page.browser.shows("#event-rows", "fixed").await;
    page.browser.shows("#event-rows", "astray").await;
    page.browser.click(&format!("{broken} .note a")).await;
    page.browser.shows("#event-title", "fixed").await;
    // The browser logs the one response that was an error.
    page.ends_well_but(&["status of 422"]).await;
}

#[tokio::test]
async fn both_versions_of_a_conflict_are_side_by_side_with_differences_marked() {
    let system = System::start().await;
    let first = event("orders", "1").with_payload(r#"{"tea":1,"amount":1.50,"paid":true}"#);
    let second = first
        .clone()
        .with_payload(r#"{"tea":1,"amount":1.5,"paid":true}"#);
    system.api().store(&[first]).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.browser.shows("#conflicts-note", "None").await;
    system.api().store(&[second.with_source("elsewhere")]).await;
    page.counts("conflicts", 1).await;
    page.browser
        .shows("#conflict-rows", "differs: source, payload")
        .await;
    page.browser
        .shows("#conflict-rows", "source: e2e → source: elsewhere")
        .await;
    page.browser.click("#conflict-rows summary").await;
    let sides = "#conflict-rows .sides > div";
    page.browser
        .shows(&format!("{sides}:nth-child(1) h3"), "Stored first")
        .await;
    page.browser
        .shows(&format!("{sides}:nth-child(2) h3"), "Received later")
        .await;
    let marked = |side: u8| format!("{sides}:nth-child({side}) mark");
    page.lists(&marked(1), &["source: e2e", "  \"amount\": 1.50,"])
        .await;
    page.lists(&marked(2), &["source: elsewhere", "  \"amount\": 1.5,"])
        .await;
    let whole = page
        .browser
        .text(&format!("{sides}:nth-child(1) pre"))
        .await;
    assert!(
        whole.contains("\"tea\": 1,") && whole.contains("\"paid\": true"),
        "{whole}"
    );
    // They are side by side, not one below the other.
    let tops = "new Set([...document.querySelectorAll('#conflict-rows .sides > div')]\
        .map(side => Math.round(side.getBoundingClientRect().top))).size";
    assert_eq!(page.browser.value(tops).await, 1);
    page.browser.screenshot_of_page("conflict").await;

    // If only payloads differ, the row shows where.
    let third = event("orders", "1").with_payload(r#"{"tea":1,"amount":1.51,"paid":true}"#);
    system.api().store(&[third]).await;
    page.browser
        .shows(
            "#conflict-rows li:first-child summary",
            "\"amount\": 1.50 → \"amount\": 1.51",
        )
        .await;

    // Of a long line, where the difference is; and that is not cut off.
    let long = "x".repeat(300);
    let fourth =
        |end: &str| event("orders", "2").with_payload(&format!(r#"{{"note":"{long}{end}"}}"#));
    system.api().store(&[fourth("left")]).await;
    system.api().store(&[fourth("right")]).await;
    page.browser
        .shows(
            "#conflict-rows li:first-child .detail",
            "\"note\": … xxxxxxxxxxleft\" → \"note\": … xxxxxxxxxxright\"",
        )
        .await;
    let rejected =
        r#"{"topic":"orders","event_id":"","timestamp":"yesterday","source":"","payload":{}}"#;
    system.put("events.orders", rejected).await;
    page.browser
        .shows("#rejected-rows .detail", "timestamp")
        .await;
    let is_whole = "[...document.querySelectorAll('#conflict-rows .detail, #rejected-rows .detail')].every(one => \
        one.offsetWidth > 0 && one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight + 1)";
    for display in [Display::WIDE, Display::LAPTOP, Display::TABLET] {
        page.browser.set_display(display).await;
        page.browser
            .screenshot_of_page(&format!("kept-rows-{}", display.width))
            .await;
        page.browser.until(is_whole).await;
    }
    page.ends_well().await;
}
