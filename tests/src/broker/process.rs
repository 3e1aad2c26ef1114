//! The broker as a `nats-server` process.

use std::process::Command;

use tempfile::TempDir;

use super::configuration;
use crate::{
    service::{Service, Signal},
    wait::DEADLINE,
};

#[derive(Debug)]
pub(super) struct Server {
    running: Option<Service>,
    store: TempDir,
    port: u16,
}

impl Server {
    pub fn start(port: u16) -> Self {
        let mut server = Self {
            running: None,
            store: tempfile::tempdir().expect("a temporary directory can be made"),
            port,
        };
        server.start_again();
        server
    }

    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the broker was not stopped before");
        let port = self.port.to_string();
        let mut command = nats_server();
        command
            .arg("--config")
            .arg(configuration(&version()))
            .arg("--store_dir")
            .arg(self.store.path())
            // The monitoring port of the file is one for all brokers; -1 takes a free one.
            .args(["--addr", "127.0.0.1", "--port", &port, "--http_port", "-1"]);
        self.running = Some(Service::start("nats-server", &mut command));
    }

    pub async fn stop(&mut self) {
        let mut running = self.running.take().expect("the broker is running");
        running.signal(Signal::TERM);
        running.ended(DEADLINE).await;
    }

    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("the broker is running");
        running.signal(Signal::KILL);
        running.kill();
    }
}

fn version() -> String {
    let output = nats_server()
        .arg("--version")
        .output()
        .expect("nats-server is on PATH; Debian's package of that name has it");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn nats_server() -> Command {
    let mut command = Command::new("nats-server");
    // Where Debian puts it; not on everyone's PATH.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin"));
    command
}
