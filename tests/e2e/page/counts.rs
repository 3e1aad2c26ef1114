//! Counters, rates and topics.

use e2e::{
    System,
    browser::Display,
    event::{event, events},
    wait::{eventually, holds},
};
use fantoccini::key::Key;
use serde_json::json;

use super::{Page, counted};

const TOPICS: &str = "#topic-rows th a";

#[tokio::test]
async fn counters_increase_while_events_arrive_and_their_sum_always_holds() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.browser
        .shows("#first-steps", "Send the first event")
        .await;
    page.browser.screenshot_of_page("nothing-stored").await;
    system.put("events.orders", "no JSON").await;
    page.counts("rejected", 1).await;

    let publisher = system.endless_publisher();
    let mut received = 0;
    for _ in 0..5 {
        let more = format!(
            "{} > {received} && {}",
            counted("received"),
            counted("received")
        );
        received = page.browser.until(&more).await.as_u64().unwrap();
        let all = ["received", "unique", "duplicates", "rejected"].map(counted);
        let all = page.browser.value(&format!("[{}]", all.join(","))).await;
        let [received, unique, duplicates, rejected] =
            serde_json::from_value::<[u64; 4]>(all).unwrap();
        assert_eq!(received, unique + duplicates + rejected);
    }
    assert!(page.count("duplicates").await > 0);
    page.browser.shows("#sum", "The sum is exact").await;
    page.browser.shows("#state", "Healthy").await;
    page.browser.shows("#review", "1 rejected to review").await;

    // The chart over several seconds, and its description in words.
    let drawn = "[...document.querySelectorAll('#chart-events path')]\
        .filter(path => path.getAttribute('d').split('L').length > 10).length === 3";
    page.browser.until(drawn).await;
    let label = "document.querySelector('#chart-events svg').getAttribute('aria-label')";
    page.browser
        .until(&format!("/in [0-9,]{{3,}}\\/s, stored [0-9,]{{3,}}\\/s, duplicates [0-9,]{{2,}}\\/s/.test({label})"))
        .await;
    page.browser
        .until("/[0-9.]+ ms/.test(document.querySelector('#chart-commits figcaption').textContent)")
        .await;
    page.browser.screenshot("overview").await;
    publisher.finished().await.succeeded();

    let books = system.settled().await;
    page.counts("received", books.stats.received).await;
    page.counts("unique", books.stats.unique_processed).await;
    page.counts("duplicates", books.stats.duplicate_dropped)
        .await;
    page.counts("pending", 0).await;
    page.ends_well().await;
}

#[tokio::test]
async fn free_disk_space_and_how_long_it_lasts_are_those_of_the_api() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..10)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    // Others write to the same disk, so it is compared until it agrees.
    let free = "return Promise.all([import('/page/dom.js'), fetch('stats').then(stats => stats.json())])\
        .then(([{ bytes }, { disk }]) => [document.getElementById('count-disk').textContent, bytes(disk.free_bytes), disk])";
    eventually("the free space is that of the API", async || {
        let found = page.browser.run(free, Vec::new()).await;
        holds(
            found[0] == found[1] && found[2]["store_bytes"].as_u64() > Some(0),
            &found,
        )
    })
    .await;
    page.browser.shows("#disk-left", "today’s rate").await;
    let total = "return Promise.all([import('/page/dom.js'), fetch('stats').then(stats => stats.json())])\
        .then(([{ bytes }, { disk }]) => bytes(disk.total_bytes))";
    let total = page.browser.run(total, Vec::new()).await;
    let total = format!("of {}", total.as_str().unwrap());
    page.browser.shows("#disk-total", &total).await;
    page.browser.shows("#disk-store", "the store uses ").await;

    // It warns if the space lasts less than three days, or if less than 1 GiB is left.
    for (free_bytes, seconds_left, warning) in [
        (
            50_000_000_000_u64,
            Some(71 * 3600),
            "Disk space is running out.",
        ),
        (50_000_000_000, Some(73 * 3600), ""),
        (50_000_000_000, None, ""),
        (1_000_000_000, None, "Little disk space is left."),
    ] {
        let disk = json!({"free_bytes": free_bytes, "total_bytes": 100_000_000_000_u64, "store_bytes": 1, "seconds_left": seconds_left});
        let problem = "return import('/page/disk.js').then(({ problem }) => problem(arguments[0])?.title ?? '')";
        let found = page.browser.run(problem, vec![disk.clone()]).await;
        assert_eq!(found, warning, "{disk}");
    }
    page.ends_well().await;
}

#[tokio::test]
async fn after_a_burst_low_rates_are_no_flat_line_and_values_can_be_read_off() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let slider = "document.querySelector('#chart-events .slider')";
    let read =
        "Number(document.querySelector('#chart-events b').textContent.replace(/[^0-9]/g, ''))";
    let scale = "document.querySelector('#chart-events figcaption .note').textContent";
    let is_logarithmic = format!("{scale} === 'logarithmic scale'");
    system.api().store(&events("burst", 0..2_000)).await;
    let mut number = 0;
    eventually("low rates after the burst have a scale", async || {
        number += 1;
        system
            .api()
            .store(&[event("slow", &number.to_string())])
            .await;
        let value = browser.value(&is_logarithmic).await;
        holds(value == true, &value)
    })
    .await;
    let ticks = page.texts("#chart-events .ticks span").await;
    assert!(ticks.len() >= 3, "{ticks:?}");
    browser.screenshot("after-a-burst").await;

    // With the keyboard, back to the burst.
    browser.run(&format!("{slider}.focus()"), Vec::new()).await;
    eventually("the burst can be read off", async || {
        browser.press(&[Key::Left]).await;
        let value = browser.value(read).await;
        holds(value.as_u64() >= Some(200), &value)
    })
    .await;
    let text = browser.value(&format!("{slider}.ariaValueText")).await;
    let text = text.as_str().unwrap();
    assert!(text.contains(':') && text.contains("stored "), "{text}");
    browser.shows("#chart-events figcaption", "at ").await;
    browser.screenshot("crosshair").await;
    browser.press(&[Key::Escape]).await;
    browser.until(&is_logarithmic).await;

    // With the pointer, at the far right: the newest sample.
    let point = format!(
        "const box = {slider}.getBoundingClientRect();
         {slider}.dispatchEvent(new PointerEvent('pointermove', {{clientX: box.right - 1, clientY: box.top + 5}}))"
    );
    browser.run(&point, Vec::new()).await;
    browser.shows("#chart-events figcaption", "at ").await;
    page.ends_well().await;
}

