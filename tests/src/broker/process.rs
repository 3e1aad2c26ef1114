//! The broker as a `nats-server` process.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    configuration,
    users::{self, STORE, Users},
};
use crate::{
    service::{Service, Signal},
    wait::DEADLINE,
};

/// The broker's program; `tests/run.sh` makes sure that PATH has a supported version.
const PROGRAM: &str = "nats-server";

/// A server on a port, whose data outlives its process.
#[derive(Debug)]
pub struct Server {
    running: Option<Service>,
    program: PathBuf,
    flags: Vec<String>,
    /// Environment variables that its configuration uses.
    environment: Vec<(&'static str, String)>,
    directory: PathBuf,
    port: u16,
    /// Deletes the data on drop, if it is temporary.
    own: Option<TempDir>,
}

impl Server {
    /// Starts one with temporary data, and with additional flags.
    pub fn start(port: u16, flags: &[&str]) -> Self {
        Self::start_program(Path::new(PROGRAM), port, flags)
    }

    /// Like [`Self::start`], with another program than the `nats-server` on PATH.
    pub fn start_program(program: &Path, port: u16, flags: &[&str]) -> Self {
        let own = tempfile::tempdir().expect("a temporary directory can be created");
        let mut server = Self::stopped(program, port, flags, own.path());
        server.own = Some(own);
        server.start_again();
        server
    }

    /// Starts one on the data in a directory, with the project's users if they are given.
    pub fn start_in(port: u16, directory: &Path, users: Option<&Users>) -> Self {
        let flags = flags_of(users);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut server = Self::stopped(Path::new(PROGRAM), port, &flags, directory);
        server.start_again();
        server
    }

    /// Starts one on the data in a directory, with a configuration that uses these environment variables.
    pub fn start_configured(
        port: u16,
        directory: &Path,
        configuration: &Path,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let file = configuration.display().to_string();
        let mut server = Self::stopped(Path::new(PROGRAM), port, &["--config", &file], directory);
        server.environment = environment;
        server.start_again();
        server
    }

    fn stopped(program: &Path, port: u16, flags: &[&str], directory: &Path) -> Self {
        Self {
            running: None,
            program: program.to_owned(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            environment: Vec::new(),
            directory: directory.to_owned(),
            port,
            own: None,
        }
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], on the same port and data.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the broker was not stopped before");
        let port = self.port.to_string();
        let mut command = Command::new(&self.program);
        // Debian installs it there, which is not on every user's PATH.
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{path}:/usr/sbin"))
            .env(STORE, self.directory())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // The configuration file sets the same monitoring port for all brokers; -1 takes a free one.
            .args(["--addr", "127.0.0.1", "--port", &port, "--http_port", "-1"])
            .args(&self.flags);
        if !self.flags.iter().any(|flag| flag == "--config") {
            command.arg("--config").arg(configuration());
        }
        // A configuration with users names the directory itself.
        let names_directory = self.flags.iter().any(|flag| users::name_store(flag));
        if !names_directory {
            command.arg("--store_dir").arg(self.directory());
        }
        self.running = Some(Service::start("nats-server", &mut command));
    }

    /// The directory of its data.
    pub fn directory(&self) -> &Path {
        self.own.as_ref().map_or(&self.directory, TempDir::path)
    }

    /// Whether it was started and not stopped or killed since.
    pub fn is_started(&self) -> bool {
        self.running.is_some()
    }

    /// Sends its process a signal.
    pub fn signal(&mut self, signal: Signal) {
        let running = self.running.as_mut();
        running.expect("the broker is running").signal(signal);
    }

    /// Stops it gracefully.
    pub async fn stop(&mut self) {
        let mut running = self.running.take().expect("the broker is running");
        running.signal(Signal::TERM);
        running.ended(DEADLINE).await;
    }

    /// Kills it with SIGKILL, if it has not exited by itself.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("the broker is running");
        running.kill();
    }
}

/// The flags of a server with users; a later configuration replaces an earlier one.
pub fn flags_of(users: Option<&Users>) -> Vec<String> {
    let file = users.map(Users::configuration);
    let flags = file.map(|file| ["--config".to_owned(), file.display().to_string()]);
    flags.into_iter().flatten().collect()
}

/// The oldest `nats-server` that is tested, named by `E2E_OLDEST_NATS`; `tests/run.sh` installs it. If it is not set,
/// this prints that the test is skipped.
pub fn oldest() -> Option<PathBuf> {
    let program = std::env::var_os("E2E_OLDEST_NATS").map(PathBuf::from);
    if program.is_none() {
        eprintln!("skipped: E2E_OLDEST_NATS names no nats-server");
    }
    program
}

/// The programs that can be started as processes: the oldest, and the `nats-server` on PATH if the brokers of this run are processes.
pub fn programs() -> Vec<PathBuf> {
    let is_process = std::env::var("E2E_BROKER").is_ok_and(|kind| kind == "process");
    let current = is_process.then(|| PathBuf::from(PROGRAM));
    oldest().into_iter().chain(current).collect()
}
