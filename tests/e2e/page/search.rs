//! The bar over the events: search, time range, older pages, export and copies.

mod finding;
mod mistaken;
mod paging;
mod ranges;
mod sharing;
mod unfinished;

use e2e::{System, event::event};
use fantoccini::key::Key;

use super::Page;

const IDS: &str = "#event-rows bdi:nth-of-type(2)";

/// Keeps what is copied in `window.copied`, because a test must not depend on the clipboard of the machine.
const COPY: &str = "navigator.clipboard.writeText = async (text) => { window.copied = text; }";

impl Page {
    /// Types a search and starts it with Enter.
    async fn searches(&self, text: &str) {
        self.browser.fill("#query", text).await;
        self.browser.press(&[Key::Enter]).await;
    }

    /// Waits until the query of the address is this.
    async fn is_at(&self, query: &str) {
        let query = serde_json::json!(query);
        self.browser
            .until(&format!("location.search === {query}"))
            .await;
    }

    /// The text that a button copies.
    pub(super) async fn copied(&self, within: &str, label: &str) -> String {
        self.browser.run(COPY, Vec::new()).await;
        let press = "window.copied = null;
            [...document.querySelectorAll(`${arguments[0]} button`)].find(one => one.textContent === arguments[1]).click()";
        let arguments = vec![within.into(), label.into()];
        self.browser.run(press, arguments).await;
        let copied = self.browser.until("window.copied").await;
        copied.as_str().expect("it is a text").to_owned()
    }
}

async fn with_events() -> System {
    let system = System::start().await;
    let tea =
        event("orders", "17").with_payload(r#"{"amount":1.50,"items":[{"name":"black tea"}]}"#);
    let milk = event("orders", "18").with_payload(r#"{"amount":2.00,"note":"17 a=b"}"#);
    let other = event("payments", "17")
        .with_source("till")
        .with_payload(r#"{"amount":1.50}"#);
    let comma = event("a,b", "c,d");
    for one in [tea, milk, other, comma] {
        system.api().store(&[one]).await;
    }
    system
}
