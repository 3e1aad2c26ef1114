//! The project's compose file, run as a separate compose project.

use std::{
    env,
    process::{Command, Output},
};

use crate::{port, workspace};

/// The variables by which the compose file selects the images of the services.
const IMAGES: [&str; 2] = ["AGGREGATOR_IMAGE", "PUBLISHER_IMAGE"];

/// The compose commands available here, that of version 2 first; or the one named by `COMPOSE`.
///
/// # Errors
/// Why there is none.
pub fn commands() -> Result<Vec<String>, String> {
    let answers = |command: &str| {
        let output = words(command).arg("version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let output = Command::new("docker").arg("version").output();
    if !output.is_ok_and(|output| output.status.success()) {
        return Err("no Docker engine responds".to_owned());
    }
    let known = match env::var("COMPOSE") {
        Ok(forced) if !forced.is_empty() => vec![forced],
        _ => ["docker compose", "docker-compose"]
            .map(str::to_owned)
            .into(),
    };
    let all = known.join(" nor ");
    let found: Vec<_> = known.into_iter().filter(|known| answers(known)).collect();
    if found.is_empty() {
        return Err(format!("neither {all} responds"));
    }
    Ok(found)
}

fn words(command: &str) -> Command {
    let mut words = command.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(workspace::root());
    command
}

/// The three services under a unique project name. On drop they are removed with their volumes.
#[derive(Debug)]
pub struct Project {
    command: String,
    name: String,
    port: u16,
    images: Vec<(String, String)>,
}

impl Project {
    /// A project with the images named by the environment, to be inspected, not run.
    pub fn new(command: &str) -> Self {
        let port = port::free();
        Self {
            command: command.to_owned(),
            name: format!("event-aggregator-e2e-{port}"),
            port,
            images: Vec::new(),
        }
    }

    /// A project that runs the built services. `tests/run.sh` has built images of them and names them in the
    /// environment; otherwise they are built here.
    pub fn of_what_was_built(command: &str) -> Self {
        let mut project = Self::new(command);
        if IMAGES.iter().any(|name| env::var_os(name).is_none()) {
            project.images = make_images();
        }
        project
    }

    /// The URL of the aggregator.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a compose command, which must succeed, and returns its standard output and error.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let text = both(&output);
        assert!(
            output.status.success(),
            "{} {arguments:?}: {}\n{text}",
            self.command,
            output.status
        );
        text
    }

    /// What `docker inspect` shows of all its containers.
    pub fn inspected(&self) -> String {
        let ids = self.run(&["ps", "--all", "--quiet"]);
        let ids: Vec<_> = ids.split_whitespace().collect();
        assert!(!ids.is_empty(), "it has no containers");
        let output = Command::new("docker").arg("inspect").args(ids).output();
        both(&output.expect("it responded before"))
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let output = words(&self.command)
            .args(arguments)
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("AGGREGATOR_PORT", self.port.to_string())
            .envs(self.images.iter().map(|(name, value)| (name, value)))
            .output();
        output.expect("it responded before")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.output(&["logs", "--tail", "30"]);
            eprintln!("{}", both(&logs));
        }
        let down = self.output(&["down", "--volumes", "--remove-orphans"]);
        if !down.status.success() {
            eprintln!("{}", both(&down));
        }
    }
}

/// Builds images of the built services from this machine's files.
fn make_images() -> Vec<(String, String)> {
    let output = Command::new(workspace::root().join("compose/offline-images.sh"))
        .arg("--services")
        .env("BIN_DIR", workspace::binaries())
        .output()
        .expect("a shell script can be run");
    assert!(
        output.status.success(),
        "no images can be built; set {IMAGES:?} to existing images:\n{}",
        both(&output)
    );
    let stdout = String::from_utf8_lossy(&output.stdout);
    let variables = stdout.lines().filter_map(|line| line.split_once('='));
    variables
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn both(output: &Output) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{stdout}{stderr}")
}
