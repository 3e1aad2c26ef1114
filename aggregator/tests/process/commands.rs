//! What the commands print and return, with an aggregator and without one.

use crate::running::{Running, program, refused};

#[test]
fn a_closed_standard_error_does_not_change_the_exit_code() {
    for (arguments, expected) in [
        (&["--no-such-flag"][..], 2),
        (&["healthcheck", "--listen", "127.0.0.1:1"], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = program().args(arguments).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(expected), "{arguments:?}");
    }
}

#[test]
fn without_an_aggregator_the_commands_say_what_did_not_respond() {
    for name in ["healthcheck", "acknowledge-missing"] {
        let (code, text) = refused(program().args([name, "--listen", "localhost:1"]));
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
    let arguments = ["--listen", &running.address, "--data-dir"];
    let (code, text) = refused(program().args(arguments).arg(other.path()));
    assert_eq!(code, 1);
    assert!(text.contains(&running.address), "{text}");
    assert!(text.contains("choose another port with --listen"), "{text}");
}

#[test]
fn the_healthcheck_reports_what_fails() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let (code, text) = refused(program().args(["healthcheck", "--listen", &running.address]));
    assert_eq!(code, 1);
    assert!(text.contains("unhealthy"), "{text}");
}
