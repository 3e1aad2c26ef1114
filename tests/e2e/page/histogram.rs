//! The histogram over the events: its values, and the selection of a time.

use e2e::{
    System,
    browser::{Display, Pointer},
    event::{event, events},
};
use fantoccini::key::Key;

use super::Page;

const SLIDER: &str = "#histogram .slider";

/// The address has a time that begins and ends at whole minutes.
const IS_WHOLE: &str = "(query => ['since', 'until'].every(name => /^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:00\\.000Z$/.test(query.get(name))))\
    (new URLSearchParams(location.search))";

/// What the slider says.
const READ: &str = "document.querySelector('#histogram .slider').ariaValueText";

async fn counted() -> System {
    let system = System::start().await;
    system.api().store(&events("orders", 0..5)).await;
    system.api().store(&events("orders", 0..2)).await;
    system.api().store(&events("payments", 0..3)).await;
    system.put("events.orders", "{").await;
    system.settled().await;
    system
}

#[tokio::test]
async fn the_histogram_counts_what_is_stored_dropped_and_rejected_in_all_or_in_a_topic() {
    let system = counted().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    page.lists("#histogram li b", &["8", "2", "1"]).await;
    // Every part is drawn, the same for screen readers, and in a table.
    for part in ["stored", "duplicates", "rejected"] {
        let drawn =
            format!("document.querySelector('#histogram path.{part}').getAttribute('d') !== ''");
        browser.until(&drawn).await;
    }
    let label = browser
        .value("document.querySelector('#histogram svg').ariaLabel")
        .await;
    assert!(
        label
            .as_str()
            .unwrap()
            .contains("8 stored, 2 duplicates, 1 rejected"),
        "{label}"
    );
    // The counts of one minute are read off with the pointer, and gone without it.
    let point = "const slider = document.querySelector('#histogram .slider'), box = slider.getBoundingClientRect();
        slider.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + 1 }))";
    browser.run(point, Vec::new()).await;
    page.lists("#histogram li b", &["0", "0", "0"]).await;
    browser.shows("#histogram figcaption", ", 1 min").await;
    let leave = "document.querySelector('#histogram .slider').dispatchEvent(new PointerEvent('pointerleave'))";
    browser.run(leave, Vec::new()).await;
    page.lists("#histogram li b", &["8", "2", "1"]).await;
    browser.click("#histogram-table summary").await;
    let sums = "[0, 1, 2].map(column => [...document.querySelectorAll('#histogram-rows tbody tr')]\
        .reduce((sum, row) => sum + Number(row.cells[column + 1].textContent), 0)).join()";
    browser.until(&format!("{sums} === '8,2,1'")).await;
    browser.screenshot_of_page("histogram").await;

    // A rejected arrival has no topic.
    browser
        .open(&format!("{}/?topic=orders", system.api().url()))
        .await;
    browser
        .until("document.querySelectorAll('#histogram li')[2].hidden")
        .await;
    let label =
        "document.querySelector('#histogram svg').ariaLabel.includes('5 stored, 2 duplicates.')";
    browser.until(label).await;
    // Of several topics, the sums.
    browser
        .open(&format!(
            "{}/?topic=orders&topic=payments",
            system.api().url()
        ))
        .await;
    page.lists("#histogram li b", &["8", "2", "–"]).await;
    browser
        .until("document.querySelectorAll('#histogram li')[2].hidden")
        .await;
    let many: Vec<_> = (0..11).map(|number| format!("topic={number}")).collect();
    browser
        .open(&format!("{}/?{}", system.api().url(), many.join("&")))
        .await;
    browser
        .shows(
            "#histogram",
            "Select at most 10 topics to see counts over time.",
        )
        .await;
    browser
        .until("document.querySelector('#histogram figcaption').hidden")
        .await;
    page.ends_well().await;
}

#[tokio::test]
async fn the_histogram_follows_new_events() {
    let system = counted().await;
    let Some(page) = Page::open(system.api(), "?since=-1h").await else {
        return;
    };
    page.lists("#histogram li b", &["8", "2", "1"]).await;
    system.api().store(&[event("orders", "new")]).await;
    page.lists("#histogram li b", &["9", "2", "1"]).await;
    page.ends_well().await;
}

