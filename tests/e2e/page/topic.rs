//! The view of a topic, and the sparklines in the table of topics.

use e2e::{
    System,
    event::{event, events},
    wait::{eventually, holds},
};
use serde_json::Value;

use super::{Page, counted};

impl Page {
    /// Waits until the view of a topic has the numbers of the API.
    async fn agrees_on(&self, topic: &str) {
        eventually("the view agrees with the API", async || {
            let topics = self.api.get("/topics?limit=1000").await?.json();
            let mut topics = topics["topics"].as_array().unwrap().iter();
            let counts = topics.find(|one| one["topic"] == topic).unwrap();
            let (received, duplicates) = (number(counts, "received"), number(counts, "duplicate_dropped"));
            #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
            let share = format!("{:.1} %", 100.0 * duplicates as f64 / received as f64);
            let expected = [
                received.to_string(),
                number(counts, "unique_processed").to_string(),
                duplicates.to_string(),
                share,
                counts["first_at"].as_str().unwrap().to_owned(),
                counts["last_at"].as_str().unwrap().to_owned(),
            ];
            let shown = "[...['received', 'unique', 'duplicates', 'share'].map(name => document.getElementById('topic-' + name).textContent), \
                 ...document.querySelectorAll('#topic-first time, #topic-last time')].map(one => one.dateTime ?? one)";
            let shown = self.browser.value(shown).await;
            let shown: Vec<String> = serde_json::from_value(shown).unwrap();
            holds(shown == expected, (&shown, &expected))
        })
        .await;
    }
}

fn number(counts: &Value, name: &str) -> u64 {
    counts[name].as_u64().unwrap()
}

#[tokio::test]
async fn the_view_of_a_topic_has_the_numbers_of_the_api() {
    let system = System::start().await;
    let api = system.api();
    // The name is a part of other names.
    for topic in ["a.orders", "orders", "orders.eu", "order"] {
        api.store(&events(topic, 0..20)).await;
    }
    for _ in 0..3 {
        api.store(&[event("orders", "often")]).await;
    }
    api.store(&events("orders", 0..2)).await;
    api.store(&events("orders.eu", 0..9)).await;
    let Some(page) = Page::open(api, "").await else {
        return;
    };
    let browser = &page.browser;
    let hidden = "document.getElementById('topic').hidden";
    assert_eq!(browser.value(hidden).await, true);
    browser.shows("#topic-rows tr:nth-child(3)", "orders").await;
    browser.click("#topic-rows tr:nth-child(3) a").await;
    browser.shows("#topic-title", "Topic orders").await;
    browser.until("document.activeElement.id === 'topic'").await;
    page.agrees_on("orders").await;
    page.lists("#topic-repeated li", &["often 2", "id-0 1", "id-1 1"])
        .await;
    eventually(
        "the chart ends with the last bucket of the API",
        async || {
            let history = api.get("/histogram?topic=orders&since=-1h").await?.json();
            let last = history["buckets"].as_array().unwrap().last().unwrap();
            let expected = format!(
                "Now: stored {}, duplicates {}.",
                number(last, "stored"),
                number(last, "duplicates")
            );
            let label = "document.querySelector('#chart-topic svg').getAttribute('aria-label')";
            let label = browser.value(label).await;
            holds(
                label.as_str().unwrap().contains(&expected),
                (&label, expected),
            )
        },
    )
    .await;
    browser.screenshot_of_page("topic").await;

    // It follows, and the rate ends when nothing arrives any more.
    let is_idle = "document.getElementById('topic-rate').textContent === '0/s'";
    browser.until(is_idle).await;
    api.store(&events("orders", 20..300)).await;
    page.agrees_on("orders").await;
    browser
        .until("parseFloat(document.getElementById('topic-rate').textContent) > 0")
        .await;
    browser.until(is_idle).await;

    // Only for one topic.
    browser
        .open(&format!("{}/?topic=orders&topic=order", api.url()))
        .await;
    page.counts("duplicates", 13).await;
    assert_eq!(browser.value(hidden).await, true);
    browser.open(&format!("{}/?topic=nosuch", api.url())).await;
    browser
        .shows("#topic-note", "No event of this topic has been received.")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_rate_is_that_of_ten_seconds_or_until_then_of_the_last_full_minute() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    // Seconds since the topic was opened, events received meanwhile, and in the last full minute, and seconds since the last.
    for (seconds, received, minute, age, text) in [
        (0, 0, 0, 9, "–"),
        (2, 0, 0, 1, "–"),
        (2, 0, 96, 1, "1.6/s"),
        (9, 9, 0, 1, "–"),
        (10, 0, 96, 10, "0/s"),
        (10, 16, 0, 1, "1.6/s"),
        (60, 1, 0, 9, "below 0.1/s"),
        (10, 12_345, 0, 0, "1,235/s"),
        // A quiet topic need not be measured.
        (0, 0, 0, 10, "0/s"),
        (2, 0, 96, 86_400, "0/s"),
    ] {
        let script = "const [milliseconds, received, minute, age] = arguments;\
            const topic = { recent: [0, minute, 6], last_at: new Date(milliseconds - age).toISOString() };\
            return import('/page/rate.js').then(({ rateOf }) =>\
            rateOf([{ at: 0, received: 7 }, { at: milliseconds, received: 7 + received }], topic).text)";
        let arguments = vec![
            (1000 * seconds).into(),
            received.into(),
            minute.into(),
            (1000 * age).into(),
        ];
        let found = page.browser.run(script, arguments).await;
        assert_eq!(found, text, "{received} in {seconds} s, {minute} before");
    }
    page.ends_well().await;
}

