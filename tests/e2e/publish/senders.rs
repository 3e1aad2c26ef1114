//! Third-party senders: the `CloudEvents` and the `OpenTelemetry` SDK for Python, each run twice.
//!
//! `tests/run.sh` creates an environment with both if Python is available, and names its interpreter in `E2E_PYTHON`.
//! Without it, these tests print that they are skipped.

use std::{path::PathBuf, process::Stdio};

use e2e::{System, workspace};
use tokio::process::Command;

/// Runs one of the programs below `tests/e2e` to its end; none if there is no Python.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> Option<()> {
    run_with(program, arguments, &[]).await
}

/// The same with these variables in the environment.
pub(crate) async fn run_with(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Option<()> {
    let Some(python) = std::env::var_os("E2E_PYTHON") else {
        eprintln!("skipped: E2E_PYTHON is not set");
        return None;
    };
    let program: PathBuf = workspace::root().join("tests/e2e").join(program);
    let ran = Command::new(python)
        .arg(&program)
        .args(arguments)
        .env("NO_PROXY", "127.0.0.1")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("Python can be started");
    assert!(
        ran.status.success(),
        "{} {arguments:?}: {}",
        program.display(),
        String::from_utf8_lossy(&ran.stderr)
    );
    Some(())
}

#[tokio::test]
async fn records_resent_by_the_opentelemetry_sdk_are_duplicates_in_either_encoding() {
    let system = System::start().await;
    let url = system.api().url();
    for (round, encoding) in (1..).zip(["protobuf", "protobuf", "json", "json"]) {
        if run("publish/senders/opentelemetry_logs.py", &[url, encoding])
            .await
            .is_none()
        {
            return;
        }
        let books = system.settled().await;
        assert_eq!(
            books.counts(),
            [20 * round, 20, 20 * (round - 1)],
            "{encoding}"
        );
        assert_eq!((books.stats.conflicts, books.stats.rejected), (0, 0));
        assert_eq!(books.of("sdk.orders"), books.counts());
    }
    // Each of them was sent four times, and half of them had no uid.
    let stats = system.api().get("/stats").await.unwrap().json();
    assert_eq!(stats["identified_by_digest"], 40);
    let uid = "01J00000000000000000000004";
    let identity = [("topic", "sdk.orders"), ("event_id", uid)];
    let found = system.api().ask("/event", &identity).await.json();
    let event = &found["event"];
    assert_eq!(event["timestamp"], "2026-01-01T00:00:00.000000005Z");
    assert_eq!(event["source"], "one");
    assert_eq!(event["payload"]["record"]["severityText"], "INFO");
}

#[tokio::test]
async fn events_resent_by_the_cloudevents_sdk_are_duplicates_in_either_mode() {
    let system = System::start().await;
    let url = system.api().url();
    for (round, mode) in (1..).zip(["binary", "binary", "structured", "structured"]) {
        if run("publish/senders/cloudevents_sdk.py", &[url, mode])
            .await
            .is_none()
        {
            return;
        }
        let books = system.settled().await;
        assert_eq!(books.counts(), [12 * round, 12, 12 * (round - 1)], "{mode}");
        assert_eq!(
            (books.stats.conflicts, books.stats.rejected),
            (0, 0),
            "{mode}"
        );
    }
    let identity = [("topic", "sdk.order"), ("event_id", r#"["/shop/ä","3"]"#)];
    let found = system.api().ask("/event", &identity).await.json();
    let event = &found["event"];
    assert_eq!(event["timestamp"], "2026-01-31T12:00:03Z");
    assert_eq!(event["payload"]["subject"], "Euro € 😀 \"quoted\" 100%");
    assert_eq!(event["payload"]["data"]["amount"], 1.5);
}
