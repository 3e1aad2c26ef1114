//! What there is to review: the headline, and the marks of what was seen.

use e2e::{
    System,
    event::{array, event},
};

use super::Page;

#[tokio::test]
async fn the_headline_says_what_to_review_and_leads_there() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.browser.shows("#state", "All is well.").await;
    system.put("events.orders", "{").await;
    system.put("events.orders", "[").await;
    let other = event("orders", "1").with_source("other");
    system.api().store(&[event("orders", "1"), other]).await;
    page.browser
        .shows("#review", "2 rejected, 1 conflict to review")
        .await;
    let state = page.browser.text("#state").await;
    assert_eq!(state, "Healthy");
    for section in ["rejected", "conflicts"] {
        page.browser.click(&format!("#review-{section}")).await;
        page.browser
            .until(&format!("location.hash === '#{section}'"))
            .await;
        let is_in_sight = format!(
            "(box => box.top < innerHeight && box.bottom > 0)\
             (document.getElementById('{section}-title').getBoundingClientRect())"
        );
        page.browser.until(&is_in_sight).await;
    }
    page.browser.screenshot("to-review").await;
    page.ends_well().await;
}

#[tokio::test]
async fn what_is_marked_as_seen_is_so_for_everyone_until_something_new_arrives() {
    let mut system = System::start().await;
    system.put("events.orders", "{").await;
    system.put("events.orders", "[").await;
    let other = event("orders", "1").with_source("other");
    system.api().store(&[event("orders", "1"), other]).await;
    system.settled().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let Some(colleague) = Page::open(system.api(), "").await else {
        return;
    };
    for one in [&page, &colleague] {
        one.browser
            .shows("#review", "2 rejected, 1 conflict to review")
            .await;
        assert_eq!(one.texts("#rejected-rows .seen").await.len(), 0);
    }
    page.browser
        .shows("#rejected-seen", "Mark all 2 as seen for everyone")
        .await;
    page.browser.click("#rejected-seen").await;
    page.browser
        .shows("#rejected-status", "Marked as seen for everyone.")
        .await;
    let marked = "document.querySelectorAll('#rejected-rows .seen').length === 2";
    for one in [&page, &colleague] {
        one.browser.shows("#review", "1 conflict to review").await;
        one.browser
            .until("document.getElementById('review-rejected').hidden")
            .await;
        one.browser.until(marked).await;
        one.browser.shows("#rejected-rows summary", "seen").await;
        one.browser
            .until("document.getElementById('rejected-seen').hidden")
            .await;
    }
    page.browser.screenshot_of_page("seen").await;
    colleague.browser.reload().await;
    colleague.browser.until(marked).await;
    page.browser
        .shows("#conflicts-seen", "Mark it as seen for everyone")
        .await;
    page.browser.click("#conflicts-seen").await;
    for one in [&page, &colleague] {
        one.browser.shows("#state", "All is well.").await;
        one.browser
            .until("document.getElementById('review').hidden")
            .await;
    }

    // The store keeps the marks.
    system.aggregator.stop().await;
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    colleague.browser.reload().await;
    colleague.browser.shows("#state", "All is well.").await;

    // Something new has to be reviewed, and only that.
    system.put("events.orders", "new").await;
    for one in [&page, &colleague] {
        one.browser.shows("#review", "1 rejected to review").await;
        one.browser.shows("#rejected-seen", "Mark it as seen").await;
        one.browser
            .until(
                "JSON.stringify([...document.querySelectorAll('#rejected-rows li')]\
                 .map(row => row.classList.contains('seen'))) === '[false,true,true]'",
            )
            .await;
    }
    // The browser logs what failed while the aggregator was restarted.
    for one in [&page, &colleague] {
        one.ends_well_but(&["net::ERR_", "status of 503"]).await;
    }
}

#[tokio::test]
async fn what_is_sent_again_in_one_tab_is_no_longer_to_review_in_others() {
    let system = System::start().await;
    // The topics do not match the subject; the events themselves are valid.
    for id in ["1", "2"] {
        let astray = array(&[event("orders", id)]);
        system.put("events.payments", &astray).await;
    }
    system.settled().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let Some(colleague) = Page::open(system.api(), "").await else {
        return;
    };
    let sent = "JSON.stringify([...document.querySelectorAll('#rejected-rows li')]\
        .map(row => row.classList.contains('sent')))";
    for one in [&page, &colleague] {
        one.browser.shows("#review", "2 rejected to review").await;
        one.browser
            .shows("#rejected-seen", "Mark all 2 as seen for everyone")
            .await;
        one.browser
            .until(&format!("{sent} === '[false,false]'"))
            .await;
    }
    page.browser
        .click("#rejected-rows li:last-child summary")
        .await;
    page.browser
        .click("#rejected-rows li:last-child button")
        .await;
    for one in [&page, &colleague] {
        one.browser.shows("#review", "1 rejected to review").await;
        one.browser
            .shows("#rejected-seen", "Mark it as seen for everyone")
            .await;
        one.browser
            .until(&format!("{sent} === '[false,true]'"))
            .await;
    }
    page.browser
        .click("#rejected-rows li:first-child summary")
        .await;
    page.browser
        .click("#rejected-rows li:first-child button")
        .await;
    for one in [&page, &colleague] {
        one.browser.shows("#state", "All is well.").await;
        one.browser
            .until("document.getElementById('review').hidden && document.getElementById('rejected-seen').hidden")
            .await;
        one.browser
            .until(&format!("{sent} === '[true,true]'"))
            .await;
        one.ends_well().await;
    }
}
