//! Events that would run code in the page if their text were treated as anything but text.

use e2e::{
    System,
    browser::Display,
    event::{Event, event},
    wait::{eventually, holds},
};

use super::Page;

const HOSTILE: [&str; 7] = [
    "<script>window.taken=1</script>",
    "<img src=x onerror=window.taken=2>",
    "</script><script>window.taken=3</script>",
    "\"><svg onload=window.taken=4>",
    "javascript:window.taken=5",
    "one\u{2028}two\u{2029}three\u{0}\u{1b}[31m",
    "\u{202e}gpj.exe\u{2066}\u{200f}",
];

/// Characters without a shape, by the names that the page shows instead.
const UNSEEN: [(&str, &str); 5] = [
    ("\u{0}\u{1b}", "U+0000 U+001B"),
    ("\u{2028}", "U+2028"),
    ("\u{2029}", "U+2029"),
    ("\u{202e}", "U+202E"),
    ("\u{2066}\u{200f}", "U+2066 U+200F"),
];

/// A text as the page shows it.
fn shown(text: &str) -> String {
    let name = |text: String, (unseen, name): (&str, &str)| text.replace(unseen, name);
    UNSEEN.into_iter().fold(text.to_owned(), name)
}

fn hostile(text: &str) -> Event {
    let quoted = serde_json::to_string(text).unwrap();
    event(text, text)
        .with_source(text)
        .with_payload(&format!("{{{quoted}:{quoted}}}"))
}