#[tokio::test]
async fn topics_are_sorted_by_each_column_and_found_by_name() {
    let system = System::start().await;
    // Topic, events, duplicates: each column has its own order.
    for (topic, unique, duplicates) in [("beta", 1, 4), ("alpha", 5, 5), ("gamma", 3, 1)] {
        system.api().store(&events(topic, 0..unique)).await;
        for _ in 0..duplicates {
            system.api().store(&events(topic, 0..1)).await;
        }
    }
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    // The table has all columns where it does not share the width.
    page.browser.set_display(Display::LAPTOP).await;
    page.lists(TOPICS, &["alpha", "beta", "gamma"]).await;
    for (column, first, order) in [
        ("received", "descending", ["alpha", "beta", "gamma"]),
        ("topic", "ascending", ["alpha", "beta", "gamma"]),
        (
            "duplicate_dropped",
            "descending",
            ["alpha", "beta", "gamma"],
        ),
        ("duplicate_share", "descending", ["beta", "alpha", "gamma"]),
        ("last_at", "descending", ["gamma", "alpha", "beta"]),
    ] {
        let head = format!("th[data-sort={column}]");
        let mut order = order;
        for direction in [
            first,
            if first == "ascending" {
                "descending"
            } else {
                "ascending"
            },
        ] {
            page.browser.click(&format!("{head} button")).await;
            let sorted = format!("document.querySelector('{head}').ariaSort === '{direction}'");
            page.browser.until(&sorted).await;
            page.lists(TOPICS, &order).await;
            order.reverse();
        }
    }
    page.lists(
        "#topic-rows tr:first-child td.number:not(.last)",
        &["5", "4", "80.0 %"],
    )
    .await;

    page.browser.fill("#find", "MM").await;
    page.lists(TOPICS, &["gamma"]).await;
    page.browser.shows("#topics-note", "1 of 3 topics").await;
    page.browser.screenshot_of_page("topic-found").await;
    // The address shows the same to others.
    assert!(page.browser.address().await.contains("find=MM"));
    page.browser.reload().await;
    page.lists(TOPICS, &["gamma"]).await;
    page.browser.fill("#find", "nothing of that name").await;
    page.lists(TOPICS, &[]).await;
    page.ends_well().await;
}

#[tokio::test]
async fn topics_keep_their_places_while_counts_change_and_all_can_be_reached() {
    let system = System::start().await;
    let names: Vec<_> = (0..205).map(|number| format!("t-{number:03}")).collect();
    for topics in names.chunks(50) {
        let events: Vec<_> = topics.iter().map(|topic| event(topic, "1")).collect();
        system.api().store(&events).await;
    }
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let list = |range: std::ops::Range<usize>| names[range].iter().map(String::as_str).collect();
    let [first, second, third]: [Vec<_>; 3] = [list(0..100), list(100..200), list(200..205)];
    page.lists(TOPICS, &first).await;
    page.browser
        .shows("#topics-note", "100 of 205 topics")
        .await;
    system.api().store(&events("t-050", 0..7)).await;
    page.browser
        .until("document.querySelector('#topic-rows tr:nth-child(51) td').textContent === '8'")
        .await;
    page.lists(TOPICS, &first).await;

    page.browser.click("#topics-next").await;
    page.lists(TOPICS, &second).await;
    page.browser.click("#topics-next").await;
    page.lists(TOPICS, &third).await;
    page.browser
        .until("document.getElementById('topics-next').disabled")
        .await;
    page.browser.screenshot_of_page("last-topics").await;
    // The page of topics is part of the address.
    page.browser.run("history.back()", Vec::new()).await;
    page.lists(TOPICS, &second).await;
    page.browser.reload().await;
    page.lists(TOPICS, &second).await;
    page.browser.click("#topics-first").await;
    page.lists(TOPICS, &first).await;
    // Other orders have no pages; the page says what to do.
    page.browser.click("th[data-sort=received] button").await;
    page.browser.shows("#topics-note", "sort by topic").await;
    page.browser
        .shows("#topic-rows tr:first-child", "t-050")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_click_on_a_topic_shows_its_events_and_its_address() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    system.api().store(&events("payments", 0..2)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let shown = "#event-rows .topic";
    page.lists(
        shown,
        &["payments", "payments", "orders", "orders", "orders"],
    )
    .await;
    page.browser.click("#topic-rows tr:nth-child(1) a").await;
    page.lists(shown, &["orders"; 3]).await;
    page.browser.shows("#filter", "orders").await;
    eventually("the topic is in the address", async || {
        let address = page.browser.address().await;
        holds(address.ends_with("/?topic=orders"), address)
    })
    .await;
    page.browser.screenshot_of_page("topic-chosen").await;
    page.browser.click("#filter a").await;
    page.lists(
        shown,
        &["payments", "payments", "orders", "orders", "orders"],
    )
    .await;
    page.ends_well().await;
}
