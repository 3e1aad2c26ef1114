//! The live page in a real browser, as its users see and use it. Each state is saved as a screenshot in
//! `target/screenshots`.

mod access;
mod charts;
mod counts;
mod docs;
mod drawing;
mod endurance;
mod event;
mod events;
mod histogram;
mod hostile;
mod kept;
mod keys;
mod proxied;
mod recovery;
mod review;
mod search;
mod shared;
mod signing_in;
mod topic;
mod trouble;

use std::collections::BTreeSet;

use e2e::{
    api::Api,
    browser::{Browser, Display},
};

/// The page of an aggregator, open in a browser.
#[derive(Debug)]
struct Page {
    browser: Browser,
    api: Api,
}

impl Page {
    /// Opens it with a query, which may be empty, and waits until it shows counts; none if there is no browser.
    async fn open(api: &Api, query: &str) -> Option<Self> {
        let browser = Browser::start(Display::WIDE).await?;
        let api = api.clone();
        browser.open(&format!("{}/{query}", api.url())).await;
        let state = "document.getElementById('state').dataset.state";
        browser.until(&format!("{state} !== 'connecting'")).await;
        Some(Self { browser, api })
    }

    /// A number on the page, by the end of the element's id.
    async fn count(&self, name: &str) -> u64 {
        let count = self.browser.value(&counted(name)).await;
        count
            .as_u64()
            .unwrap_or_else(|| panic!("{name} is {count}"))
    }

    /// Waits until it shows this number.
    async fn counts(&self, name: &str, number: u64) {
        let expression = format!("{} === {number}", counted(name));
        self.browser.until(&expression).await;
    }

    /// The texts of all elements that match a CSS selector.
    async fn texts(&self, selector: &str) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)";
        let texts = self.browser.run(script, vec![selector.into()]).await;
        serde_json::from_value(texts).expect("texts are a list")
    }

    /// Waits until these are the texts of all elements that match a CSS selector.
    async fn lists(&self, selector: &str, texts: &[&str]) {
        let expression = format!(
            "JSON.stringify([...document.querySelectorAll({})].map(one => one.textContent)) === {}",
            serde_json::json!(selector),
            serde_json::json!(serde_json::json!(texts).to_string()),
        );
        self.browser.until(&expression).await;
    }

    /// Hides the tab, or shows it again.
    async fn hides(&self, is_hidden: bool) {
        let script = format!("{HIDE} hide(arguments[0])");
        self.browser.run(&script, vec![is_hidden.into()]).await;
    }

    /// Checked at the end of each test: no console errors, no requests to other hosts.
    async fn ends_well(&self) {
        self.ends_well_but(&[]).await;
    }

    /// Like [`Self::ends_well`], with parts of expected messages: browsers log each response that is an error.
    async fn ends_well_but(&self, expected: &[&str]) {
        let errors = self.browser.console_errors().await;
        let unexpected = errors
            .iter()
            .filter(|error| !expected.iter().any(|part| error.contains(part)));
        assert_eq!(unexpected.collect::<Vec<_>>(), Vec::<&String>::new());
        let own = BTreeSet::from([self.api.address()]);
        assert_eq!(self.browser.hosts().await, own);
    }
}

/// Defines `hide(true)` and `hide(false)` in a script: the tab is hidden, or shown again, as far as the page can tell.
const HIDE: &str = "const hide = (is_hidden) => {
        Object.defineProperty(document, 'hidden', { configurable: true, value: is_hidden });
        document.dispatchEvent(new Event('visibilitychange'));
    };";

/// The JavaScript expression of a number on the page.
fn counted(name: &str) -> String {
    format!("Number(document.getElementById('count-{name}').textContent.replaceAll(',', ''))")
}
