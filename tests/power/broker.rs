//! The broker as a process whose store is on the test's disk.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use async_nats::jetstream::{self, context::GetStreamErrorKind};
use e2e::{
    broker::url,
    port,
    service::{Service, Signal},
    wait::eventually,
    workspace,
};

/// The setting that the control removes.
const SYNC: &str = "sync_interval: always";

/// The version of the `nats-server` on PATH.
///
/// # Errors
/// If there is none.
pub fn version() -> Result<String, String> {
    let version = command().arg("--version").output();
    let version = version.map_err(|err| format!("nats-server cannot be started: {err}"))?;
    Ok(String::from_utf8_lossy(&version.stdout).trim().to_owned())
}

/// The project's configuration.
pub fn configuration() -> PathBuf {
    workspace::root().join("compose/server.conf")
}

/// The same without the line that makes it sync each write, written into `directory`.
pub fn without_sync(directory: &Path) -> PathBuf {
    let text = fs::read_to_string(configuration()).expect("it is in the workspace");
    assert!(text.contains(SYNC), "{text}");
    let file = directory.join("unsynced.conf");
    fs::write(&file, text.replace(SYNC, "")).expect("a temporary file can be written");
    file
}

/// A running broker, killed on drop.
#[derive(Debug)]
pub struct Broker {
    service: Service,
    port: u16,
}

impl Broker {
    /// Starts one and waits until it responds to JetStream requests.
    pub async fn start(configuration: &Path, store: &Path) -> Self {
        let port = port::free();
        let mut command = command();
        command
            .arg("--config")
            .arg(configuration)
            .arg("--store_dir")
            .arg(store)
            // The configuration file sets the same monitoring port for all brokers; -1 takes a free one.
            .args(["--addr", "127.0.0.1", "--http_port", "-1"])
            .args(["--port", &port.to_string()]);
        let service = Service::start("nats-server", &mut command);
        let broker = Self { service, port };
        eventually("the broker responds to JetStream requests", async || {
            let client = async_nats::connect(broker.url()).await;
            let jetstream = jetstream::new(client.map_err(|err| err.to_string())?);
            // Any answer of JetStream counts, whether the stream exists or not.
            match jetstream.get_stream("ANY").await {
                Err(err) if !matches!(err.kind(), GetStreamErrorKind::JetStream(_)) => {
                    Err(err.to_string())
                }
                _ => Ok(()),
            }
        })
        .await;
        broker
    }

    /// Its address.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// JetStream over a separate connection.
    pub async fn jetstream(&self) -> jetstream::Context {
        let client = async_nats::connect(self.url()).await;
        jetstream::new(client.expect("the broker can be connected to"))
    }

    /// Its process.
    pub fn service(&mut self) -> &mut Service {
        &mut self.service
    }

    /// Kills it, even while it is stopped.
    pub fn kill(&mut self) {
        self.service.signal(Signal::KILL);
        self.service.kill();
    }
}

fn command() -> Command {
    let mut command = Command::new("nats-server");
    // Debian installs it there, which is not on every user's PATH.
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    command
}