#[tokio::test]
async fn dragging_selects_a_time_with_a_mouse_and_with_a_finger() {
    let system = counted().await;
    let Some(page) = Page::open(system.api(), "?topic=orders").await else {
        return;
    };
    let browser = &page.browser;
    for pointer in [Pointer::Mouse, Pointer::Finger] {
        browser.shows("#histogram", "Totals").await;
        browser
            .run(
                "document.getElementById('histogram').scrollIntoView()",
                Vec::new(),
            )
            .await;
        // From right to left as well.
        browser.drag(pointer, SLIDER, 0.7, 0.2).await;
        browser.until(IS_WHOLE).await;
        let minutes = browser
            .value(
                "(query => (Date.parse(query.get('until')) - Date.parse(query.get('since'))) / 60000)(new URLSearchParams(location.search))",
            )
            .await;
        // Half of the 30 minutes, with those at both ends.
        assert!(
            (15.0..=18.0).contains(&minutes.as_f64().unwrap()),
            "{minutes}"
        );
        browser.shows("#events-note", "No event matches.").await;
        browser.shows("#filter", "orders").await;
        browser.run("history.back()", Vec::new()).await;
        browser.until("location.search === '?topic=orders'").await;
        page.lists("#event-rows .topic", &["orders"; 5]).await;
    }
    // Up to the present: new events still appear.
    browser.drag(Pointer::Mouse, SLIDER, 0.5, 0.999).await;
    browser.until("location.search.includes('since=20')").await;
    assert_eq!(
        browser.value("location.search.includes('until')").await,
        false
    );
    page.lists("#event-rows .topic", &["orders"; 5]).await;
    system.api().store(&[event("orders", "new")]).await;
    browser.shows("#event-rows li:first-child", "new").await;
    browser.set_display(Display::NARROW).await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_time_is_read_and_selected_with_the_keyboard() {
    let system = counted().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    page.lists("#histogram li b", &["8", "2", "1"]).await;
    let focus = format!("document.querySelector('{SLIDER}').focus()");
    browser.run(&focus, Vec::new()).await;
    browser.press(&[Key::Home]).await;
    browser
        .until(&format!(
            "{READ}.endsWith('1 min: 0 stored, 0 duplicates, 0 rejected')"
        ))
        .await;
    // Nothing is selected yet.
    assert_eq!(browser.value("location.search").await, "");
    browser.chord(Key::Shift, &[Key::Right, Key::Right]).await;
    browser
        .until(&format!("{READ}.startsWith('selected ')"))
        .await;
    browser.press(&[Key::Escape]).await;
    browser
        .until(&format!("{READ}.startsWith('Totals; each bar is 1 min: ')"))
        .await;
    browser.press(&[Key::Home]).await;
    browser.chord(Key::Shift, &[Key::Right, Key::Right]).await;
    browser.screenshot("histogram-selected").await;
    browser.press(&[Key::Enter]).await;
    browser.until(IS_WHOLE).await;
    let minutes = "(query => (Date.parse(query.get('until')) - Date.parse(query.get('since'))) / 60000)(new URLSearchParams(location.search))";
    assert_eq!(browser.value(minutes).await, 3);
    page.ends_well().await;
}

#[tokio::test]
async fn a_click_selects_the_time_of_a_bar() {
    let system = counted().await;
    let Some(page) = Page::open(system.api(), "?topic=orders").await else {
        return;
    };
    let browser = &page.browser;
    page.lists("#histogram li b", &["5", "2", "–"]).await;
    browser
        .run(
            "document.getElementById('histogram').scrollIntoView()",
            Vec::new(),
        )
        .await;
    browser.drag(Pointer::Mouse, SLIDER, 0.4, 0.4).await;
    browser.until(IS_WHOLE).await;
    let minutes = "(query => (Date.parse(query.get('until')) - Date.parse(query.get('since'))) / 60000)(new URLSearchParams(location.search))";
    assert_eq!(browser.value(minutes).await, 1);
    page.ends_well().await;
}

#[tokio::test]
async fn the_axis_begins_at_the_left_and_ends_at_the_right_within_the_histogram() {
    let system = counted().await;
    let Some(page) = Page::open(
        system.api(),
        "?since=2026-01-31T12:00:00Z&until=2026-01-31T13:00:00Z",
    )
    .await
    else {
        return;
    };
    let browser = &page.browser;
    let is_apart = "(() => {
        document.getElementById('over-time').open = true;
        const box = (selector) => document.querySelector(selector).getBoundingClientRect();
        const [first, last] = [box('#histogram .axis span:first-child'), box('#histogram .axis span:last-child')];
        const [plot, most] = [box('#histogram .drawing'), box('#histogram .most')];
        return Math.abs(first.left - plot.left) < 1 && Math.abs(last.right - plot.right) < 1
            && first.width > 0 && first.right < last.left && most.bottom <= plot.top;
    })()";
    for display in [
        Display::WIDE,
        Display::LAPTOP,
        Display::TABLET,
        Display::NARROW,
    ] {
        browser.set_display(display).await;
        browser.until(is_apart).await;
        browser
            .screenshot_of_page(&format!("histogram-axis-{}", display.width))
            .await;
    }
    page.ends_well().await;
}

#[tokio::test]
async fn the_sums_of_a_range_say_from_when_to_when_they_count() {
    let system = counted().await;
    let Some(page) = Page::open(system.api(), "?since=-5m").await else {
        return;
    };
    page.lists("#histogram li b", &["8", "2", "1"]).await;
    // Whole minutes.
    page.browser
        .until("/^Totals from .*\\d\\d:\\d\\d:00 .* to .*; each bar is 1 min$/.test(document.querySelector('#histogram figcaption .note').textContent)")
        .await;
    // Of a search without a range, there is nothing to say between the commas.
    page.browser
        .open(&format!("{}/?q=amount%3D1", system.api().url()))
        .await;
    page.browser
        .until("/^Totals of all events, not only those found; each bar is .+$/.test(document.querySelector('#histogram figcaption .note').textContent)")
        .await;
    page.ends_well().await;
}
