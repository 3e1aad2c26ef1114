//! The real binary without a broker: how it starts, refuses to start, responds and exits.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

/// Longer than any step takes; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

fn aggregator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command
        .env_clear()
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
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn start(data_dir: &Path) -> Self {
        Self::start_until(data_dir, "\"listening\"")
    }

    /// Starts one and waits for a line that has the address and `words` in it.
    fn start_until(data_dir: &Path, words: &str) -> Self {
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
        // Drain the pipe, so that the process never blocks.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
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

    fn ended(&mut self) -> ExitStatus {
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

fn refused(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    (status.code().unwrap(), text)
}

#[test]
fn it_serves_without_a_broker_and_exits_with_0() {
    for signal in ["-TERM", "-INT"] {
        let directory = tempfile::tempdir().unwrap();
        let mut running = Running::start(directory.path());
        assert!(running.get("/health").starts_with("HTTP/1.1 503"));
        assert!(running.get("/readyz").starts_with("HTTP/1.1 503"));
        assert!(running.get("/livez").starts_with("HTTP/1.1 200"));
        assert!(running.get("/stats").contains("\"pending\":null"));
        running.signal(signal);
        assert_eq!(running.ended().code(), Some(0));
    }
}

/// Sends a request without its body, and waits for the interim response.
fn open_request(running: &Running) -> TcpStream {
    let mut stream = running.connect();
    let head = "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Expect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

fn stop_listening(running: &Running) {
    running.signal("-TERM");
    let started = Instant::now();
    while TcpStream::connect(&running.address).is_ok() {
        assert!(started.elapsed() < DEADLINE, "it still listens");
    }
}

#[test]
fn an_open_request_is_finished_before_the_exit() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(directory.path());
    let mut stream = open_request(&running);
    stop_listening(&running);
    stream.write_all(b"not json!").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn a_second_signal_stops_it_immediately() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(directory.path());
    let _open = open_request(&running);
    stop_listening(&running);
    assert!(
        running.child.try_wait().unwrap().is_none(),
        "the open request was cut off"
    );
    running.signal("-TERM");
    assert_eq!(running.ended().code(), Some(1));
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_with_the_name_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let (code, text) = refused(aggregator().arg("--data-dir").arg(directory.path()));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains(&format!("process id {}", running.child.id())),
        "{text}"
    );
}

#[test]
fn a_process_that_starts_while_its_predecessor_is_ending_waits_for_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let running = Running::start(directory.path());
        running.signal("-KILL");
        // Its exit is not awaited.
        Running::start(directory.path());
    }
}

