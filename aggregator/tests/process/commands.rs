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
fn a_closed_standard_output_does_not_change_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let data_dir = directory.path().to_str().unwrap();
    let copy = directory.path().join("copy");
    let acknowledge = ["acknowledge-missing", "--listen", &running.address];
    let doctor = [
        "doctor",
        "--url",
        &running.address,
        "--nats-url",
        "127.0.0.1:1",
    ];
    for (arguments, expected) in [
        (&["--help"][..], 0),
        (
            &["backup", copy.to_str().unwrap(), "--data-dir", data_dir],
            0,
        ),
        (&["verify", "--data-dir", data_dir], 0),
        (&["verify", "--json", "--data-dir", data_dir], 0),
        (&acknowledge, 0),
        (&doctor, 3),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = program().args(arguments).stdout(writer).output().unwrap();
        let text = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(expected), "{arguments:?}: {text}");
        assert!(!text.contains("error"), "{arguments:?}: {text}");
    }
    assert!(copy.exists());
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
