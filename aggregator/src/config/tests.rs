//! The command line of the aggregator: what is accepted, and what is answered to the rest.

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
        match parsed(&["--listen", text]) {
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
}

#[test]
fn the_answer_to_a_wrong_setting_says_what_is_right() {
    for (arguments, expected) in [
        (&["verfiy"][..], "'verify'"),
        (&["--data-dri", "x"], "'--data-dir'"),
        (&["verify", "x"], "--data-dir x"),
        (&["qurey"], "'query'"),
        (&["query", "--topcs", "a"], "'--topic'"),
        (&["query", "--since", "yesterday"], "15m, 2h or 7d"),
        (&["query", "-o", "yaml"], "json, pretty, table"),
        (&["query", "orders"], "--topic orders"),
        (&["topics", "orders"], "--contains orders"),
        (&["tail", "--since", "1h"], "aggregator query --since"),
        (&["--topic", "a"], "query or tail"),
        (&["generate"], "publisher generate"),
        (&["help", "qurey"], "'query'"),
        (&["./data"], "--data-dir ./data"),
        (&[":8080"], "aggregator --listen :8080"),
        (&["serve", ":8080"], "--listen :8080"),
        (&["query", "--json"], "-o json"),
        (&["query", "-f"], "aggregator tail"),
        (&["tail", "-f"], "without a flag"),
        (&["tail", "--count", "1"], "--limit"),
        (
            &["stats", "--url", "https://me:secret@logs"],
            "https://…@logs",
        ),
        (&["--batch-events", "many"], "from 1 to 100000"),
        (&["--batch-events", "-1"], "from 1 to 100000"),
        (&["--stream-max-bytes", "lots"], "such as 512MiB"),
        (
            &["--otlp-endpoint", "127.0.0.1:4318"],
            "as in http://127.0.0.1:4318",
        ),
        (
            &["--otlp-endpoint", "localhost:4318"],
            "as in http://127.0.0.1:4318",
        ),
    ] {
        let line = wrong(arguments);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn a_wrong_setting_is_one_line_that_names_it() {
    for (arguments, named) in [
        (&["--listen", "nowhere"][..], "--listen"),
        (&["--nats-url", "a b"], "--nats-url"),
        (&["--stream", "a.b"], "--stream"),
        (&["--log-level", "=="], "--log-level"),
        (&["--stream-max-bytes", "lots"], "--stream-max-bytes"),
        (
            &["--stream-max-bytes", "2MiB", "--stream-keep-bytes", "2MiB"],
            "--stream-keep-bytes",
        ),
        (
            &[
                "--stream-max-bytes",
                "2MiB",
                "--stream-keep-bytes",
                "1536KiB",
            ],
            "--stream-keep-bytes",
        ),
        (&["--stream-replicas", "9"], "--stream-replicas"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let line = wrong(arguments);
        assert!(line.contains(named), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
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
fn a_password_is_never_repeated() {
    let line = wrong(&["stats", "--url", "https://me:secret@logs"]);
    assert!(!line.contains("secret"), "{line}");
    for command in ["serve", "verify"] {
        for url in [
            "nats://me:secret@host:port",
            "nats://me:secret@a,nats://me:other@b",
        ] {
            let line = wrong(&[command, "--nats-url", url]);
            assert!(line.contains("--nats-url"), "{line}");
            assert!(!line.contains("secret"), "{line}");
        }
    }
    for address in ["http://me:secret@host", "http://me:secret@host:port"] {
        let line = wrong(&["--otlp-endpoint", address]);
        assert!(line.contains("--otlp-endpoint"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
}

#[test]
fn variables_are_named_after_the_program_and_the_flag() {
    environment::check_names(&program(), &RENAMED, &["OTEL_EXPORTER_OTLP_ENDPOINT"]);
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}
