//! The API documentation page.

use e2e::{System, browser::Display, event::event};

use super::Page;

#[tokio::test]
async fn the_api_can_be_read_and_tried_out_without_requests_to_other_hosts() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.browser.click("nav a[href='docs']").await;
    page.browser
        .until("document.querySelectorAll('.opblock').length > 10")
        .await;
    page.browser.screenshot("docs").await;
    let summaries = page.texts(".opblock-summary-description").await;
    assert!(summaries.len() > 10, "{summaries:?}");
    assert!(
        summaries.iter().all(|summary| !summary.contains('`')),
        "{summaries:?}"
    );
    // There is no server to choose.
    let select = "document.querySelector('.scheme-container select')?.checkVisibility() ?? false";
    assert_eq!(page.browser.value(select).await, false);
    // One of the operations, tried out from the page itself.
    page.browser
        .click(".opblock-get [data-path='/stats']")
        .await;
    page.browser.click(".opblock.is-open .try-out__btn").await;
    page.browser.click(".opblock.is-open .execute").await;
    page.browser
        .shows(".opblock.is-open .live-responses-table", "unique_processed")
        .await;
    page.browser.screenshot("docs-tried").await;
    page.ends_well().await;
}

#[tokio::test]
async fn every_get_operation_that_ends_can_be_tried_out_and_succeeds() {
    let system = System::start().await;
    // The event that the examples of parameters name.
    system.api().store(&[event("readme", "1")]).await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.browser
        .open(&format!("{}/docs", system.api().url()))
        .await;
    let document = system.api().get("/openapi.json").await.unwrap().json();
    let paths = document["paths"].as_object().unwrap();
    let operations: Vec<_> = paths
        .iter()
        .filter_map(|(path, item)| Some((path, item.get("get")?)))
        .collect();
    let shown = ".opblock-get";
    let count = format!(
        "document.querySelectorAll('{shown}').length === {}",
        operations.len()
    );
    page.browser.until(&count).await;
    for (path, operation) in operations {
        let id = operation["operationId"].as_str().unwrap();
        let block = format!("[id$='-{id}']");
        page.browser
            .click(&format!("{block} .opblock-summary-control"))
            .await;
        page.browser
            .shows(&format!("{block} .responses-wrapper"), "200")
            .await;
        let try_it_out = format!("{block} .try-out__btn");
        let is_endless = !operation["responses"]["200"]["content"]["text/event-stream"].is_null();
        if is_endless {
            let buttons = format!("document.querySelectorAll(\"{try_it_out}\").length");
            assert_eq!(page.browser.value(&buttons).await, 0, "{path}");
            continue;
        }
        page.browser.click(&try_it_out).await;
        page.browser.click(&format!("{block} .execute")).await;
        let status = format!("{block} .live-responses-table .response .response-col_status");
        page.browser.shows(&status, "200").await;
        page.browser
            .click(&format!("{block} .opblock-summary-control"))
            .await;
    }
    page.ends_well().await;
}

#[tokio::test]
async fn it_is_dark_or_light_like_the_system_and_leads_back_to_the_page() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    let browser = &page.browser;
    let ground = "getComputedStyle(document.documentElement).backgroundColor";
    let filter = "getComputedStyle(document.querySelector('.swagger-ui')).filter";
    for (display, name, is_inverted) in [
        (Display::WIDE, "docs-light", false),
        (Display::WIDE.dark(), "docs-dark", true),
        (Display::NARROW.dark(), "docs-dark-narrow", true),
    ] {
        browser.set_display(display).await;
        browser.open(&format!("{}/docs", system.api().url())).await;
        browser.click(".opblock-post [data-path='/publish']").await;
        browser
            .shows(".opblock.is-open .body-param__example", "event_id")
            .await;
        let ground = browser.value(ground).await;
        assert_eq!(ground == "rgb(18, 23, 21)", display.is_dark, "{ground}");
        let filter = browser.value(filter).await.to_string();
        assert_eq!(filter.contains("invert"), is_inverted, "{filter}");
        // Its members are in the order in which an event is written.
        let example = browser.text(".opblock.is-open .body-param__example").await;
        let members = ["topic", "event_id", "timestamp", "source", "payload"];
        let places = members.map(|member| example.find(member).expect("it is in the example"));
        assert!(places.is_sorted(), "{example}");
        browser.screenshot_of_page(name).await;
    }
    browser.click("header a").await;
    browser
        .until("document.getElementById('state')?.dataset.state === 'well'")
        .await;
    assert_eq!(browser.address().await, format!("{}/", system.api().url()));
    page.ends_well().await;
}
