//! The built program as a running process.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread::spawn,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Maximum time for every wait.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The program and its output, line by line.
pub struct Running {
    child: Child,
    pub stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// Starts it with an empty environment.
pub fn start(arguments: &[&str], url: &str) -> Running {
    start_read_until(usize::MAX, arguments, url)
}

/// Starts it with a reader that goes away after this many lines, as `head` does.
pub fn start_read_until(most: usize, arguments: &[&str], url: &str) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_aggregator"))
        .args(arguments)
        .args(["--url", url])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Running {
        stdout: lines(child.stdout.take().unwrap(), most),
        stderr: lines(child.stderr.take().unwrap(), usize::MAX),
        child,
    }
}

impl Running {
    /// The next line.
    pub fn next(lines: &Receiver<String>) -> String {
        lines.recv_timeout(TIMEOUT).expect("another line")
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits for the end. Returns exit code, standard output and standard error.
    pub fn end(mut self) -> (Option<i32>, String, String) {
        let (stdout, stderr) = (rest(&self.stdout), rest(&self.stderr));
        (self.child.wait().unwrap().code(), stdout, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn lines(from: impl Read + Send + 'static, most: usize) -> Receiver<String> {
    let (to, lines) = sync_channel(1_000);
    spawn(move || {
        let all = BufReader::new(from).lines().map_while(Result::ok);
        all.take(most).all(|line| to.send(line).is_ok())
    });
    lines
}

fn rest(lines: &Receiver<String>) -> String {
    let mut all = String::new();
    loop {
        match lines.recv_timeout(TIMEOUT) {
            Ok(line) => all.extend([&line, "\n"]),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => panic!("the program does not exit"),
        }
    }
}
