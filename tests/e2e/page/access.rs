//! The page without a mouse, with a screen reader, in dark and light, on a phone and on a laptop.

use e2e::{
    System,
    browser::Display,
    event::{array, event, events},
};
use fantoccini::key::Key;

use super::Page;

/// Far more than the number of elements that can have the focus.
const MOST_TABS: usize = 200;

const FOCUSED: &str = "document.activeElement";

impl Page {
    /// Presses Tab until an element has the focus, which must be visible.
    async fn tab_to(&self, selector: &str) {
        let is_there = format!("{FOCUSED}.matches('{selector}')");
        for _ in 0..MOST_TABS {
            if self.browser.value(&is_there).await == true {
                return;
            }
            self.browser.press(&[Key::Tab]).await;
        }
        panic!("{selector} is never focused");
    }
}

impl Page {
    /// Checks it at each width and in both colour schemes, and saves a screenshot of each.
    async fn is_accessible(&self, state: &str) {
        let browser = &self.browser;
        for (name, display) in [
            ("wide", Display::WIDE),
            ("wide-dark", Display::WIDE.dark()),
            ("laptop", Display::LAPTOP),
            ("laptop-dark", Display::LAPTOP.dark()),
            ("tablet", Display::TABLET),
            ("tablet-dark", Display::TABLET.dark()),
            ("narrow", Display::NARROW),
            ("narrow-dark", Display::NARROW.dark()),
        ] {
            browser.set_display(display).await;
            let is_so = format!(
                "innerWidth === {} && matchMedia('(prefers-color-scheme: dark)').matches === {}",
                display.width, display.is_dark
            );
            browser.until(&is_so).await;
            browser.screenshot_of_page(&format!("{state}-{name}")).await;
            assert!(!browser.is_too_wide().await, "{state}, {name}");
            if let Some(violations) = browser.violations().await {
                let descriptions: Vec<_> = violations
                    .iter()
                    .map(|found| format!("{found:#?}"))
                    .collect();
                assert!(
                    descriptions.is_empty(),
                    "{state}, {name}: {}",
                    descriptions.join("\n")
                );
            }
        }
    }
}

