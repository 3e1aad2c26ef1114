//! The command line of the publisher: what is accepted, and the errors for everything else.

use clap::Arg;

use super::*;

fn parsed(arguments: &[&str]) -> Result<Settings, Exit> {
    let all = ["publisher"].iter().chain(arguments);
    parse(all.map(OsString::from))
}

fn generate(arguments: &[&str]) -> Generate {
    match parsed(&[&["generate"], arguments].concat()).map(|settings| settings.task) {
        Ok(Task::Generate(generate, _)) => generate,
        Ok(_) => panic!("unexpected task"),
        Err(exit) => panic!("{exit:?}"),
    }
}

fn usage(arguments: &[&str]) -> String {
    match parsed(arguments) {
        Err(Exit::Usage(text)) => text,
        Err(exit) => panic!("{exit:?}"),
        Ok(_) => panic!("{arguments:?} was accepted"),
    }
}

#[test]
fn nothing_is_sent_without_a_command() {
    let help = usage(&[]);
    assert!(help.contains("Usage: publisher <COMMAND>"), "{help}");
    for arguments in [&["--count", "5"][..], &["--count=5"]] {
        assert_eq!(
            usage(arguments),
            "error: a command must come before --count: generate or http, as in publisher generate --count"
        );
    }
    assert!(usage(&["--no-such-flag"]).contains("--no-such-flag"));
}

#[test]
fn generate_sends_20_000_events_unless_another_count_is_given() {
    assert_eq!(generate(&[]).generated.count, 20_000);
    assert_eq!(generate(&["--count", "5"]).generated.count, 5);
    assert_eq!(generate(&["--count", "1M"]).generated.count, 1_000_000);
}

#[test]
fn a_run_id_is_new_unless_given() {
    assert_eq!(generate(&["--run-id", "r"]).generated.run_id(), "r");
    assert_ne!(
        generate(&[]).generated.run_id(),
        generate(&[]).generated.run_id()
    );
}

