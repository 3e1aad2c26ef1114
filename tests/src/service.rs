//! A process started by the harness: its output, signals to it, its exit.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

pub use rustix::process::Signal;
use rustix::{
    io::Errno,
    process::{Pid, kill_process},
};

use crate::wait;

/// The maximum number of lines of standard error that a failing test prints for each process.
const SHOWN: usize = 60;

/// A running process, killed on drop. If the test is failing, the last lines of its standard error are printed then.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// How a process ended, with all its output.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, or `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Settings of the programs: how their names begin, and those that begin otherwise.
const PREFIXES: [&str; 3] = ["AGGREGATOR_", "PUBLISHER_", "OTEL_"];
const OTHERS: [&str; 17] = [
    "LISTEN_ADDR",
    "ALLOWED_HOSTS",
    "OTLP_TOPIC",
    "NATS_URL",
    "DATA_DIR",
    "STREAM",
    "DURABLE",
    "STREAM_MAX_BYTES",
    "STREAM_KEEP_BYTES",
    "STREAM_REPLICAS",
    "REJECTED_KEEP_BYTES",
    "CONFLICTS_KEEP_BYTES",
    "BATCH_EVENTS",
    "BATCH_BYTES",
    "BATCH_WAIT_MS",
    "LOG_LEVEL",
    "LOG_FORMAT",
];

impl Service {
    /// Starts `command` with an empty standard input. It inherits this process's environment except for settings of the
    /// programs; the variables that `command` sets itself are kept.
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let own: Vec<_> = command
            .get_envs()
            .map(|(name, _)| name.to_owned())
            .collect();
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let is_setting = PREFIXES.iter().any(|prefix| text.starts_with(prefix))
                || OTHERS.iter().any(|other| text == *other);
            if is_setting && !own.contains(&name) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|err| panic!("{name} cannot be started: {err}; {command:?}"));
        let stdout = Output::of(child.stdout.take().expect("it is piped"));
        let stderr = Output::of(child.stderr.take().expect("it is piped"));
        Self {
            name,
            child,
            stdout,
            stderr,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines it has written to standard output so far.
    pub fn output(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// The lines it has written to standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.stderr.lines()
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// Sends it a signal.
    ///
    /// Panics if it has ended.
    pub fn signal(&mut self, signal: Signal) {
        let status = self.status();
        assert!(status.is_none(), "{} has ended: {status:?}", self.name);
        // The process id is valid until the child has been reaped.
        kill_process(Pid::from_child(&self.child), signal).expect("a child can be signalled");
    }

    /// Waits for it to exit, and returns its exit code and all its output.
    ///
    /// Panics if it is still running after `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> Ended {
        let what = format!("{} ends", self.name);
        let status = wait::within(deadline, &what, async || {
            self.status().ok_or_else(|| "it is running".to_owned())
        })
        .await;
        Ended {
            code: status.code(),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
        }
    }

    /// Kills it with SIGKILL unless it has ended, and waits for it to exit.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be polled")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let before = self.status();
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let shown = &log[log.len().saturating_sub(SHOWN)..];
            eprintln!(
                "---- {} ({}), its last lines:\n{}",
                self.name,
                before.map_or_else(|| "was running".to_owned(), |status| status.to_string()),
                shown.join("\n")
            );
        }
    }
}

/// What a process writes to standard output or standard error, read as it arrives so that the pipe never fills.
#[derive(Debug)]
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        Self {
            lines,
            reader: Some(reader),
        }
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock();
        lines.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of it. Blocks until the process, and every other process that inherited the pipe, has closed it.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading lines does not panic");
        }
        self.lines().join("\n")
    }
}

/// The processes that a process has started, and that run. Linux only.
pub fn children(of: u32) -> Vec<u32> {
    let ids = std::fs::read_dir("/proc").expect("a Linux system");
    let ids = ids.flatten().filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        (parent.trim() == of.to_string()).then_some(id)
    });
    ids.collect()
}

/// Sends a signal to a process, unless it has ended.
pub fn signal(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    match kill_process(id.expect("the id of a process"), signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(err) => panic!("a process cannot be signalled: {err}"),
    }
}
