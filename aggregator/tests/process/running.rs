//! The built program as a running process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

/// Longer than any step takes; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The program with an empty environment.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command.env_clear();
    command
}

/// The service on a free port, with a broker that does not exist.
pub fn aggregator() -> Command {
    let mut command = program();
    command
        .args([
            "--listen",
            "127.0.0.1:0",
            "--nats-url",
            "nats://127.0.0.1:1",
        ])
        .args(["--log-format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running aggregator, killed when the test ends.
pub struct Running {
    pub child: Child,
    pub address: String,
}

impl Running {
    pub fn start(data_dir: &Path) -> Self {
        Self::start_until(data_dir, "\"listening\"")
    }

    /// Starts one and waits for a line that has the address and `words` in it.
    pub fn start_until(data_dir: &Path, words: &str) -> Self {
        let (running, mut log) = Self::start_logging(data_dir, words);
        // Drain the pipe, so that the process never blocks.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        running
    }

    /// The same with the rest of its log.
    pub fn start_logging(data_dir: &Path, words: &str) -> (Self, BufReader<ChildStderr>) {
        let mut child = aggregator()
            .arg("--data-dir")
            .arg(data_dir)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "it ended: {:?}",
                child.wait()
            );
        }
        let (_, rest) = line.split_once("http://").unwrap();
        let address = rest.split('"').next().unwrap().to_owned();
        (Self { child, address }, log)
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "it does not exit");
            std::thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end. Returns its exit code and standard error.
pub fn refused(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    (status.code().unwrap(), text)
}
