//! Flags and environment variables that are invalid, secret or have old names.

use std::path::Path;

use crate::running::{program, refused};

#[test]
fn invalid_settings_print_one_line_and_exit_with_2() {
    for arguments in [
        &["--data-dir", "x", "--stream-keep-bytes", "2GiB"][..],
        &["--listen", "nowhere"],
        &["serve", "--no-such-flag"],
    ] {
        let (code, text) = refused(program().args(arguments));
        assert_eq!(code, 2, "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let (code, text) = refused(program().env("AGGREGATOR_LOG_LEVEL", "=="));
    assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    assert!(
        text.ends_with("; the value is that of AGGREGATOR_LOG_LEVEL\n"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let [data_dir, missing] = ["data", "missing"].map(|name| directory.path().join(name));
    let with = |flags: &[&str]| {
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(&data_dir);
        for flag in flags {
            command.arg(flag).arg(&missing);
        }
        let (_, text) = refused(&mut command);
        assert_eq!(
            text.lines().last().unwrap().matches("missing").count(),
            1,
            "{text}"
        );
        assert!(!text.contains("os error"), "{text}");
        assert!(!data_dir.exists(), "{text}");
    };
    with(&["--tokens"]);
    with(&["--tls-cert", "--tls-key"]);
    with(&["--nats-creds"]);
    with(&["--nats-nkey"]);
    with(&["--nats-ca"]);
    let mut command = program();
    let (code, text) = refused(command.args(["stats", "--token-file"]).arg(&missing));
    let expected = format!("error: --token-file {}: No such file", missing.display());
    assert!(text.starts_with(&expected), "{text}");
    assert_eq!((code, text.contains("os error")), (1, false), "{text}");
}

#[test]
fn a_password_in_a_variable_is_never_repeated() {
    let invalid = [
        "ftp://me:secret@logs",
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
        ("AGGREGATOR_STORE", &["serve"]),
        ("AGGREGATOR_STORE", &["verify"]),
        ("AGGREGATOR_STORE", &["backup", "copy"]),
        ("AGGREGATOR_STORE", &["doctor"]),
        ("AGGREGATOR_STORE", &["store", "init"]),
        ("STREAM", &["verify"]),
        ("AGGREGATOR_LOG_FORMAT", &[]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &[]),
    ] {
        for address in invalid {
            let (code, text) = refused(program().args(arguments).env(variable, address));
            assert_eq!((code, text.lines().count()), (2, 1), "{variable}: {text}");
            assert!(!text.contains("secret"), "{variable}: {text}");
        }
    }
}

#[test]
fn a_directory_that_is_typed_wins_over_a_database_in_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("none");
    let ignored = "warning: AGGREGATOR_STORE is ignored, because --data-dir is given\n";
    let nowhere = "postgres://me@127.0.0.1:1/events";
    for arguments in [&["verify"][..], &["backup", "copy"]] {
        let mut command = program();
        command.args(arguments).env("AGGREGATOR_STORE", nowhere);
        let (_, text) = refused(&mut command);
        assert!(text.contains("127.0.0.1:1"), "{arguments:?}: {text}");
        let (code, text) = refused(command.arg("--data-dir").arg(&data));
        assert!(text.starts_with(ignored), "{arguments:?}: {text}");
        assert!(text.contains("there is no store "), "{arguments:?}: {text}");
        assert!(
            text.contains(data.to_str().unwrap()),
            "{arguments:?}: {text}"
        );
        assert_eq!(code, 1, "{arguments:?}: {text}");
        // Both are typed.
        let (_, text) = refused(command.args(["--store", nowhere]));
        assert!(text.contains("127.0.0.1:1"), "{arguments:?}: {text}");
        assert!(!text.contains("ignored"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_variable_is_no_part_of_the_usage() {
    let mut command = program();
    command.args(["event", "orders"]);
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
fn old_names_of_variables_are_read_with_a_warning_that_has_no_values() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let verify = |variables: &[(&str, &Path)]| {
        refused(program().arg("verify").envs(variables.iter().copied()))
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
    let mut command = program();
    command
        .args(["healthcheck", "--listen", "127.0.0.1:1"])
        .envs(of_others);
    let (code, text) = refused(&mut command);
    assert_eq!((code, text.lines().count()), (1, 1), "{text}");
    // The help names the variable to set.
    let mut command = program();
    command.args(["verify", "--help"]).env("DATA_DIR", &old);
    let help = command.output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("[env: AGGREGATOR_DATA_DIR=]"), "{help}");
}

#[test]
fn the_service_logs_that_a_variable_has_an_old_name_and_not_its_value() {
    // It ends by itself, because its data directory cannot be one.
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = program();
    command
        .args(["serve", "--log-format", "json"])
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
