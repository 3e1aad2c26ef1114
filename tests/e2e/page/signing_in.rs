//! Signing in to the page of a service with tokens, and what a token for some topics shows.

use std::{path::Path, process::Command};

use e2e::{
    System,
    api::Api,
    browser::{Browser, Display},
    event::event,
    service::Service,
    wait::DEADLINE,
    workspace,
};

use super::Page;

/// Creates a token.
async fn token(file: &Path, name: &str, scopes: &[&str]) -> String {
    let mut command = Command::new(workspace::binary("aggregator"));
    let create = ["token", "create", name];
    command.args(create).args(scopes).arg("--tokens").arg(file);
    let ended = Service::start("aggregator token", &mut command)
        .ended(DEADLINE)
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout.trim().to_owned()
}

/// A system with events of `orders.eu` and `invoices`, and the tokens of one who may read both and publish, and of one who may
/// read `orders.*`.
async fn guarded(directory: &Path) -> (System, [String; 2]) {
    let file = directory.join("tokens.toml");
    let every = ["--read", "*", "--publish", "*", "--admin"];
    let every = token(&file, "operator", &every).await;
    let some = token(&file, "orders", &["--read", "orders.*"]).await;
    let system = System::with(&["--tokens", file.to_str().unwrap()]).await;
    let api = system.api().with_token(&every);
    let sent = api
        .store(&[event("orders.eu", "1"), event("invoices", "1")])
        .await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    (system, [every, some])
}

/// Opens the page of the service in a browser that is not signed in.
async fn open(api: &Api, query: &str) -> Option<Page> {
    let browser = Browser::start(Display::WIDE).await?;
    browser.open(&format!("{}/{query}", api.url())).await;
    let api = api.clone();
    Some(Page { browser, api })
}

impl Page {
    async fn signs_in(&self, token: &str) {
        self.browser.fill("#token", token).await;
        self.browser.click("#sign-in button").await;
    }
}

#[tokio::test]
async fn the_page_asks_for_a_token_says_who_is_signed_in_and_signs_out() {
    let directory = tempfile::tempdir().unwrap();
    let (system, [every, _]) = guarded(directory.path()).await;
    let Some(page) = open(system.api(), "?topic=invoices").await else {
        return;
    };
    page.browser.shows("h2", "Sign in").await;
    page.browser.screenshot("sign-in").await;
    if let Some(violations) = page.browser.violations().await {
        assert!(violations.is_empty(), "{violations:?}");
    }
    page.signs_in("agg_nothing").await;
    page.browser.shows("#wrong", "not valid").await;
    page.signs_in(&every).await;
    let access = "Signed in as operator: reads every topic; publishes every topic; admin.";
    page.browser.shows("#access", access).await;
    page.counts("received", 2).await;
    page.browser.screenshot("signed-in").await;
    assert!(page.browser.address().await.ends_with("/?topic=invoices"));
    let cookies = page.browser.value("document.cookie").await;
    assert_eq!(cookies, "", "no script can read the session");
    page.browser.click("#access button").await;
    page.browser.shows("h2", "Sign in").await;
    page.ends_well_but(&["403", "401"]).await;
}

#[tokio::test]
async fn a_token_for_some_topics_shows_only_those() {
    let directory = tempfile::tempdir().unwrap();
    let (system, [_, some]) = guarded(directory.path()).await;
    let Some(page) = open(system.api(), "").await else {
        return;
    };
    page.signs_in(&some).await;
    page.browser
        .shows(
            "#access",
            "Signed in as orders: reads orders.*; publishes no topic.",
        )
        .await;
    page.browser.shows("#state", "All is well.").await;
    let shown = "document.querySelector('main').innerText";
    page.browser
        .until(&format!("{shown}.includes('orders.eu')"))
        .await;
    let text = page.browser.value(shown).await;
    assert!(!text.as_str().unwrap().contains("invoices"), "{text}");
    let counters = "document.querySelector('#counters-title').checkVisibility()";
    assert_eq!(page.browser.value(counters).await, false);
    page.browser
        .screenshot_of_page("signed-in-for-some-topics")
        .await;
    page.ends_well_but(&["403"]).await;
}

#[tokio::test]
async fn the_documentation_sends_the_token_that_is_given_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let (system, [every, _]) = guarded(directory.path()).await;
    let Some(page) = open(system.api(), "docs").await else {
        return;
    };
    page.browser
        .until("document.querySelectorAll('.opblock').length > 10")
        .await;
    page.browser.click(".scheme-container .authorize").await;
    page.browser.fill("#auth-bearer-value", &every).await;
    page.browser
        .click(".auth-container:has(#auth-bearer-value) .authorize")
        .await;
    page.browser.click(".btn-done").await;
    page.browser
        .click(".opblock-get [data-path='/stats']")
        .await;
    page.browser.click(".opblock.is-open .try-out__btn").await;
    page.browser.click(".opblock.is-open .execute").await;
    page.browser
        .shows(".opblock.is-open .live-responses-table", "unique_processed")
        .await;
    page.browser.screenshot("docs-with-a-token").await;
    page.ends_well().await;
}
