//! A real headless Chromium, driven over `WebDriver`: what a person sees and does on the page.
//!
//! `tests/run.sh` installs Debian's chromium and chromium-driver where it can, and names the driver in
//! `E2E_CHROMEDRIVER`. Without a browser, a test that needs one prints that it is skipped; with `E2E_REQUIRE=all` it
//! fails.

mod axe;
mod driver;
mod input;
mod logs;

use std::{env, path::PathBuf, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use self::driver::Driver;
pub use self::{axe::Violation, input::Pointer};
use crate::{
    wait::{DEADLINE, eventually, holds, within},
    workspace,
};

/// The window size and colour scheme that the page is displayed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Display {
    /// Inner width of the window, in CSS pixels.
    pub width: u32,
    /// Its inner height.
    pub height: u32,
    /// Whether the user prefers dark colours.
    pub is_dark: bool,
}

impl Display {
    /// A laptop.
    pub const WIDE: Self = Self {
        width: 1440,
        height: 900,
        is_dark: false,
    };
    /// A small laptop.
    pub const LAPTOP: Self = Self {
        width: 1024,
        height: 768,
        is_dark: false,
    };
    /// A tablet held upright.
    pub const TABLET: Self = Self {
        width: 768,
        height: 1024,
        is_dark: false,
    };
    /// A small phone.
    pub const NARROW: Self = Self {
        width: 360,
        height: 800,
        is_dark: false,
    };

    /// With dark colours.
    #[must_use]
    pub fn dark(self) -> Self {
        Self {
            is_dark: true,
            ..self
        }
    }
}

/// A browser with one page. It ends, with all its processes, when this is dropped.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    /// The session's URL at the driver, for commands of Chromium that are not part of the protocol.
    session: String,
    http: reqwest::Client,
    /// Dropped last.
    _driver: Driver,
}

impl Browser {
    /// Starts one; none if this machine has no browser.
    ///
    /// Panics if there is none although `E2E_REQUIRE=all` requires it.
    pub async fn start(display: Display) -> Option<Self> {
        let program = needed("E2E_CHROMEDRIVER", "the driver of a Chromium")?;
        let driver = Driver::start(&program).await;
        let capabilities = driver.capabilities();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(driver.url())
            .await
            .expect("Chromium can be started");
        let id = client.session_id().await.expect("a session has an id");
        let session = format!("{}/session/{}", driver.url(), id.expect("a session"));
        let http = reqwest::Client::builder().no_proxy().build();
        let browser = Self {
            client,
            session,
            http: http.expect("an HTTP client can be created"),
            _driver: driver,
        };
        browser.set_display(display).await;
        Some(browser)
    }