#[tokio::test]
async fn hostile_events_are_shown_only_as_text() {
    let system = System::start().await;
    let (topic, payload) = ("x".repeat(255), "y".repeat(200_000));
    let long = event(&topic, &topic).with_source(&topic);
    let long = long.with_payload(&format!(r#"{{"{payload}":"{payload}"}}"#));
    assert_eq!(system.api().store(&[long]).await.status, 200);
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    // But for the chart in each row of the topics.
    let [elements, scripts] = ["img, svg:not(.sparkline), iframe, object", "script"];
    let count = async |selector: &str| {
        let count = format!("document.querySelectorAll('{selector}').length");
        page.browser.value(&count).await
    };
    let before = (count(elements).await, count(scripts).await);
    for text in HOSTILE {
        // As an event, as a conflict with itself, and as a rejected arrival.
        let stored = system.api().store(&[hostile(text)]).await;
        assert_eq!(stored.status, 200, "{}", stored.text());
        system
            .api()
            .store(&[hostile(text).with_source("other")])
            .await;
        let subject = "events.orders";
        system
            .put(subject, &format!("{text}{}", hostile(text).json()))
            .await;
        system.put(subject, &hostile(text).json()).await;
    }
    let many = HOSTILE.len() as u64;
    page.counts("conflicts", many).await;
    page.counts("rejected", 2 * many).await;
    page.browser
        .until("document.querySelectorAll('#event-rows li').length === 8")
        .await;
    page.browser
        .until("document.querySelectorAll('#rejected-rows li').length === 14")
        .await;
    page.browser
        .until("document.querySelectorAll('#conflict-rows li').length === 7")
        .await;
    page.browser
        .until("document.querySelectorAll('#topic-rows tr').length === 8")
        .await;
    // All of it expands.
    page.browser
        .run(
            "document.querySelectorAll('li > details').forEach(one => { one.open = true })",
            Vec::new(),
        )
        .await;
    page.browser
        .until("[...document.querySelectorAll('#event-rows pre')].every(one => one.textContent !== '')")
        .await;
    page.browser
        .until("document.querySelectorAll('#conflict-rows .sides > div').length === 14")
        .await;

    // It is shown verbatim but for characters without a shape, newest first, each text with its own direction.
    let mut texts: Vec<_> = HOSTILE.iter().rev().map(|text| shown(text)).collect();
    texts.push(topic.clone());
    for cell in [
        "summary bdi:nth-of-type(1)",
        "summary bdi:nth-of-type(2)",
        "summary bdi:nth-of-type(3)",
    ] {
        assert_eq!(
            page.texts(&format!("#event-rows {cell}")).await,
            texts,
            "{cell}"
        );
    }
    let payloads = page.texts("#event-rows pre").await;
    for (payload, text) in payloads.iter().zip(HOSTILE.iter().rev()) {
        let quoted = shown(&serde_json::to_string(text).unwrap());
        assert_eq!(*payload, format!("{{\n  {quoted}: {quoted}\n}}"));
    }
    let topics = page.texts("#topic-rows th bdi").await;
    // The middle of a long name is left out.
    let is_listed = |text: &String| {
        topics.iter().any(|topic| match topic.split_once('…') {
            Some((start, end)) => text.starts_with(start) && text.ends_with(end),
            None => topic == text,
        })
    };
    assert!(texts.iter().all(is_listed), "{topics:?}");

    // And as nothing else.
    assert_eq!((count(elements).await, count(scripts).await), before);
    assert_eq!(page.browser.value("window.taken === undefined").await, true);
    assert_eq!(
        page.browser.value("document.title").await,
        "Event aggregator"
    );
    let links = "[...document.links].every(link => link.href.startsWith(location.origin))";
    assert_eq!(page.browser.value(links).await, true);
    page.browser.screenshot_of_page("hostile").await;
    assert!(!page.browser.is_too_wide().await, "at 1,440 px");
    page.browser.set_display(Display::NARROW).await;
    page.browser.until("innerWidth === 360").await;
    page.browser.screenshot_of_page("hostile-narrow").await;
    assert!(!page.browser.is_too_wide().await, "at 360 px");
    page.ends_well().await;

    refuses_scripts(&page).await;
}

#[tokio::test]
async fn no_character_reorders_or_hides_what_is_around_it() {
    let system = System::start().await;
    let reordering = event("invoice\u{202e}fdp.exe", "a\u{200b}b")
        .with_payload("{\"\u{5d0}\u{5d1}\":\"\u{5d2}\u{5d3}\",\"note\":\"x\u{2066}y\",\"heart\":\"\u{2764}\u{fe0f}\"}");
    system.api().store(&[reordering]).await;
    system.put("events.orders", "{\"a\":\"\u{202e}\"").await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let summary = "#event-rows summary bdi:not(.preview)";
    page.lists(summary, &["invoiceU+202Efdp.exe", "aU+200Bb", "e2e"])
        .await;
    page.browser
        .shows("#event-rows .preview", "\"note\":\"xU+2066y\"")
        .await;
    page.lists("#topic-rows th a", &["invoiceU+202Efdp.exe"])
        .await;
    page.browser.click("#event-rows summary").await;
    page.browser.shows("#event-rows pre", "xU+2066y").await;
    // An emoji is a shape.
    page.browser
        .shows("#event-rows pre", "\"\u{2764}\u{fe0f}\"")
        .await;
    // The name is to the left of its value.
    let [name, value] = [0, 1].map(|index| {
        format!("document.querySelectorAll('#event-rows pre bdi')[{index}].getBoundingClientRect()")
    });
    let is_ordered = format!("{name}.right < {value}.left");
    assert_eq!(page.browser.value(&is_ordered).await, true);
    page.browser.click("#rejected-rows summary").await;
    page.browser
        .shows("#rejected-rows", "not visible: U+202E.")
        .await;
    page.browser.screenshot_of_page("reordering").await;
    page.ends_well().await;
}

#[tokio::test]
async fn names_of_any_length_take_one_line_and_at_most_three_in_the_table() {
    let system = System::start().await;
    let long = "x".repeat(255);
    let other = event("short", "1").with_source(&long);
    system.api().store(&[event("short", "1"), other]).await;
    let longest = event(&long, &long).with_source(&long);
    system.api().store(&[longest]).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let rows = "#event-rows summary, #topic-rows tr";
    page.browser
        .until(&format!("document.querySelectorAll('{rows}').length === 4"))
        .await;
    let heights = |selector: &str| {
        format!(
            "[...document.querySelectorAll('{selector}')].map(one => Math.round(one.getBoundingClientRect().height))"
        )
    };
    for display in [Display::WIDE, Display::NARROW] {
        page.browser.set_display(display).await;
        page.browser
            .until(&format!("innerWidth === {}", display.width))
            .await;
        for (rows, times) in [("#event-rows summary", 1.0), ("#topic-rows tr", 2.5)] {
            let heights = page.browser.value(&heights(rows)).await;
            let heights: Vec<f64> = serde_json::from_value(heights).unwrap();
            let [least, most] = [f64::min, f64::max].map(|of| heights.iter().copied().reduce(of));
            let is_right = most.unwrap() <= times * least.unwrap();
            assert!(is_right, "{rows} at {} px: {heights:?}", display.width);
        }
        page.browser
            .screenshot_of_page(&format!("long-names-{}", display.width))
            .await;
        assert!(!page.browser.is_too_wide().await);
    }
    page.ends_well().await;
}

/// Even if one of them were inserted into the page as more than text, the page's content security policy would block
/// it.
async fn refuses_scripts(page: &Page) {
    for put in [
        "const one = document.createElement('script'); one.textContent = 'window.taken = 6'; document.body.append(one)",
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.taken = 7\">')",
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://192.0.2.1/\">')",
    ] {
        page.browser.run(put, Vec::new()).await;
    }
    let mut refused = Vec::new();
    eventually("the policy refuses each of them", async || {
        let errors = page.browser.console_errors().await;
        let is_policy = |error: &String| error.contains("Content Security Policy");
        refused.extend(errors.into_iter().filter(is_policy));
        holds(refused.len() == 3, &refused)
    })
    .await;
    assert_eq!(page.browser.value("window.taken === undefined").await, true);
}
