//! What finds nothing or cannot be searched for, and what is offered instead.

use super::{IDS, with_events};
use crate::page::Page;

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
