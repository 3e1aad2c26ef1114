//! The built publisher, started as a process.

use std::{process::Command, time::Duration};

use serde_json::Value;

use crate::{
    service::{Service, Signal},
    workspace,
};

/// More than any run here takes on a slow machine.
const DEADLINE: Duration = Duration::from_mins(4);

/// A running publisher, killed on drop.
#[derive(Debug)]
pub struct Publisher(Service);

/// How a publisher ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: Option<i32>,
    /// The summary on its standard output; null if there is none.
    pub summary: Value,
    /// All of its standard output.
    pub output: String,
    /// Its standard error.
    pub stderr: String,
}

impl Publisher {
    /// Starts `publisher ARGUMENTS --nats-url URL --json`.
    pub fn start(nats_url: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(workspace::binary("publisher"));
        command
            .args(arguments)
            .args(["--nats-url", nats_url, "--json"]);
        Self(Service::start("publisher", &mut command))
    }

    /// Starts one that sends 2,000 events per second until [`Self::finished`], and then verifies at `url`.
    pub fn endless(nats_url: &str, url: &str) -> Self {
        let arguments = [
            "generate", "--count", "0", "--rate", "2000", "--batch", "20", "--verify", url,
        ];
        Self::start(nats_url, &arguments)
    }

    /// Stops one that runs indefinitely; it verifies and exits.
    pub async fn finished(mut self) -> Run {
        self.0.signal(Signal::INT);
        self.ended().await
    }

    /// Its process.
    pub fn service(&mut self) -> &mut Service {
        &mut self.0
    }

    /// Waits for it to exit.
    pub async fn ended(self) -> Run {
        self.ended_within(DEADLINE).await
    }

    /// Like [`Self::ended`], for a long run.
    pub async fn ended_within(mut self, deadline: Duration) -> Run {
        let ended = self.0.ended(deadline).await;
        Run {
            code: ended.code,
            summary: serde_json::from_str(&ended.stdout).unwrap_or(Value::Null),
            output: ended.stdout,
            stderr: ended.stderr,
        }
    }
}

/// Runs `publisher ARGUMENTS` to its end.
pub async fn publish(nats_url: &str, arguments: &[&str]) -> Run {
    Publisher::start(nats_url, arguments).ended().await
}

impl Run {
    /// Fails the test unless it succeeded.
    pub fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stderr, self.summary);
    }

    /// A count in the summary.
    pub fn count(&self, name: &str) -> u64 {
        let count = self.summary[name].as_u64();
        count.unwrap_or_else(|| panic!("there is no {name} in {}\n{}", self.summary, self.stderr))
    }

    /// Received, unique and duplicate events, as verified.
    pub fn verified(&self) -> [u64; 3] {
        self.succeeded();
        assert_eq!(self.summary["verified"], true, "{}", self.summary);
        ["received", "unique_processed", "duplicate_dropped"].map(|name| self.count(name))
    }

    /// Sent, unique and duplicate events, as counted by the publisher itself.
    pub fn sent(&self) -> [u64; 3] {
        ["sent", "unique", "duplicates"].map(|name| self.count(name))
    }
}