#[test]
fn invalid_settings_print_one_line_and_exit_with_2() {
    for arguments in [
        &["--data-dir", "x", "--stream-keep-bytes", "2GiB"][..],
        &["--listen", "nowhere"],
        &["serve", "--no-such-flag"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
        let (code, text) = refused(command.env_clear().args(arguments));
        assert_eq!(code, 2, "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    let (code, text) = refused(command.env_clear().env("AGGREGATOR_LOG_LEVEL", "=="));
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(
        text.ends_with("; the value is that of AGGREGATOR_LOG_LEVEL\n"),
        "{text}"
    );
}

#[test]
fn a_password_in_a_variable_is_never_repeated() {
    let invalid = [
        "https://me:secret@logs",
        "https://me:sec/secret@logs",
        "https://me:secret@logs:x\n",
        "nats://me:secret@a:x,nats://me:secret@b",
    ];
    for (variable, arguments) in [
        ("AGGREGATOR_URL", &["stats"][..]),
        ("AGGREGATOR_URL", &["doctor"]),
        ("AGGREGATOR_LISTEN", &["serve"]),
        ("AGGREGATOR_LISTEN", &["healthcheck"]),
        ("AGGREGATOR_LISTEN", &["help", "qurey"]),
        ("LISTEN_ADDR", &["serve"]),
        ("LISTEN_ADDR", &["acknowledge-missing"]),
        ("AGGREGATOR_DATA_DIR", &["verify"]),
        ("DATA_DIR", &["backup", "copy"]),
        ("STREAM", &["verify"]),
        ("AGGREGATOR_LOG_FORMAT", &[]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &[]),
    ] {
        for address in invalid {
            let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
            command.args(arguments).env_clear().env(variable, address);
            let (code, text) = refused(&mut command);
            assert_eq!((code, text.lines().count()), (2, 1), "{variable}: {text}");
            assert!(!text.contains("secret"), "{variable}: {text}");
        }
    }
}

#[test]
fn a_variable_is_no_part_of_the_usage() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command.args(["event", "orders"]).env_clear();
    let expected = refused(&mut command);
    assert!(
        expected
            .1
            .contains("not provided: <EVENT_ID>; usage: aggregator event <TOPIC> <EVENT_ID>;"),
        "{expected:?}"
    );
    command.env("AGGREGATOR_URL", "http://127.0.0.1:1");
    assert_eq!(refused(&mut command), expected);
}

#[test]
fn a_closed_standard_error_does_not_change_the_exit_code() {
    for (arguments, expected) in [
        (&["--no-such-flag"][..], 2),
        (&["healthcheck", "--listen", "127.0.0.1:1"], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
        command.args(arguments).env_clear().stderr(writer);
        assert_eq!(
            command.status().unwrap().code(),
            Some(expected),
            "{arguments:?}"
        );
    }
}

#[test]
fn old_names_of_variables_are_read_with_a_warning_that_has_no_values() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let verify = |variables: &[(&str, &Path)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
        command
            .arg("verify")
            .env_clear()
            .envs(variables.iter().copied());
        refused(&mut command)
    };
    let failure = |directory: &Path| {
        let directory = directory.display();
        format!(
            "error: there is no store in {directory}; give the directory of one with --data-dir\n"
        )
    };
    let of_others = [
        ("STREAM", Path::new("a.b")),
        ("LISTEN_ADDR", Path::new("x")),
    ];
    for (variables, expected) in [
        (&[("AGGREGATOR_DATA_DIR", &*new)][..], failure(&new)),
        (
            &[("DATA_DIR", &*old)],
            "warning: DATA_DIR is an old name: set AGGREGATOR_DATA_DIR instead\n".to_owned()
                + &failure(&old),
        ),
        (
            &[("DATA_DIR", &*old), ("AGGREGATOR_DATA_DIR", &*new)],
            "warning: DATA_DIR is ignored, because AGGREGATOR_DATA_DIR has another value\n"
                .to_owned()
                + &failure(&new),
        ),
        (
            &[("DATA_DIR", &*new), ("AGGREGATOR_DATA_DIR", &*new)],
            failure(&new),
        ),
    ] {
        assert_eq!(verify(variables), (1, expected), "{variables:?}");
    }
    // A flag needs no variable, and other commands' variables do not matter.
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command
        .args(["healthcheck", "--listen", "127.0.0.1:1"])
        .env_clear()
        .envs(of_others);
    let (code, text) = refused(&mut command);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    // The help names the variable to set.
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command
        .args(["verify", "--help"])
        .env_clear()
        .env("DATA_DIR", &old);
    let help = command.output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("[env: AGGREGATOR_DATA_DIR=]"), "{help}");
}

#[test]
fn the_service_logs_that_a_variable_has_an_old_name_and_not_its_value() {
    // It ends by itself, because its data directory cannot be one.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command
        .args(["serve", "--log-format", "json"])
        .env_clear()
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("NATS_URL", "nats://me:secret@127.0.0.1:1")
        .env("AGGREGATOR_DATA_DIR", file.path());
    let (code, text) = refused(&mut command);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("\"message\":\"NATS_URL is an old name: set AGGREGATOR_NATS_URL instead\""),
        "{text}"
    );
    assert!(text.contains("set AGGREGATOR_LISTEN instead"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

/// Makes the index's list of tables a pipe: opening the store waits until the test writes into it.
fn hold_opening(data_dir: &Path) -> PathBuf {
    let index = data_dir.join("index");
    std::fs::create_dir_all(&index).unwrap();
    let list = index.join("current");
    let made = Command::new("mkfifo").arg(&list).status().unwrap();
    assert!(made.success());
    list
}

#[test]
fn it_responds_while_the_store_is_being_opened_and_serves_when_it_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let list = hold_opening(directory.path());
    let running = Running::start_until(directory.path(), "opening the store");
    let health = running.get("/health");
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    assert!(health.contains("\"status\":\"starting\""), "{health}");
    assert!(
        health.contains("\"store\":\"the store is being opened\""),
        "{health}"
    );
    assert!(running.get("/livez").starts_with("HTTP/1.1 200"));
    assert!(running.get("/readyz").starts_with("HTTP/1.1 503"));
    let stats = running.get("/stats");
    assert!(stats.starts_with("HTTP/1.1 503"), "{stats}");
    assert!(stats.contains("urn:problem:starting"), "{stats}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command
        .env_clear()
        .args(["healthcheck", "--listen", &running.address]);
    let (code, text) = refused(&mut command);
    assert_eq!(code, 1);
    assert!(text.contains("starting"), "{text}");

    // The list is empty, so it is damaged and the index is rebuilt.
    drop(std::fs::OpenOptions::new().write(true).open(&list).unwrap());
    let started = Instant::now();
    while !running.get("/stats").contains("\"pending\":null") {
        assert!(started.elapsed() < DEADLINE, "it never serves");
        std::thread::yield_now();
    }
}

#[test]
fn sigterm_while_the_store_is_being_opened_exits_with_0() {
    let directory = tempfile::tempdir().unwrap();
    let _list = hold_opening(directory.path());
    let mut running = Running::start_until(directory.path(), "opening the store");
    running.signal("-TERM");
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn a_store_that_cannot_be_opened_fails_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    drop(Running::start(directory.path()));
    let file = directory.path().join("aggregator.db");
    let store = rusqlite::Connection::open(file).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let (code, text) = refused(aggregator().arg("--data-dir").arg(directory.path()));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("error: cannot open the store in"), "{text}");
    assert!(text.contains("schema version 99"), "{text}");
}

#[test]
fn a_directory_without_a_store_is_reported_once() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    for data_dir in [directory.path(), &missing] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
        // The broker is not contacted in vain.
        let broker = ["--nats-url", "nats://127.0.0.1:1"];
        command.env_clear().args(["verify", "--data-dir"]);
        let (code, text) = refused(command.arg(data_dir).args(broker));
        assert_eq!(code, 1, "{text}");
        let expected = format!(
            "error: there is no store in {}; give the directory of one with --data-dir\n",
            data_dir.display()
        );
        assert_eq!(text, expected);
    }
}

