//! The browser's logs: errors on its console, and the hosts it sent requests to.

use std::collections::BTreeSet;

use reqwest::Url;
use serde_json::{Value, json};

use super::Browser;

impl Browser {
    /// The console errors since the last call: of scripts, of resources that failed to load, and of violations of the
    /// page's own policy.
    pub async fn console_errors(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let errors = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        errors
            .filter_map(|entry| Some(entry["message"].as_str()?.to_owned()))
            .collect()
    }

    /// The hosts, with ports, that the page sent requests to since the last call, answered or not.
    pub async fn hosts(&self) -> BTreeSet<String> {
        let entries = self.log("performance").await;
        let messages = entries.iter().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            Some(message["message"].clone())
        });
        messages
            .filter_map(|message| {
                let asked = match message["method"].as_str()? {
                    "Network.requestWillBeSent" => &message["params"]["request"]["url"],
                    "Network.webSocketCreated" => &message["params"]["url"],
                    _ => return None,
                };
                let asked = Url::parse(asked.as_str()?).ok()?;
                // Data URLs, blobs and Chromium's own pages are not requested from any host.
                if !["http", "https", "ws", "wss"].contains(&asked.scheme()) {
                    return None;
                }
                let host = asked.host_str()?;
                Some(match asked.port_or_known_default() {
                    Some(port) => format!("{host}:{port}"),
                    None => host.to_owned(),
                })
            })
            .collect()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.command("se/log", &json!({"type": kind})).await;
        let Value::Array(entries) = log else {
            panic!("a log is a list, not {log}");
        };
        entries
    }
}