#[tokio::test]
async fn the_duplicates_of_an_event_are_exact_and_it_is_said_why_earlier_ones_are_not_known() {
    let mut system = System::start().await;
    let api = system.api().clone();
    let often = event("orders", "often");
    api.store(&[often.clone(), event("orders", "once")]).await;
    api.store(std::slice::from_ref(&often)).await;
    // More than the events whose duplicates are counted one by one.
    let others = events("other", 0..4_100);
    for _ in 0..2 {
        api.store(&others).await;
    }
    let Some(page) = Page::open(&api, "?topic=orders").await else {
        return;
    };
    let browser = &page.browser;
    let note = "#topic-repeated-note";
    page.lists("#topic-repeated li", &["often 1"]).await;
    browser
        .shows(note, "An event’s own page counts earlier ones too.")
        .await;
    for (id, count) in [("often", "1"), ("once", "none")] {
        browser
            .open(&format!("{}/?event=orders,{id}", api.url()))
            .await;
        let count = format!("duplicates\n{count}\n");
        browser.shows("#event-body", &count).await;
    }
    // After a restart, the topic's number and each event's are known, and which are repeated most is not.
    system.aggregator.stop().await;
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    browser
        .open(&format!("{}/?event=orders,often", api.url()))
        .await;
    browser.shows("#event-body", "duplicates\n1\n").await;
    browser.open(&format!("{}/?topic=orders", api.url())).await;
    browser
        .shows(
            note,
            "The event of the 1 duplicate is not known: it was received before ",
        )
        .await;
    browser.shows("#topic-duplicates", "1").await;
    page.lists("#topic-repeated li", &[]).await;
    browser.screenshot_of_page("topic-restarted").await;
    // A topic without duplicates has none.
    api.store(&[event("new", "1")]).await;
    browser.open(&format!("{}/?topic=new", api.url())).await;
    page.lists(note, &["None."]).await;
    page.ends_well_but(&["net::ERR_", "status of 503"]).await;
}