/// A system in which each part of the page has content.
async fn full() -> System {
    let system = System::start().await;
    for topic in [
        "orders",
        "payments",
        "a.topic.with.a.very.long.name.that.is.still.allowed",
    ] {
        system.api().store(&events(topic, 0..5)).await;
        system.api().store(&events(topic, 0..2)).await;
    }
    let other = event("orders", "1").with_payload(r#"{"n":2}"#);
    system.api().store(&[event("orders", "1")]).await;
    system.api().store(&[other]).await;
    system
        .put("events.payments", &array(&[event("orders", "astray")]))
        .await;
    system.put("events.orders", r#"{"topic":"orders"}"#).await;
    system.settled().await;
    system
}

#[tokio::test]
async fn everything_can_be_done_by_keyboard_and_the_focus_is_always_visible() {
    let system = full().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    page.counts("rejected", 2).await;
    browser
        .until("document.querySelectorAll('#rejected-rows li').length === 2")
        .await;
    browser
        .until("document.querySelectorAll('#conflict-rows li').length === 1")
        .await;

    // The first element skips to the content.
    browser.press(&[Key::Tab]).await;
    assert_eq!(browser.value(&format!("{FOCUSED}.className")).await, "skip");
    browser.press(&[Key::Enter]).await;
    browser.until("location.hash === '#events'").await;
    browser.reload().await;
    browser
        .until("document.querySelectorAll('#event-rows li').length > 3")
        .await;

    // From the first to the last element: each shows that it has the focus, and has a name.
    let mut walked = 0;
    loop {
        browser.press(&[Key::Tab]).await;
        if browser.value(&format!("{FOCUSED} === document.body")).await == true {
            break;
        }
        walked += 1;
        assert!(walked < MOST_TABS, "the focus does not come to an end");
        let seen = browser
            .run(
                "const one = document.activeElement, style = getComputedStyle(one);
                 const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
                 const box = one.getBoundingClientRect();
                 const name = one.ariaLabel || one.textContent || one.labels?.[0]?.textContent
                    || document.getElementById(one.getAttribute('aria-labelledby'))?.textContent;
                 return [outline || style.boxShadow !== 'none', box.width > 0 && box.height > 0, Boolean(name), one.outerHTML]",
                Vec::new(),
            )
            .await;
        for (fact, index) in [
            ("is seen to have the focus", 0),
            ("has a size", 1),
            ("has a name", 2),
        ] {
            assert_eq!(seen[index], true, "{fact}: {}", seen[3]);
        }
    }
    assert!(walked >= 20, "only {walked} can be focused");

    // Sorting, searching, choosing a topic.
    page.tab_to("th[data-sort=topic] button").await;
    browser.press(&[Key::Enter]).await;
    browser
        .until("document.querySelector('th[data-sort=topic]').ariaSort === 'descending'")
        .await;
    browser.reload().await;
    page.tab_to("#find").await;
    browser.types("pay").await;
    page.lists("#topic-rows th a", &["payments"]).await;
    page.tab_to("#topic-rows a").await;
    browser.press(&[Key::Enter]).await;
    page.lists("#event-rows .topic", &["payments"; 5]).await;

    // Pausing, expanding.
    page.tab_to("#pause").await;
    browser.press(&[Key::Space]).await;
    browser.shows("#pause", "Resume").await;
    page.tab_to("#event-rows summary").await;
    browser.press(&[Key::Enter]).await;
    browser.shows("#event-rows pre", "\"n\": 1").await;

    // Requeueing, and inspecting a conflict.
    page.tab_to("#rejected-rows li:nth-child(2) summary").await;
    browser.press(&[Key::Enter]).await;
    page.tab_to("#rejected-rows li:nth-child(2) button").await;
    browser.press(&[Key::Space]).await;
    browser
        .shows("#rejected-rows li:nth-child(2)", "Sent again unchanged.")
        .await;
    page.tab_to("#conflict-rows summary").await;
    browser.press(&[Key::Enter]).await;
    browser.shows("#conflict-rows mark", "\"n\"").await;
    browser.screenshot("keyboard").await;
    page.ends_well().await;
}

#[tokio::test]
async fn the_accessibility_check_finds_nothing_and_nothing_is_too_wide() {
    let mut system = full().await;
    let Some(page) = Page::open(system.api(), "?topic=orders").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows("#topic-repeated", "id-1").await;
    for list in ["rejected", "conflict", "event", "topic"] {
        browser
            .until(&format!(
                "document.getElementById('{list}-rows').children.length > 0"
            ))
            .await;
    }
    for state in ["folded", "seen", "unfolded", "in-trouble"] {
        match state {
            "seen" => {
                browser.click("#rejected-seen").await;
                browser
                    .until("document.querySelectorAll('#rejected-rows .seen').length === 2")
                    .await;
                browser.shows("#review", "1 conflict to review").await;
            }
            "unfolded" => {
                browser
                    .run(
                        "document.querySelectorAll('details').forEach(one => { one.open = true })",
                        Vec::new(),
                    )
                    .await;
                browser
                    .until("document.querySelectorAll('#conflict-rows mark').length > 0")
                    .await;
            }
            "in-trouble" => {
                system.broker.stop().await;
                browser.shows("#warnings", "Broker lost.").await;
            }
            _ => {}
        }
        page.is_accessible(state).await;
    }
    page.ends_well().await;
}

#[tokio::test]
async fn searches_events_and_the_help_pass_the_accessibility_check() {
    let system = full().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let show_help = "document.getElementById('keys').showModal();
        document.getElementById('search-help').open = true";
    let unfold = "document.getElementById('histogram-table').open = true;
        document.querySelectorAll('#event-rows details').forEach(one => { one.open = true })";
    let copy = "document.querySelector('#copies button').click()";
    for (state, query, shown, change) in [
        (
            "search-found",
            "?q=id-1&since=-1h&zone=utc",
            "with this id",
            unfold,
        ),
        ("search-wrong", "?q=event_id%3D1+event_id%3D2", "", ""),
        (
            "search-none",
            "?since=2026-01-31T12:00:00Z&until=2026-01-31T13:00:00Z",
            "No event",
            "",
        ),
        ("event", "?event=orders,1", "", copy),
        ("event-none", "?event=orders,none", "", ""),
        ("help", "", "", show_help),
    ] {
        browser.set_display(Display::WIDE).await;
        browser
            .open(&format!("{}/{query}", system.api().url()))
            .await;
        browser.shows("#state", "Healthy").await;
        browser.shows("#events-note", shown).await;
        match state {
            "search-wrong" => browser.shows("#search-problem", "more than once").await,
            "event" => browser.shows("#event-body .sides", "Received later").await,
            "event-none" => browser.shows("#event-body", "Search for this id").await,
            _ => {}
        }
        browser.run(change, Vec::new()).await;
        page.is_accessible(state).await;
    }
    page.ends_well_but(&["status of 422", "status of 404"])
        .await;
}

#[tokio::test]
async fn names_of_topics_have_room_and_differ_and_no_column_is_cut() {
    let system = System::start().await;
    let long = "part.".repeat(40);
    let names = [
        "orders.europe-west.production.checkout.created".to_owned(),
        "orders.us-east.production.checkout.created".to_owned(),
        format!("{long}paid"),
        format!("{long}cancelled"),
    ];
    for name in &names {
        system.api().store(&events(name, 0..5)).await;
    }
    let Some(page) = Page::open(system.api(), "?sort=duplicate_dropped&order=desc").await else {
        return;
    };
    let browser = &page.browser;
    browser
        .until("document.querySelectorAll('#topic-rows tr').length === 4")
        .await;
    let mut listed = page.texts("#topic-rows th a").await;
    listed.sort();
    assert_eq!(listed[..2], names[..2]);
    assert!(
        listed[2].ends_with("part.cancelled") && listed[3].ends_with("part.paid"),
        "{listed:?}"
    );
    assert!(listed.iter().all(|name| name.len() < 70), "{listed:?}");
    // Its part of the width, whether all of the table is in sight, whether each head is in its column,
    // and whether each name is in its cell.
    let measured = "const table = document.querySelector('#topics table'), scroll = table.parentElement;
        const box = (one) => one.getBoundingClientRect();
        const [heads, cells] = ['thead th', '#topic-rows :is(th, td)'].map((which) => [...table.querySelectorAll(which)].filter((one) => one.checkVisibility()));
        return [
          box(heads[0]).width / box(table).width,
          scroll.scrollWidth <= scroll.clientWidth && [...heads, ...cells].every((one) => box(one).right <= box(scroll).right + 1),
          heads.every((head) => [...head.querySelectorAll('button')].every((button) => box(button).left >= box(head).left - 1 && box(button).right <= box(head).right + 1)),
          [...table.querySelectorAll('#topic-rows th')].every((cell) => cell.scrollWidth <= cell.clientWidth && box(cell.firstChild).bottom <= box(cell).bottom),
        ]";
    // A scroll bar narrows the page and the table by this many pixels, while conditions on the width of the window stay.
    let narrow = "const [page, list] = [document.body.parentElement, document.querySelector('#topics .scroll')];
        page.style.paddingRight = list.style.paddingRight = arguments[0]";
    for width in [1920, 1440, 1280, 1024, 768, 360] {
        let display = Display {
            width,
            ..Display::WIDE
        };
        browser.set_display(display).await;
        browser.until(&format!("innerWidth === {width}")).await;
        for bar in ["0px", "15px"] {
            browser.run(narrow, vec![bar.into()]).await;
            let found = browser.run(measured, Vec::new()).await;
            assert!(found[0].as_f64() >= Some(0.39), "{width}, {bar}: {found}");
            for fact in 1..=3 {
                assert_eq!(found[fact], true, "{width}, {bar}: {found}");
            }
        }
        browser.screenshot_of_page(&format!("topics-{width}")).await;
    }
    page.ends_well().await;
}

#[tokio::test]
async fn charts_share_a_row_from_a_tablet_up_and_a_phone_shows_events_first() {
    let system = full().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    page.counts("rejected", 2).await;
    let rows = "new Set([...document.querySelectorAll('.charts > *')]\
        .map(chart => Math.round(chart.getBoundingClientRect().bottom))).size";
    for (display, expected) in [
        (Display::WIDE, 1),
        (Display::LAPTOP, 1),
        (Display::TABLET, 1),
        (Display::NARROW, 3),
    ] {
        browser.set_display(display).await;
        browser
            .until(&format!("innerWidth === {}", display.width))
            .await;
        assert_eq!(browser.value(rows).await, expected, "{display:?}");
    }
    // The size of the disk and how long it lasts are shown on a phone, too.
    for shown in ["disk-total", "disk-left"] {
        browser
            .until(&format!(
                "document.getElementById('{shown}').offsetHeight > 0"
            ))
            .await;
    }
    // The first event is on the first screen.
    browser.until("scrollY === 0").await;
    let bottom = "document.querySelector('#event-rows li').getBoundingClientRect().bottom";
    browser.until(&format!("{bottom} < innerHeight")).await;
    page.ends_well().await;
}
