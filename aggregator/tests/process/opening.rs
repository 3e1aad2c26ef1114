//! The service while its store is being opened, and stores that cannot be opened.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::running::{DEADLINE, Running, aggregator, program, refused};

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
    let mut command = program();
    command.args(["healthcheck", "--listen", &running.address]);
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
        let mut command = program();
        // The broker is not contacted in vain.
        let broker = ["--nats-url", "nats://127.0.0.1:1"];
        command.args(["verify", "--data-dir"]);
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