#[test]
fn a_data_directory_that_is_a_file_is_reported_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (code, text) = refused(aggregator().arg("--data-dir").arg(file.path()));
    assert_eq!(code, 1, "{text}");
    let path = file.path().display();
    let expected = format!("error: data directory {path} cannot be used: not a directory\n");
    assert_eq!(text, expected);
}

#[test]
fn without_an_aggregator_the_commands_say_what_did_not_respond() {
    for name in ["healthcheck", "acknowledge-missing"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
        let (code, text) = refused(command.env_clear().args([name, "--listen", "localhost:1"]));
        assert_eq!(code, 1, "{text}");
        assert!(
            text.starts_with("error: no response from http://127.0.0.1:1/"),
            "{text}"
        );
        assert!(
            text.contains("(Connection refused); is the aggregator running"),
            "{text}"
        );
    }
}

#[test]
fn an_address_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let other = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command
        .env_clear()
        .args(["--listen", &running.address, "--data-dir"])
        .arg(other.path());
    let (code, text) = refused(&mut command);
    assert_eq!(code, 1);
    assert!(text.contains(&running.address), "{text}");
    assert!(text.contains("choose another port with --listen"), "{text}");
}

#[test]
fn the_healthcheck_reports_what_fails() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_aggregator"));
    command
        .env_clear()
        .args(["healthcheck", "--listen", &running.address]);
    let (code, text) = refused(&mut command);
    assert_eq!(code, 1);
    assert!(text.contains("unhealthy"), "{text}");
}