    /// Changes the display.
    pub async fn set_display(&self, display: Display) {
        // Not by resizing the window, which cannot be as narrow as a phone.
        let size = json!({"width": display.width, "height": display.height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
        let scheme = if display.is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// Changes the time zone of the user, such as `Asia/Tokyo`.
    pub async fn set_time_zone(&self, zone: &str) {
        self.devtools("Emulation.setTimezoneOverride", json!({"timezoneId": zone}))
            .await;
    }

    /// Opens an address and waits until the page and its scripts are loaded.
    pub async fn open(&self, url: &str) {
        let opened = self.client.goto(url).await;
        opened.unwrap_or_else(|err| panic!("{url} cannot be opened: {err}"));
    }

    /// Reloads the page.
    pub async fn reload(&self) {
        self.client.refresh().await.expect("a page is loaded again");
    }

    /// The address, as in the address bar.
    pub async fn address(&self) -> String {
        let address = self.client.current_url().await;
        address.expect("a page has an address").into()
    }

    /// Runs a script, the body of a function of `arguments`, and returns what it returns.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        let ran = self.client.execute(script, arguments).await;
        ran.unwrap_or_else(|err| panic!("{err} in the script {script}"))
    }

    /// The value of a JavaScript expression.
    pub async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression});"), Vec::new())
            .await
    }

    /// Waits until a JavaScript expression is true, and returns its value.
    pub async fn until(&self, expression: &str) -> Value {
        self.until_within(DEADLINE, expression).await
    }

    /// Like [`Self::until`], with the caller's deadline.
    pub async fn until_within(&self, deadline: Duration, expression: &str) -> Value {
        let script = format!("return ({expression});");
        within(deadline, expression, async || {
            let value = self.client.execute(&script, Vec::new()).await;
            let value = value.map_err(|err| err.to_string())?;
            let is_true = !matches!(&value, Value::Null | Value::Bool(false))
                && value != ""
                && value.as_f64() != Some(0.0);
            holds(is_true, &value).map(|()| value)
        })
        .await
    }

    /// The visible text of the first element that matches a CSS selector.
    pub async fn text(&self, selector: &str) -> String {
        eventually(selector, async || self.try_text(selector).await).await
    }

    async fn try_text(&self, selector: &str) -> Result<String, String> {
        let script = "return document.querySelector(arguments[0])?.innerText";
        let text = self.client.execute(script, vec![selector.into()]).await;
        let text = text.map_err(|err| err.to_string())?;
        let text = text.as_str().map(|text| text.trim().to_owned());
        text.ok_or_else(|| format!("there is no {selector}"))
    }

    /// Waits until an element shows this text.
    pub async fn shows(&self, selector: &str, text: &str) {
        self.shows_within(DEADLINE, selector, text).await;
    }

    /// Like [`Self::shows`], with the caller's deadline.
    pub async fn shows_within(&self, deadline: Duration, selector: &str, text: &str) {
        within(deadline, &format!("{selector} shows {text}"), async || {
            let shown = self.try_text(selector).await?;
            holds(shown.contains(text), shown)
        })
        .await;
    }

    /// Saves what the window shows as `target/screenshots/NAME.png`.
    pub async fn screenshot(&self, name: &str) {
        let picture = self.client.screenshot().await;
        write(name, &picture.expect("a screenshot"));
    }

    /// Saves the whole page, including what is below the window, as `target/screenshots/NAME.png`.
    pub async fn screenshot_of_page(&self, name: &str) {
        let measured = self.devtools("Page.getLayoutMetrics", json!({})).await;
        let size = &measured["cssContentSize"];
        let clip =
            json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let how = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.devtools("Page.captureScreenshot", how).await;
        let picture = taken["data"]
            .as_str()
            .map(|data| BASE64_STANDARD.decode(data));
        write(
            name,
            &picture.expect("a screenshot").expect("it is in Base64"),
        );
    }

    /// Whether the page is wider than the window and would have to be scrolled horizontally.
    pub async fn is_too_wide(&self) -> bool {
        let root = "document.documentElement";
        let measured = format!("[{root}.scrollWidth, {root}.clientWidth]");
        let measured = self.value(&measured).await;
        measured[0].as_f64() > measured[1].as_f64()
    }

    /// A command of the `DevTools` protocol.
    /// The cookies of the page, as Chromium's protocol gives them.
    pub async fn cookies(&self) -> Vec<Value> {
        let found = self.devtools("Network.getCookies", json!({})).await;
        let cookies = found["cookies"].as_array().cloned();
        cookies.unwrap_or_else(|| panic!("{found} has no cookies"))
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.command("goog/cdp/execute", &body).await
    }

    /// A command that only Chromium's driver supports.
    async fn command(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}/{path}", self.session));
        let answer = request.json(body).send().await;
        let answer = answer.expect("the driver answers");
        let is_done = answer.status().is_success();
        let mut answer: Value = answer.json().await.expect("the driver answers with JSON");
        assert!(is_done, "{path} {body}: {answer}");
        answer["value"].take()
    }
}

/// A program or file named by `tests/run.sh` if available; a test without it prints that it is skipped.
///
/// Panics if it is not available although `E2E_REQUIRE=all` requires it.
pub fn needed(variable: &str, what: &str) -> Option<PathBuf> {
    let found = env::var_os(variable).filter(|path| !path.is_empty());
    if found.is_none() {
        let requires_all = env::var("E2E_REQUIRE").is_ok_and(|required| required == "all");
        assert!(!requires_all, "{variable} is not set: {what}");
        eprintln!("skipped: {variable} is not set: {what}");
    }
    found.map(PathBuf::from)
}

fn write(name: &str, picture: &[u8]) {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let directory = workspace::root().join(target).join("screenshots");
    std::fs::create_dir_all(&directory).expect("a directory can be created");
    let file = directory.join(format!("{name}.png"));
    std::fs::write(file, picture).expect("a file can be written");
}
