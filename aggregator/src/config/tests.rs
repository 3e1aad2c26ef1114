//! The command line of the aggregator: what is accepted, and what is answered to the rest.

mod refused;

use super::*;

fn parsed(arguments: &[&str]) -> Result<Command, Exit> {
    let all = ["aggregator"].iter().chain(arguments);
    parse(all.map(OsString::from)).map(|(command, _)| command)
}

fn wrong(arguments: &[&str]) -> String {
    match parsed(arguments) {
        Err(Exit::Wrong(line)) => line,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_serves_without_a_subcommand_and_with_one() {
    for arguments in [
        &["--listen", "127.0.0.1:0"][..],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        match parsed(arguments) {
            Ok(Command::Serve(settings)) => assert_eq!(settings.listen.port(), 0),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_address_to_listen_on_needs_only_a_port() {
    for (text, expected) in [
        ("8080", "127.0.0.1:8080"),
        (":8080", "127.0.0.1:8080"),
        ("localhost:8080", "127.0.0.1:8080"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::1]:8080", "[::1]:8080"),
    ] {
        match parsed(&["--allow-anonymous", "--listen", text]) {
            Ok(Command::Serve(settings)) => {
                assert_eq!(settings.listen.to_string(), expected, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
        assert!(parsed(&["healthcheck", "--listen", text]).is_ok(), "{text}");
    }
    for text in [
        "127.0.0.1",
        "127.0.0.1:99999",
        "http://127.0.0.1:8080",
        "host:8080",
        "",
    ] {
        let line = wrong(&["--listen", text]);
        assert!(line.contains("such as 127.0.0.1:8080"), "{line}");
    }
    for (text, expected) in [
        ("localhost", "the port is missing"),
        ("0.0.0.0", "the port is missing"),
        ("::1", "the port is missing"),
        ("80800", "the port 80800 is above 65535"),
        ("localhost:80800", "the port 80800 is above 65535"),
    ] {
        let line = wrong(&["--listen", text]);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn a_store_in_a_database_is_not_taken_for_one_in_a_directory() {
    const URL: &str = "postgres://me:secret@localhost/events";
    for (arguments, expected) in [
        (
            &["backup", "copy", "--store", URL][..],
            "postgres://localhost:5432/events, and backup copies a store in a directory: back up the database with its own tools, pg_dump",
        ),
        (&["store", "init"], "--store is missing"),
        (
            &[
                "store",
                "init",
                "--store",
                "mysql://me:secret@localhost/events",
            ],
            "does not begin with postgres://",
        ),
        (
            &["verify", "--store", "postgres://me:secret@db/events"],
            "add ?sslmode=verify-full",
        ),
        (
            &["doctor", "--store", "postgres://me:secret@db/events"],
            "add ?sslmode=verify-full",
        ),
    ] {
        let line = wrong(arguments);
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
    match parsed(&["store", "init", "--dry-run", "--store", URL]) {
        Ok(Command::Store(store_command::Action::Init(init))) => assert!(init.is_dry),
        other => panic!("{other:?}"),
    }
    match parsed(&["verify", "--store", URL]) {
        Ok(Command::Verify(settings)) => {
            assert!(matches!(settings.place, verify::Place::Database(_)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_command_that_connects_takes_several_addresses_and_credentials() {
    let urls = ["--nats-url", "nats://u:p%40ss@a,tls://b", "--nats-url", "c"];
    for command in [&["serve"][..], &[], &["verify"]] {
        let servers = match parsed(&[command, &urls].concat()) {
            Ok(Command::Serve(settings)) => settings.servers(),
            Ok(Command::Verify(settings)) => settings.servers.expect("it was given"),
            other => panic!("{other:?}"),
        };
        assert_eq!(servers.to_string(), "a:4222, b:4222, c:4222");
    }
    match parsed(&["verify"]) {
        Ok(Command::Verify(settings)) => assert!(settings.servers.is_none()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn batches_are_smaller_with_little_memory() {
    let batch = |memory, bytes| {
        let flags = ["--memory", memory, "--batch-bytes", bytes];
        match parsed(&flags) {
            Ok(Command::Serve(settings)) => settings.batch_limits().bytes,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(batch("2GiB", "10MiB"), 10 << 20);
    assert_eq!(batch("192MiB", "10MiB"), 2 << 20);
    assert_eq!(batch("192MiB", "1MiB"), 1 << 20);
}

#[test]
fn what_is_kept_leaves_room_for_a_largest_message() {
    for (max, keep, is_right) in [
        ("1MiB", "0", true),
        ("1MiB", "1KiB", false),
        ("2MiB", "1MiB", true),
        ("2MiB", "1025KiB", false),
        ("1GiB", "1023MiB", true),
        ("1GiB", "1GiB", false),
    ] {
        let flags = ["--stream-max-bytes", max, "--stream-keep-bytes", keep];
        assert_eq!(parsed(&flags).is_ok(), is_right, "{max} {keep}");
    }
}

#[test]
fn the_help_says_that_the_flags_of_serve_are_accepted() {
    let help = program().render_help().to_string();
    for expected in [
        "without a command, the flags of serve are accepted",
        "Usage: aggregator [OPTIONS]\n       aggregator <COMMAND>\n",
    ] {
        assert!(help.contains(expected), "{help}");
    }
    let line = wrong(&["--no-such-flag"]);
    let expected =
        "usage: aggregator [OPTIONS] or aggregator <COMMAND>; for help: aggregator --help";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn every_command_that_reads_has_short_flags() {
    for command in ["query", "tail", "topics", "stats", "doctor"] {
        assert!(parsed(&[command, "-u", "8080"]).is_ok(), "{command}");
    }
}

#[test]
fn variables_are_named_after_the_program_and_the_flag() {
    // The last two are also those of the flags of `store copy`, which says from where and to where.
    let others = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "AGGREGATOR_DATA_DIR",
        "AGGREGATOR_STORE",
    ];
    environment::check_names(&program(), &RENAMED, &others);
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn other_machines_have_access_only_if_that_was_decided() {
    for listen in [
        "127.0.0.1:80",
        "127.9.9.9:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        ":80",
    ] {
        assert!(parsed(&["--listen", listen]).is_ok(), "{listen}");
    }
    for listen in [
        "0.0.0.0:80",
        "[::]:80",
        "192.168.1.7:80",
        "[2001:db8::1]:80",
    ] {
        let line = wrong(&["--listen", listen]);
        for part in ["--tokens FILE", "--allow-anonymous", "token create", listen] {
            assert!(line.contains(part), "{line}");
        }
        assert!(parsed(&["--listen", listen, "--allow-anonymous"]).is_ok());
        assert!(parsed(&["--listen", listen, "--tokens", "f"]).is_ok());
    }
    let line = wrong(&["--tokens", "f", "--allow-anonymous"]);
    assert!(line.contains("exclude each other"), "{line}");
}

#[test]
fn a_token_is_created_with_patterns_a_time_and_a_rate_that_are_valid() {
    let create = |arguments: &[&str]| {
        let all = [&["token", "create", "a"], arguments].concat();
        parsed(&all)
    };
    for valid in [
        &["--publish", "orders.*,a.>", "--read", "*"][..],
        &["--read", "\"a b\"", "--read", "c", "--admin"],
        &["--read", "\"a, b\",c.*", "--publish", "\",\""],
        &["--expires", "90d", "--rate", "5000/s", "--tokens", "f"],
        &["--expires", "9999-01-01T00:00:00Z"],
    ] {
        assert!(matches!(create(valid), Ok(Command::Token(_))), "{valid:?}");
    }
    for (invalid, expected) in [
        (&["--publish", "a..b"][..], "is not a pattern"),
        (&["--expires", "90"], "such as 12h or 90d"),
        (&["--expires", "0d"], "such as 12h or 90d"),
        (&["--expires", "99999999d"], "such as 12h or 90d"),
        (&["--expires", "ä"], "such as 12h or 90d"),
        (&["--expires", "2020-01-01T00:00:00Z"], "in the future"),
        (&["--rate", "5000"], "such as 5000/s"),
    ] {
        match create(invalid) {
            Err(Exit::Wrong(line)) => assert!(line.contains(expected), "{line}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(wrong(&["token", "create", "a b"]).contains("letters, digits"));
    assert!(wrong(&["token", "create", "agg_a"]).contains("does not begin with agg_"));
}

#[test]
fn a_store_is_copied_to_a_database_whose_password_is_never_repeated() {
    let copy = |to: &str| parsed(&["store", "copy", "--from", "old", "--to", to]);
    match copy("postgres://me:secret@127.0.0.1/events") {
        Ok(Command::Store(store_command::Action::Copy(settings))) => {
            assert_eq!(settings.from, PathBuf::from("old"));
            assert!(!settings.to.to_string().contains("secret"));
        }
        other => panic!("{other:?}"),
    }
    for (to, expected) in [
        (
            "mysql://me:secret@127.0.0.1/events",
            "--to is not the address of a database",
        ),
        ("postgres://me:secret@db/events", "sslmode=verify-full"),
    ] {
        let line = match copy(to) {
            Err(Exit::Wrong(line)) => line,
            other => panic!("{other:?}"),
        };
        assert!(
            line.contains(expected) && !line.contains("secret"),
            "{line}"
        );
    }
    let line = wrong(&["store", "copy", "--from", "old"]);
    assert!(line.contains("--to is missing"), "{line}");
}
