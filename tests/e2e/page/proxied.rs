//! The page behind a proxy that serves it below a path, and strips that path from requests.

use e2e::{
    System,
    event::{event, events},
    nginx::Nginx,
};

use super::Page;

#[tokio::test]
async fn the_page_and_the_documentation_work_below_a_path_of_a_proxy() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    system.put("events.orders", "{").await;
    system.settled().await;
    let below = format!(
        "location /logs/ {{ proxy_pass http://{}/; proxy_set_header Host $http_host; }}",
        system.api().address()
    );
    let Some(nginx) = Nginx::with("", &below).await else {
        return;
    };
    let Some(page) = Page::open(nginx.api(), "logs/?topic=orders").await else {
        return;
    };
    let browser = &page.browser;
    page.counts("unique", 3).await;
    page.lists("#event-rows .topic", &["orders"; 3]).await;
    browser.click("#topic-rows a").await;
    system.api().store(&[event("orders", "later")]).await;
    browser.shows("#event-rows li:first-child", "later").await;
    let command = page.copied("#copies", "Copy as curl").await;
    let url = nginx.api().url();
    assert!(
        command.starts_with(&format!("curl -sS '{url}/logs/events?")),
        "{command}"
    );
    browser.click("#event-rows summary").await;
    browser.click("#event-rows a").await;
    browser.shows("#event-body", "store sequence\n4").await;
    browser.until("location.pathname === '/logs/'").await;
    browser.shows("#histogram li b", "4").await;
    browser.click("#rejected-rows summary").await;
    let fixed = event("orders", "fixed").json();
    browser.fill("#rejected-rows textarea", &fixed).await;
    browser.click("#rejected-rows button").await;
    browser
        .shows("#rejected-rows", "Sent with your changes.")
        .await;
    browser.screenshot("below-a-path").await;

    browser.click("nav a[href='docs']").await;
    browser.click(".opblock-get [data-path='/stats']").await;
    browser.click(".opblock.is-open .try-out__btn").await;
    browser.click(".opblock.is-open .execute").await;
    browser
        .shows(".opblock.is-open .live-responses-table", "unique_processed")
        .await;
    browser.click("header a").await;
    page.counts("unique", 5).await;
    assert_eq!(
        browser.address().await,
        format!("{}/logs/", nginx.api().url())
    );
    page.ends_well().await;
}

#[tokio::test]
async fn the_first_command_names_the_path() {
    let system = System::start().await;
    let below = format!(
        "location /logs/ {{ proxy_pass http://{}/; }}",
        system.api().address()
    );
    let Some(nginx) = Nginx::with("", &below).await else {
        return;
    };
    let Some(page) = Page::open(nginx.api(), "logs/").await else {
        return;
    };
    let url = format!("{}/logs/publish", nginx.api().url());
    page.browser.shows("#first-command", &url).await;
    page.ends_well().await;
}
