//! The built aggregator, started as a process on a data directory that outlives it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    api::Api,
    service::{Ended, Service, Signal},
    wait::{DEADLINE, eventually, holds},
    workspace,
};

/// How long a graceful shutdown may take, with a margin for a busy machine.
pub const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// A running aggregator, killed on drop.
#[derive(Debug)]
pub struct Aggregator {
    settings: Settings,
    service: Service,
    api: Api,
}

#[derive(Debug)]
struct Settings {
    nats_url: String,
    data_dir: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Settings {
    fn start(&self, listen: &str) -> Service {
        let mut command = Command::new(workspace::binary("aggregator"));
        command
            .args(["serve", "--listen", listen])
            .args(["--nats-url", &self.nats_url, "--log-format", "json"])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Service::start("aggregator", &mut command)
    }
}

impl Aggregator {
    /// Starts one on a free port and waits until it listens; the broker need not be running.
    pub async fn start(nats_url: &str, data_dir: &Path, flags: &[&str]) -> Self {
        Self::start_with(nats_url, data_dir, flags, &[]).await
    }

    /// Like [`Self::start`], with environment variables too.
    pub async fn start_with(
        nats_url: &str,
        data_dir: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let settings = Settings {
            nats_url: nats_url.to_owned(),
            data_dir: data_dir.to_owned(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            environment: environment.iter().map(own).collect(),
        };
        let service = settings.start("127.0.0.1:0");
        let mut aggregator = Self {
            settings,
            service,
            api: Api::new(""),
        };
        aggregator.api = Api::new(&aggregator.listening().await);
        aggregator
    }

    /// Starts one that is expected to exit by itself, and waits for that.
    pub async fn refused(nats_url: &str, data_dir: &Path, flags: &[&str]) -> Ended {
        let settings = Settings {
            nats_url: nats_url.to_owned(),
            data_dir: data_dir.to_owned(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            environment: Vec::new(),
        };
        settings.start("127.0.0.1:0").ended(DEADLINE).await
    }

    /// Runs another command of the program to its end. It finds this aggregator's address and data directory in the
    /// environment, for the commands that use them.
    pub async fn command(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(workspace::binary("aggregator"));
        command
            .args(arguments)
            .env("AGGREGATOR_LISTEN", self.api.address())
            .env("AGGREGATOR_DATA_DIR", &self.settings.data_dir);
        let mut service = Service::start("aggregator command", &mut command);
        service.ended(DEADLINE).await
    }

    /// Its HTTP API.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Its process.
    pub fn service(&mut self) -> &mut Service {
        &mut self.service
    }

    /// Waits until `/health` reports that all parts are healthy.
    pub async fn healthy(&self) {
        eventually("the aggregator is healthy", async || {
            let health = self.api.get("/health").await?;
            holds(health.status == 200, health.text())
        })
        .await;
    }

    /// Waits until `/health` reports an unhealthy part, and returns the report.
    pub async fn unhealthy(&self) -> serde_json::Value {
        eventually("the aggregator is unhealthy", async || {
            let health = self.api.get("/health").await?;
            holds(health.status == 503, health.text())?;
            Ok(health.json())
        })
        .await
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.service.signal(Signal::KILL);
        self.service.kill();
    }

    /// Sends SIGTERM, and waits for it to exit.
    pub async fn stop(&mut self) -> Ended {
        self.service.signal(Signal::TERM);
        self.service.ended(STOP_DEADLINE).await
    }

    /// Starts it again after [`Self::kill`] or [`Self::stop`], with the same settings and address.
    pub async fn start_again(&mut self) {
        assert!(!self.service.is_running(), "it was not stopped before");
        let listen = self.api.address();
        self.service = self.settings.start(&listen);
        self.listening().await;
    }

    /// Waits until it logs the address that it is bound to.
    async fn listening(&mut self) -> String {
        eventually("the aggregator listens", async || {
            let log = self.service.log();
            if let Some(address) = log.iter().find_map(|line| address(line)) {
                return Ok(address);
            }
            assert!(self.service.is_running(), "it ended: {}", log.join("\n"));
            Err(log.join("\n"))
        })
        .await
    }
}

/// Starts a command that reads from the aggregator at this address: `aggregator ARGUMENTS`.
pub fn reading(url: &str, arguments: &[&str]) -> Service {
    let mut command = Command::new(workspace::binary("aggregator"));
    command.args(arguments).env("AGGREGATOR_URL", url);
    Service::start("a command that reads", &mut command)
}

fn address(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_listening = line["message"].as_str()?.contains("listening");
    let address = line["address"].as_str()?;
    is_listening.then(|| address.to_owned())
}
