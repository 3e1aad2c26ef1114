//! What the browser logged: errors on its console, and whom it asked.

use std::collections::BTreeSet;

use reqwest::Url;
use serde_json::{Value, json};

use super::Browser;

impl Browser {
    /// The errors on the console since this was asked last: of scripts, of what could not be loaded, of what the page's
    /// own policy forbids.
    pub async fn console_errors(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let errors = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        errors
            .filter_map(|entry| Some(entry["message"].as_str()?.to_owned()))
            .collect()
    }

    /// The hosts, with their ports, that the page sent requests to since this was asked last, answered or not.
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
                // Data, blobs and Chromium's own pages are not sent to anybody.
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