#[tokio::test]
async fn a_number_of_duplicates_that_is_not_exact_is_not_said_to_be_so_because_of_too_many() {
    let system = System::start().await;
    system.api().store(&[event("orders", "17")]).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    // As after a COMMIT that was reported as failed, when there are few.
    let pretended = "const real = window.fetch;
        const bounds = { at_least: 1, at_most: 2 };
        window.often = [{ topic: 'orders', event_id: '17', stored_sequence: 1, ...bounds }];
        window.fetch = async (path, options) => {
            const response = await real(path, options);
            if (!/^(event|duplicates)\\?/.test(path)) return response;
            const found = await response.json();
            if (path.startsWith('event?')) Object.assign(found.duplicates, bounds);
            else Object.assign(found, { total: 2, often: window.often });
            return new Response(JSON.stringify(found));
        };";
    let browser = &page.browser;
    browser.run(pretended, Vec::new()).await;
    let select =
        "history.pushState(null, '', arguments[0]); dispatchEvent(new PopStateEvent('popstate'))";
    browser
        .run(select, vec!["?topic=orders&event=orders,17".into()])
        .await;
    let why = "not all duplicates since then are in memory, so";
    browser
        .shows(
            "#event-body",
            "1 to 2: which events the other duplicates repeat is not known",
        )
        .await;
    page.lists("#topic-repeated li", &["17 1 to 2"]).await;
    let estimates =
        format!("; {why} these are estimates. An event’s own page counts all of its duplicates.");
    browser.shows("#topic-repeated-note", &estimates).await;
    browser.screenshot_of_page("topic-estimated").await;
    // Or none of them is known.
    browser.run("window.often = []", Vec::new()).await;
    browser.run(select, vec!["?topic=".into()]).await;
    browser.run(select, vec!["?topic=orders".into()]).await;
    browser
        .shows(
            "#topic-repeated-note",
            "The events of the 2 duplicates are not known: these were received before ",
        )
        .await;
    browser
        .shows(
            "#topic-repeated-note",
            ", or are not in memory. An event’s own page counts all of its duplicates.",
        )
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_topic_of_any_name_has_a_view() {
    let system = System::start().await;
    let api = system.api();
    let long = "x".repeat(255);
    let names = [
        "a",
        "\u{0}",
        "\u{e000}",
        "\u{1f680}",
        "b\u{202e}c",
        "<b>&\"",
        &long,
    ];
    for name in names {
        api.store(&[event(name, name), event(name, "other")]).await;
        api.store(&[event(name, name)]).await;
    }
    let Some(page) = Page::open(api, "").await else {
        return;
    };
    for name in names {
        let link = "const link = [...document.querySelectorAll('#topic-rows a')].find(link => new URLSearchParams(link.search).get('topic') === arguments[0]); link?.click(); return Boolean(link)";
        eventually("the topic is listed", async || {
            let found = page.browser.run(link, vec![name.into()]).await;
            holds(found == true, name)
        })
        .await;
        page.agrees_on(name).await;
        page.lists("#topic-repeated .number", &["1"]).await;
        assert!(!page.browser.is_too_wide().await, "{name}");
    }
    page.browser.screenshot_of_page("topic-long").await;
    page.ends_well().await;
}

#[tokio::test]
async fn each_topic_has_a_sparkline_of_its_last_minutes_with_its_values_as_text() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..40)).await;
    system.api().store(&events("payments", 0..7)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let lines = "[...document.querySelectorAll('#topic-rows .sparkline')]";
    let labels = format!("{lines}.map(line => line.getAttribute('aria-label'))");
    let shows = async |numbers: [u64; 2]| {
        eventually("the sparklines have their values as text", async || {
            let found = page.browser.value(&labels).await;
            let is_so = numbers.iter().enumerate().all(|(index, number)| {
                let start = format!("{number} events in the last 30 minutes, at most ");
                found[index]
                    .as_str()
                    .is_some_and(|text| text.starts_with(&start))
            });
            holds(is_so, &found)
        })
        .await;
    };
    shows([40, 7]).await;
    // Thirty points, of which only some of the last are above zero.
    // The present minute is not over and has a path of its own, which begins where the other ends.
    let drawn =
        format!("{lines}.map(line => [...line.children].map(path => path.getAttribute('d')))");
    let drawn: Vec<[String; 2]> = serde_json::from_value(page.browser.value(&drawn).await).unwrap();
    for [full, so_far] in &drawn {
        let (before, present) = so_far[1..].split_once('L').unwrap();
        assert!(full.ends_with(before), "{full} {so_far}");
        let line = &format!("{full}L{present}");
        let heights: Vec<f64> = line[1..]
            .split('L')
            .map(|point| point.split(' ').nth(1).unwrap().parse().unwrap())
            .collect();
        assert_eq!(heights.len(), 30, "{line}");
        assert!(
            heights[..20].iter().all(|height| *height >= heights[0]),
            "{line}"
        );
        assert!(
            heights[20..].iter().any(|height| *height < heights[0]),
            "{line}"
        );
    }
    system.api().store(&events("payments", 0..10)).await;
    shows([40, 17]).await;
    page.counts("received", 57).await;
    assert_eq!(page.browser.value(&counted("duplicates")).await, 7);
    page.ends_well().await;
}
