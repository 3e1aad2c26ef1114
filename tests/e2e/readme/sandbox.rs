//! The environment in which the commands of a document are run: a clone with built programs, and the demo running.

use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use e2e::{
    System,
    broker::{
        Broker,
        users::{USERS, Users},
    },
    event::event,
    service::{Ended, Service, Signal},
    wait::{eventually, holds},
    workspace,
};
use rustix::process::{Pid, kill_process_group};
use tempfile::TempDir;

use super::blocks::Block;

/// Far more than any block takes.
const DEADLINE: Duration = Duration::from_mins(2);

/// A directory to run commands in, and the system that they use. It has the demo's events.
#[derive(Debug)]
pub struct Sandbox {
    system: System,
    directory: TempDir,
}

/// A command with all its child processes, killed on drop.
#[derive(Debug)]
struct Group(Service);

impl Drop for Group {
    fn drop(&mut self) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id.filter(|_| self.0.is_running()) {
            // Its members may have ended already.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Sandbox {
    /// None if this machine lacks a program that the commands need.
    pub async fn create() -> Option<Self> {
        for program in ["bash", "curl", "jq", "gzip"] {
            let found = Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .status();
            if found.is_err() {
                let requires_all = std::env::var("E2E_REQUIRE").is_ok_and(|it| it == "all");
                assert!(!requires_all, "{program} is missing");
                eprintln!("skipped: the commands of the documents need {program}");
                return None;
            }
        }
        let system = System::on(Broker::with_users(Users::new()).await, &[]).await;
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        let sandbox = Self { system, directory };
        sandbox.install();
        // As compose/demo.sh does, so that the totals in the documents are those of the demo.
        let url = sandbox.system.api().url();
        let traffic = ["generate", "--count", "20000", "--duplicates", "0.3"];
        let arguments = [&traffic[..], &["--verify", url]].concat();
        sandbox.system.publish(&arguments).await.succeeded();
        Some(sandbox)
    }

    /// Puts the programs where a release build has them, and the store and the passwords where the local demo has them.
    fn install(&self) {
        let bin = self.directory.path().join("target/release");
        fs::create_dir_all(&bin).expect("a directory can be created");
        for program in ["aggregator", "publisher"] {
            let linked = symlink(workspace::binary(program), bin.join(program));
            linked.expect("a link can be created");
        }
        let secrets = self.system.data_dir().join("secrets");
        fs::create_dir(&secrets).expect("a directory can be created");
        for user in USERS {
            let file = self.system.broker.users().password_file(user);
            let linked = symlink(file, secrets.join(user));
            linked.expect("a link can be created");
        }
        let linked = symlink(self.system.data_dir(), self.directory.path().join("data"));
        linked.expect("a link can be created");
    }

    /// The text of a block with the addresses of this system instead of the demo's.
    fn here(&self, text: &str) -> String {
        let broker = self.system.broker.url();
        let broker = broker.trim_start_matches("nats://");
        text.replace("127.0.0.1:8080", &self.system.api().address())
            .replace("127.0.0.1:4222", broker)
    }

    fn start(&self, name: &'static str, program: &Path, arguments: &[&str]) -> Group {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .env("AGGREGATOR_URL", self.system.api().url())
            .env("NO_PROXY", "127.0.0.1")
            // A process group of its own, so that all child processes of a shell can be ended with it.
            .process_group(0);
        Group(Service::start(name, &mut command))
    }

    fn bash(&self, script: &str) -> Group {
        let arguments = ["-euo", "pipefail", "-c", script];
        self.start("a block of a document", Path::new("bash"), &arguments)
    }

    async fn succeeded(&self, mut running: Group, block: &Block) -> String {
        let Ended {
            code,
            stdout,
            stderr,
        } = running.0.ended(DEADLINE).await;
        assert_eq!(
            code,
            Some(0),
            "{}: {}{stdout}\n{stderr}",
            block.location(),
            block.text
        );
        stdout
    }

    /// Runs a block to its end, which must succeed, and returns what it printed.
    pub async fn shell(&self, block: &Block) -> String {
        if block.text.contains("/rejected/1/requeue") {
            self.reject().await;
        }
        let running = self.bash(&self.here(&block.text));
        self.succeeded(running, block).await
    }

    /// Runs a block of Python, if there is a Python with the modules that it imports.
    pub async fn python(&self, block: &Block) -> String {
        let Some(python) = std::env::var_os("E2E_PYTHON") else {
            eprintln!("skipped: E2E_PYTHON is not set, for {}", block.location());
            return String::new();
        };
        let script = self.here(&block.text);
        let running = self.start("Python", Path::new(&python), &["-c", &script]);
        self.succeeded(running, block).await
    }

    /// Runs a block that does not end by itself, until it has printed this. For tails, an event is published
    /// meanwhile.
    pub async fn prints(&self, block: &Block, what: &str) {
        let mut running = self.bash(&format!("exec 2>&1\n{}", self.here(&block.text)));
        let mut number = 0;
        eventually(&block.text, async || {
            // Repeatedly, because an event published before the command follows is not printed.
            number += 1;
            let one = event("readme", &format!("followed-{number}"));
            self.system.api().try_publish(&[one]).await?;
            let printed = running.0.output();
            assert!(running.0.is_running(), "{}: {printed:?}", block.text);
            let is_printed = |line: &String| line.replace(' ', "").contains(what);
            holds(printed.iter().any(is_printed), &printed)
        })
        .await;
    }

    /// Waits until everything that was sent is applied.
    pub async fn settled(&self) {
        self.system.settled().await;
    }

    /// Creates the first rejected arrival: an event on another subject than its topic's.
    async fn reject(&self) {
        let jetstream = self.system.broker.jetstream().await;
        let body = event("elsewhere", "1").json();
        let sent = jetstream.publish("events.readme", body.into()).await;
        sent.expect("it is sent")
            .await
            .expect("it is in the stream");
        self.system.settled().await;
    }
}
