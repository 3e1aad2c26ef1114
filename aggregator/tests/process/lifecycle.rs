//! Signals, open requests, and the lock on the data directory.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use crate::running::{DEADLINE, Running, aggregator, refused};

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

/// Waits until the log that the service keeps in memory has a line.
fn logged(running: &Running, words: &str) {
    let started = Instant::now();
    while !running.get("/diagnostics").contains(words) {
        assert!(started.elapsed() < DEADLINE, "it does not log {words}");
    }
}

#[test]
fn a_hangup_does_not_end_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = Running::start(directory.path());
    running.signal("-HUP");
    logged(&running, "no files to reread because of SIGHUP");
    running.signal("-TERM");
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn a_log_that_cannot_be_written_does_not_end_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut running, log) = Running::start_logging(directory.path(), "\"listening\"");
    drop(log);
    running.signal("-HUP");
    logged(&running, "no files to reread because of SIGHUP");
    running.signal("-TERM");
    assert_eq!(running.ended().code(), Some(0));
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
