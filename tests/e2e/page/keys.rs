//! Keys, and the skip link.

use e2e::{System, event::events};
use fantoccini::key::Key;

use super::Page;

/// The id of the event whose row has the focus.
const ROW: &str = "document.activeElement.matches('#event-rows summary') && document.activeElement.querySelector('bdi:nth-of-type(2)').textContent";

#[tokio::test]
async fn keys_search_move_open_pause_and_show_help() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows("#event-rows li:first-child", "id-2").await;
    for (key, id) in [
        ("j", "id-2"),
        ("j", "id-1"),
        ("j", "id-0"),
        ("j", "id-0"),
        ("k", "id-1"),
    ] {
        browser.types(key).await;
        browser.until(&format!("({ROW}) === '{id}'")).await;
    }
    browser.press(&[Key::Enter]).await;
    browser
        .shows("#event-rows details[open]", "processed_at")
        .await;
    // Opening it paused the list.
    browser.shows("#pause", "Resume").await;
    browser.types("p").await;
    browser.shows("#pause", "Pause").await;
    browser.types("p").await;
    browser.shows("#pause", "Resume").await;

    browser.types("?").await;
    browser.until("document.getElementById('keys').open").await;
    browser.screenshot("keys").await;
    // Only the help is in reach.
    browser.types("/p").await;
    assert_eq!(
        browser
            .value("document.getElementById('keys').contains(document.activeElement)")
            .await,
        true
    );
    browser.shows("#pause", "Resume").await;
    browser.press(&[Key::Escape]).await;
    browser.until("!document.getElementById('keys').open").await;

    // Typed into a field they are text.
    browser.types("/").await;
    browser.until("document.activeElement.id === 'query'").await;
    browser.types("j?p/k").await;
    assert_eq!(browser.value("document.activeElement.value").await, "j?p/k");
    browser.shows("#pause", "Resume").await;
    assert_eq!(
        browser.value("document.getElementById('keys').open").await,
        false
    );
    page.ends_well().await;
}

#[tokio::test]
async fn escape_leaves_the_search_field_with_its_text_and_closes_an_open_row() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "?q=n%3D1").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows("#event-rows li:first-child", "id-2").await;
    browser.types("/").await;
    browser.until("document.activeElement.id === 'query'").await;
    browser.press(&[Key::Escape]).await;
    browser
        .until("document.activeElement === document.body")
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('query').value + location.search")
            .await,
        "n=1?q=n%3D1"
    );
    browser.types("j").await;
    browser.until(&format!("({ROW}) === 'id-2'")).await;
    browser.press(&[Key::Enter]).await;
    browser
        .shows("#event-rows details[open]", "processed_at")
        .await;
    browser.press(&[Key::Escape]).await;
    browser
        .until("document.querySelector('#event-rows details[open]') === null")
        .await;
    browser.until(&format!("({ROW}) === 'id-2'")).await;
    page.ends_well().await;
}

#[tokio::test]
async fn a_link_to_a_section_leads_there_although_data_arrives_later() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..60)).await;
    for n in 0..20 {
        system.put("events.orders", &format!("{{{n}")).await;
    }
    system.settled().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    for id in ["events", "topics", "rejected", "conflicts"] {
        browser.open("about:blank").await;
        browser.open(&format!("{}/#{id}", system.api().url())).await;
        browser
            .until("document.querySelectorAll('#event-rows li').length === 50")
            .await;
        browser
            .until("document.querySelectorAll('#rejected-rows li').length === 20")
            .await;
        // At the top, or as near as the end of the page allows.
        browser
            .until(&format!(
                "(top => Math.abs(top) < 2 || (top > 0 && scrollY + innerHeight >= document.documentElement.scrollHeight - 2))(document.getElementById('{id}').getBoundingClientRect().top)"
            ))
            .await;
        browser.screenshot(&format!("link-to-{id}")).await;
    }
    // Not against a reader who has scrolled.
    browser.open("about:blank").await;
    browser
        .open(&format!("{}/#conflicts", system.api().url()))
        .await;
    let scroll = "dispatchEvent(new WheelEvent('wheel')); scrollTo(0, 0); document.body.style.paddingTop = '50px'";
    browser.run(scroll, Vec::new()).await;
    browser
        .until("document.querySelectorAll('#rejected-rows li').length === 20")
        .await;
    assert_eq!(browser.value("scrollY").await, 0);
    page.ends_well().await;
}

#[tokio::test]
async fn keys_with_a_modifier_are_the_browsers() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows("#event-rows li:first-child", "id-2").await;
    let press = "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: arguments[0], [arguments[1]]: true, bubbles: true }))";
    for modifier in ["ctrlKey", "altKey", "metaKey"] {
        for key in ["/", "j", "k", "p", "?"] {
            browser.run(press, vec![key.into(), modifier.into()]).await;
        }
    }
    assert_eq!(
        browser
            .value("document.activeElement === document.body")
            .await,
        true
    );
    assert_eq!(
        browser.value("document.getElementById('keys').open").await,
        false
    );
    browser.shows("#pause", "Pause").await;
    page.ends_well().await;
}

#[tokio::test]
async fn keys_of_one_character_can_be_turned_off_and_stay_off() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let is_idle =
        "document.activeElement === document.body && !document.getElementById('keys').open";
    browser.types("?").await;
    browser.click("#keys-on").await;
    browser.press(&[Key::Escape]).await;
    for _ in 0..2 {
        browser.shows("#event-rows li:first-child", "id-2").await;
        browser
            .run("document.activeElement.blur()", Vec::new())
            .await;
        browser.types("jp?/").await;
        assert_eq!(browser.value(is_idle).await, true);
        browser.shows("#pause", "Pause").await;
        browser.reload().await;
    }
    browser.click("#show-keys").await;
    browser
        .until("!document.getElementById('keys-on').checked")
        .await;
    browser.click("#keys-on").await;
    browser.press(&[Key::Escape]).await;
    browser
        .run("document.activeElement.blur()", Vec::new())
        .await;
    browser.types("/").await;
    browser.until("document.activeElement.id === 'query'").await;
    page.ends_well().await;
}

#[tokio::test]
async fn an_open_event_is_closed_with_escape() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "?topic=orders&event=orders,id-1").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows("#event-body", "duplicates").await;
    browser.press(&[Key::Escape]).await;
    browser
        .until("document.getElementById('event').hidden")
        .await;
    assert_eq!(browser.value("location.search").await, "?topic=orders");
    page.ends_well().await;
}

#[tokio::test]
async fn the_skip_link_leads_past_counters_and_charts_to_the_events() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    browser.shows("#event-rows li:first-child", "id-2").await;
    browser.press(&[Key::Tab, Key::Enter]).await;
    browser
        .until("document.activeElement.id === 'events'")
        .await;
    browser
        .until("document.getElementById('events').getBoundingClientRect().top < innerHeight / 2")
        .await;
    // Next is the search field.
    browser.press(&[Key::Tab]).await;
    browser.until("document.activeElement.id === 'query'").await;
    page.ends_well().await;
}
