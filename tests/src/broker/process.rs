//! The broker as a `nats-server` process.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::configuration;
use crate::{
    service::{Service, Signal},
    wait::DEADLINE,
};

/// A server on a port, whose data outlives its process.
#[derive(Debug)]
pub struct Server {
    running: Option<Service>,
    directory: PathBuf,
    port: u16,
    /// Removes them, where they are its own.
    own: Option<TempDir>,
}

impl Server {
    /// Starts one with data of its own, which go with it.
    pub fn start(port: u16) -> Self {
        let own = tempfile::tempdir().expect("a temporary directory can be made");
        let mut server = Self::start_in(port, own.path());
        server.own = Some(own);
        server
    }

    /// Starts one on the data in a directory.
    pub fn start_in(port: u16, directory: &Path) -> Self {
        let mut server = Self {
            running: None,
            directory: directory.to_owned(),
            port,
            own: None,
        };
        server.start_again();
        server
    }

    /// Starts it again, after [`Self::stop`] or [`Self::kill`], on the same port and data.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the broker was not stopped before");
        let port = self.port.to_string();
        let mut command = nats_server();
        command
            .arg("--config")
            .arg(configuration(&version()))
            .arg("--store_dir")
            .arg(self.directory())
            // The monitoring port of the file is one for all brokers; -1 takes a free one.
            .args(["--addr", "127.0.0.1", "--port", &port, "--http_port", "-1"]);
        self.running = Some(Service::start("nats-server", &mut command));
    }

    /// Where its data are.
    pub fn directory(&self) -> &Path {
        self.own.as_ref().map_or(&self.directory, TempDir::path)
    }

    /// Sends its process a signal.
    pub fn signal(&mut self, signal: Signal) {
        let running = self.running.as_mut();
        running.expect("the broker is running").signal(signal);
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        let mut running = self.running.take().expect("the broker is running");
        running.signal(Signal::TERM);
        running.ended(DEADLINE).await;
    }

    /// Ends it so that it can do nothing about it. It may have ended by itself.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("the broker is running");
        running.kill();
    }
}

/// What `nats-server --version` says.
pub fn version() -> String {
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
