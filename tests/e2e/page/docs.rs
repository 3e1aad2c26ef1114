//! The API documentation page.

use e2e::System;

use super::Page;

#[tokio::test]
async fn the_api_can_be_read_and_tried_out_without_requests_to_other_hosts() {
    let system = System::start().await;
    let Some(page) = Page::open(system.api(), "").await else {
        return;
    };
    page.browser.click("nav a[href='/docs']").await;
    page.browser
        .until("document.querySelectorAll('.opblock').length > 10")
        .await;
    page.browser.screenshot("docs").await;
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