#[test]
fn invalid_usage_is_one_line_that_names_the_argument() {
    for (arguments, named) in [
        (&["generate", "--duplicates", "1.5"][..], "--duplicates"),
        (&["generate", "--batch", "0"], "--batch"),
        (&["generate", "--rate", "-1"], "--rate"),
        (&["generate", "--rate", "inf"], "--rate"),
        (&["generate", "--topics", "0"], "--topics"),
        (
            &["generate", "--payload-bytes", "524288"],
            "--payload-bytes",
        ),
        (
            &["generate", "--nats-url", "nats://host:port"],
            "--nats-url",
        ),
        (&["generate", "--verify", "ftp://127.0.0.1"], "--verify"),
        (&["generate", "--run-id", "a b"], "--run-id"),
        (
            &["generate", "--count", "0", "--then-rate", "1"],
            "--then-rate",
        ),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["sned", "file"], "'send'"),
        (&["generate", "--cuont", "5"], "'--count'"),
        (&["generate", "--count", "-5"], "such as 500, 20k or 1M"),
        (&["tail", "orders"], "--topic orders"),
        (&["topics"], "aggregator topics"),
        (&["generate", "1000"], "--count 1000"),
        (&["1000"], "publisher generate --count 1000"),
        (&["20k"], "publisher generate --count 20k"),
        (&["events.ndjson"], "publisher send events.ndjson"),
        (&["./events"], "publisher send ./events"),
        (&["-"], "publisher send -"),
        (
            &["http://127.0.0.1:8080"],
            "publisher http --url http://127.0.0.1:8080",
        ),
        (&["nats://a"], "publisher generate --nats-url nats://a"),
        (&["http", "nats://a"], "publisher http --url http://"),
        (&["send", "nats://a"], "must be a path"),
        (&["generate", "-o", "json"], "publisher generate --json"),
        (
            &["query", "--since", "1h", "--until", "2h"],
            "--until must be later than --since",
        ),
        (&["send", "f", "--count", "5"], "of generate or http"),
        (&["send"], "FILE"),
        (&["send", "-", "-"], "standard input"),
        (&["send", "f", "--expect-unique", "1"], "--verify"),
        (&["http", "--url", "ftp://127.0.0.1:8080"], "--url"),
        (&["http", "--connections", "0"], "--connections"),
        (
            &["http", "--events-per-request", "10001"],
            "--events-per-request",
        ),
        (
            &[
                "http",
                "--events-per-request",
                "9000",
                "--payload-bytes",
                "2000",
            ],
            "16 MiB",
        ),
        (&["http", "--nats-url", "nats://127.0.0.1"], "--nats-url"),
        (&["latency", "--rate", "0"], "--rate"),
        (&["latency", "--samples", "0"], "--samples"),
        (&["stats", "--json"], "--json"),
        (&["stats", "--url", "http://"], "--url"),
        (&["query", "--limit", "0"], "--limit"),
        (&["query", "--since", "yesterday"], "--since"),
        (&["query", "--order", "up"], "--order"),
        (&["query", "--payload", "a.b"], "--payload"),
        (&["query", "--payload", "=1"], "--payload"),
        (&["tail", "--topic", ""], "--topic"),
    ] {
        let line = usage(arguments);
        assert!(line.contains(named), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn a_password_in_an_invalid_address_is_not_repeated() {
    for (flag, address) in [
        ("--nats-url", "nats://user:secret@host:port"),
        ("--nats-url", "nats://user:secret@a,nats://user:other@b"),
        ("--otlp-endpoint", "http://user:secret@host"),
        ("--otlp-endpoint", "http://user:secret@host:port"),
        ("--verify", "https://user:sec/secret@host"),
        ("--verify", "http://user:secret@host:port\n"),
        ("--nast-url", "nats://user:secret@host"),
    ] {
        let exit = format!("{:?}", parsed(&["generate", flag, address]).err());
        assert!(exit.contains(flag), "{exit}");
        assert!(!exit.contains("secret"), "{exit}");
    }
    for arguments in [
        &["nats://user:secret@host"][..],
        &["send", "nats://user:secret@host"],
        &["generate", "nats://user:secret@host"],
        &["http", "--url", "https://user:sec/secret@host"],
        &["latency", "--url=ftp://user:secret@host"],
    ] {
        let line = usage(arguments);
        assert!(!line.contains("secret"), "{line}");
        assert!(line.contains("…@host"), "{line}");
    }
}

#[test]
fn every_command_that_connects_takes_several_addresses_and_credentials() {
    for command in [&["generate"][..], &["send", "file"]] {
        let urls = ["--nats-url", "nats://u:p%40ss@a,tls://b", "--nats-url", "c"];
        let arguments = [command, &urls].concat();
        match parsed(&arguments).map(|settings| settings.task) {
            Ok(Task::Generate(_, jetstream) | Task::Send(_, jetstream)) => {
                assert_eq!(jetstream.servers.to_string(), "a:4222, b:4222, c:4222");
            }
            Ok(_) => panic!("unexpected task"),
            Err(exit) => panic!("{exit:?}"),
        }
    }
}

#[test]
fn the_environment_never_decides_what_is_sent() {
    for command in Cli::command().get_subcommands() {
        let names: Vec<_> = command.get_arguments().filter_map(Arg::get_env).collect();
        let known = [
            "PUBLISHER_NATS_URL",
            "PUBLISHER_NATS_PASSWORD_FILE",
            "PUBLISHER_NATS_CREDS",
            "PUBLISHER_NATS_NKEY",
            "PUBLISHER_NATS_CA",
            "PUBLISHER_NATS_CERT",
            "PUBLISHER_NATS_KEY",
            "PUBLISHER_STREAM",
            "PUBLISHER_SUBJECTS",
            "PUBLISHER_LOG_LEVEL",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "AGGREGATOR_URL",
            "AGGREGATOR_CA",
            "AGGREGATOR_TOKEN_FILE",
        ];
        assert!(
            names
                .iter()
                .all(|name| known.iter().any(|known| name == known)),
            "{names:?}"
        );
    }
}

#[test]
fn variables_are_named_after_the_program_and_the_flag() {
    let others = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "AGGREGATOR_URL",
        "AGGREGATOR_CA",
        "AGGREGATOR_TOKEN_FILE",
    ];
    environment::check_names(&Cli::command(), &RENAMED, &others);
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}
