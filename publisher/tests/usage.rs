//! The built program as a shell sees it: its exit codes, standard output and standard error.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs it with an empty environment.
fn publisher(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_publisher"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn invalid_usage_is_one_line_and_exit_code_2() {
    for arguments in [
        &["--batch", "1"][..],
        &["generate", "--batch", "0"],
        &["generate", "--duplicates", "1.5"],
        &["send"],
        &["http", "--connections", "0"],
        &["latency", "--rate", "0"],
        &["query", "--limit", "0"],
    ] {
        let ended = publisher(arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        assert_eq!(
            text(&ended.stderr).lines().count(),
            1,
            "{}",
            text(&ended.stderr)
        );
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn without_a_command_it_prints_its_help_and_sends_nothing() {
    let ended = publisher(&[]);
    assert_eq!(ended.status.code(), Some(2));
    let help = text(&ended.stderr);
    for part in ["Usage: publisher <COMMAND>", "\n  generate ", "Exit codes:"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(ended.stdout.is_empty());
}

#[test]
fn help_and_version_are_printed() {
    for (arguments, expected) in [
        (&["--help"][..], "generate"),
        (&["generate", "--help"], "--duplicates"),
        (&["send", "--help"], "--skip-invalid"),
        (&["http", "--help"], "--events-per-request"),
        (&["latency", "--help"], "--samples"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let ended = publisher(arguments);
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}");
        assert!(
            text(&ended.stdout).contains(expected),
            "{}",
            text(&ended.stdout)
        );
    }
}

#[test]
fn the_commands_that_moved_are_hidden_and_still_work() {
    let help = publisher(&["--help"]);
    let help = text(&help.stdout);
    for command in ["stats", "query", "tail"] {
        assert!(!help.contains(&format!("\n  {command} ")), "{help}");
        // Nothing listens on that port.
        let ended = publisher(&[
            command,
            "--url",
            "http://127.0.0.1:1",
            "--log-level",
            "warn",
        ]);
        assert_eq!(ended.status.code(), Some(1));
        let lines: Vec<_> = text(&ended.stderr).lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(
            lines[0],
            format!("this command has moved: use aggregator {command}")
        );
        assert!(lines[1].contains("Connection refused"), "{lines:?}");
    }
}

#[test]
fn the_old_name_of_a_variable_is_read_with_a_warning() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_publisher"));
        command
            .args(["generate", "--stream", "a.b"])
            .env_clear()
            .envs(variables.iter().copied());
        text(&command.output().unwrap().stderr).to_owned()
    };
    // Invalid usage is answered first.
    assert!(!run(&[("NATS_URL", "nats://127.0.0.1:1")]).contains("warning"));
    let send = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_publisher"));
        command
            .args(["send", "no/such/file"])
            .env_clear()
            .envs(variables.iter().copied());
        let ended = command.output().unwrap();
        let lines = text(&ended.stderr).lines().map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let secret = "nats://me:secret@127.0.0.1:1";
    let lines = send(&[
        ("NATS_URL", secret),
        ("PUBLISHER_STREAM", "S"),
        ("STREAM", "T"),
    ]);
    assert_eq!(
        lines[..2],
        [
            "warning: NATS_URL is an old name: set PUBLISHER_NATS_URL instead",
            "warning: STREAM is ignored, because PUBLISHER_STREAM has another value"
        ]
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(send(&[("PUBLISHER_NATS_URL", secret)]).len(), 1);
}

#[test]
fn an_invalid_line_ends_it_before_it_connects_to_a_broker() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "{\"topic\":\"t\"}\n").unwrap();
    let path = file.path().to_str().unwrap();
    let ended = publisher(&["send", path]);
    assert_eq!(ended.status.code(), Some(1));
    let stderr = text(&ended.stderr);
    assert!(
        stderr.contains(&format!("{path}:1: event_id: is required")),
        "{stderr}"
    );
    assert!(stderr.contains("nothing was sent"), "{stderr}");
}

#[test]
fn a_missing_input_ends_it() {
    let ended = publisher(&["send", "no/such/file", "--skip-invalid"]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        text(&ended.stderr),
        "error: cannot read no/such/file: there is no such file; give the path of a file, or - for standard input\n"
    );
}

#[test]
fn a_directory_is_not_an_input() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let ended = publisher(&["send", path]);
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!(
        "error: cannot read {path}: it is a directory; give the paths of the files in it\n"
    );
    assert_eq!(text(&ended.stderr), expected);
}

#[test]
fn without_an_aggregator_latency_fails_with_the_reason() {
    let ended = publisher(&["latency", "--url", "http://127.0.0.1:1", "--samples", "1"]);
    assert_eq!(ended.status.code(), Some(1));
    let stderr = text(&ended.stderr);
    assert!(
        stderr
            .lines()
            .last()
            .is_some_and(|last| last.starts_with("error: cannot reach the aggregator: ")),
        "{stderr}"
    );
    assert!(!stderr.contains("os error"), "{stderr}");
    assert!(ended.stdout.is_empty());
}

/// Sends `lines` lines by standard input, with temporary files in a directory. At most 4 KiB can be written to a file.
fn sends_standard_input(lines: usize, directory: &Path) -> Output {
    let limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" send - --nats-url 127.0.0.1:1";
    let mut sending = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_publisher")])
        .env_clear()
        .env("TMPDIR", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = "not an event\n".repeat(lines);
    // The program may exit before it reads all of it.
    let _ = sending.stdin.take().unwrap().write_all(line.as_bytes());
    sending.wait_with_output().unwrap()
}

#[test]
fn standard_input_is_spooled_where_tmpdir_says() {
    let directory = tempfile::tempdir().unwrap();
    let ended = sends_standard_input(1, directory.path());
    assert!(text(&ended.stderr).contains("standard input:1: "));
    let missing = directory.path().join("missing");
    let ended = sends_standard_input(1, &missing);
    let stderr = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    let expected = format!("cannot spool standard input to {}", missing.display());
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(!stderr.contains("os error"), "{stderr}");
}

#[test]
fn a_full_spool_directory_is_named_with_tmpdir() {
    let directory = tempfile::tempdir().unwrap();
    let ended = sends_standard_input(100_000, directory.path());
    let stderr = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    let directory = directory.path().display().to_string();
    for part in ["standard input", &directory, "set TMPDIR", "File too large"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}
