//! A real Chromium without a screen, driven over `WebDriver`: what a person at the page sees and does.
//!
//! `tests/run.sh` gets Debian's chromium and chromium-driver where it may, and names the driver in `E2E_CHROMEDRIVER`.
//! Without it there is no browser, and a test that needs one says so and does nothing; with `E2E_REQUIRE=all` it fails.

mod axe;
mod driver;
mod evidence;
mod hands;

use std::{env, path::PathBuf, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

pub use self::axe::Violation;
use self::driver::Driver;
use crate::{
    wait::{DEADLINE, eventually, holds, within},
    workspace,
};

/// How the page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Width of the window's inside, in CSS pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Whether the person's system prefers dark colours.
    pub is_dark: bool,
}

impl Look {
    /// A laptop.
    pub const WIDE: Self = Self {
        width: 1440,
        height: 900,
        is_dark: false,
    };
    /// A small telephone.
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

/// A browser with one page. It ends, with all of its processes, when this is dropped.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    /// The session's own address at the driver, for what is Chromium's and not of the protocol.
    session: String,
    http: reqwest::Client,
    /// Dropped last.
    _driver: Driver,
}

impl Browser {
    /// Starts one; none where this machine has no browser.
    ///
    /// Panics where there is none though `E2E_REQUIRE=all` says that there must be.
    pub async fn start(look: Look) -> Option<Self> {
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
            http: http.expect("an HTTP client can be made"),
            _driver: driver,
        };
        browser.look(look).await;
        Some(browser)
    }

    /// Changes how the page is looked at.
    pub async fn look(&self, look: Look) {
        // Not by the size of the window, which is never as narrow as a telephone.
        let size = json!({"width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// Opens an address and waits until the page and its scripts are loaded.
    pub async fn open(&self, url: &str) {
        let opened = self.client.goto(url).await;
        opened.unwrap_or_else(|err| panic!("{url} cannot be opened: {err}"));
    }

    /// Loads the page anew.
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

    /// As [`Self::until`], with a deadline of the caller's.
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

    /// What a person reads in the first element that a CSS selector finds, without what is hidden.
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

    /// As [`Self::shows`], with a deadline of the caller's.
    pub async fn shows_within(&self, deadline: Duration, selector: &str, text: &str) {
        within(deadline, &format!("{selector} shows {text}"), async || {
            let shown = self.try_text(selector).await?;
            holds(shown.contains(text), shown)
        })
        .await;
    }

    /// Writes what the window shows to `target/screenshots/NAME.png`.
    pub async fn screenshot(&self, name: &str) {
        let picture = self.client.screenshot().await;
        write(name, &picture.expect("a screenshot"));
    }

    /// Writes the whole page, also what is below the window's end, to `target/screenshots/NAME.png`.
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

    /// Whether the page is wider than the window, so that it would have to be scrolled sideways.
    pub async fn is_too_wide(&self) -> bool {
        let root = "document.documentElement";
        let measured = format!("[{root}.scrollWidth, {root}.clientWidth]");
        let measured = self.value(&measured).await;
        measured[0].as_f64() > measured[1].as_f64()
    }

    /// A command of Chromium's own protocol.
    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.command("goog/cdp/execute", &body).await
    }

    /// A command that only Chromium's driver knows.
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

/// A program or file that `tests/run.sh` names where it is to be had; a test without it says so and does nothing.
///
/// Panics where it is not there though `E2E_REQUIRE=all` says that it must be.
pub fn needed(variable: &str, what: &str) -> Option<PathBuf> {
    let found = env::var_os(variable).filter(|path| !path.is_empty());
    if found.is_none() {
        let requires_all = env::var("E2E_REQUIRE").is_ok_and(|required| required == "all");
        assert!(!requires_all, "{variable} names none: {what}");
        eprintln!("left out: {variable} names none: {what}");
    }
    found.map(PathBuf::from)
}

fn write(name: &str, picture: &[u8]) {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let directory = workspace::root().join(target).join("screenshots");
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    let file = directory.join(format!("{name}.png"));
    std::fs::write(file, picture).expect("a file can be written");
}
