//! Wrong arguments: each is answered with one line that says what is right, and never has a password in it.

use super::*;

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
        (&["topics", "--contains", ""], "must not be empty"),
        (&["query", "--contains", ""], "must not be empty"),
        (
            &["query", "--since", "1h", "--until", "2h"],
            "--until must be later than --since",
        ),
        (
            &["--data-dir", "x", "verify"],
            "put the flags after the command: aggregator verify --data-dir",
        ),
        (
            &["--listen", "1", "query"],
            "put the flags after the command: aggregator query [FLAGS]; --listen is not a flag of aggregator query",
        ),
        (
            &["event", "orders"],
            "<EVENT_ID>; usage: aggregator event <TOPIC> <EVENT_ID>",
        ),
        (&["query", "--json"], "-o json"),
        (&["query", "-f"], "aggregator tail"),
        (&["tail", "-f"], "without a flag"),
        (&["tail", "--count", "1"], "--limit"),
        (&["stats", "--url", "ftp://me:secret@logs"], "ftp://…@logs"),
        (&["--batch-events", "many"], "from 1 to 100000"),
        (&["--batch-events", "-1"], "from 1 to 100000"),
        (&["--stream-max-bytes", "lots"], "such as 512MiB"),
        (
            &["--tls-cert", "a"],
            "--tls-cert and --tls-key need each other",
        ),
        (
            &["--tls-key", "a"],
            "--tls-cert and --tls-key need each other",
        ),
        (&["--tls-client-ca", "a"], "needs --tls-cert and --tls-key"),
        (
            &["--tls-cert", "a", "--tls-key", "b", "--tls-client-ca", "c"],
            "--tls-client-ca needs --tokens",
        ),
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
fn an_argument_that_belongs_elsewhere_is_answered_with_what_to_type() {
    for (arguments, expected) in [
        (
            &["http://127.0.0.1:8080"][..],
            "to read from a running aggregator: aggregator stats --url http://127.0.0.1:8080",
        ),
        (
            &["verify", "http://127.0.0.1:8080"],
            "aggregator stats --url http://127.0.0.1:8080",
        ),
        (
            &["nats://127.0.0.1:4222"],
            "aggregator --nats-url nats://127.0.0.1:4222",
        ),
        (
            &["verify", "tls://a"],
            "aggregator verify --nats-url tls://a",
        ),
        (&["query", "nats://a"], "aggregator query --url http://"),
        (&["topics", "http://a"], "aggregator topics --url http://a"),
        (&["query", "127.0.0.1:8080"], "--url 127.0.0.1:8080"),
        (&["query", "a:b"], "--topic a:b"),
        (&["8080"], "aggregator --listen 8080"),
        (&["stats", "8080"], "--url 8080"),
        (&["stats", "orders"], "usage: aggregator stats [OPTIONS]"),
        (&["event", "a", "b", "c"], "usage: aggregator event"),
        (
            &["healthcheck", "--url", "x"],
            "aggregator healthcheck --listen HOST:PORT",
        ),
        (
            &["healthcheck", "http://127.0.0.1:8080"],
            "aggregator healthcheck --listen HOST:PORT",
        ),
        (
            &["acknowledge-missing", "-u", "x"],
            "aggregator acknowledge-missing --listen HOST:PORT",
        ),
        (&["healthcheck", "logs"], "usage: aggregator healthcheck"),
        (&["verify", "-o", "json"], "aggregator verify --json"),
        (
            &["doctor", "--output", "json"],
            "aggregator doctor --json FILE",
        ),
        (&["backup", "-o", "copy"], "aggregator backup FILE"),
        (&["backup", "https://a"], "must be a path"),
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
        (&["--stream-replicas", "2"], "--stream-replicas"),
        (&["--stream-replicas", "9"], "--stream-replicas"),
        (&["--stream-replicas", "-1"], "--stream-replicas"),
        (&["--memory", "191MiB"], "--memory"),
        (&["--memory", "much"], "--memory"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let line = wrong(arguments);
        assert!(line.contains(named), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn a_password_is_never_repeated() {
    for address in [
        "https://me:secret@logs",
        "https://me:sec/secret@logs",
        "http://me:1/secret@logs",
        "http://me/secret@logs",
        "https://me:secret@logs:x\n",
        "https://me:sec ret secret@logs",
        "https://me:secret\n\n@logs",
        "https://\u{1b}[31mme:secret@logs",
        "nats://a,nats://me:secret@b:x,nats://me:secret@c",
        "me:secret@logs:x",
        "-me:secret@logs",
    ] {
        let flags = [
            "--url",
            "--listen",
            "--nats-url",
            "--otlp-endpoint",
            "--data-dir",
            "--since",
            "--limit",
            "--nast-url",
            "-u",
            "-x",
        ];
        let commands = "serve query tail topics stats event verify doctor backup healthcheck acknowledge-missing \
                        completions help";
        for command in commands.split(' ').map(Some).chain([None]) {
            let command: Vec<_> = command.into_iter().collect();
            let mut lines = vec![[&command[..], &[address]].concat().join("\0")];
            for flag in flags {
                lines.push([&command[..], &[flag, address]].concat().join("\0"));
                let joined = format!("{flag}={address}");
                lines.push([&command[..], &[&joined]].concat().join("\0"));
                let joined = joined.trim_start_matches('-');
                lines.push([&command[..], &[joined]].concat().join("\0"));
            }
            for line in lines {
                let arguments: Vec<_> = line.split('\0').collect();
                match parsed(&arguments) {
                    Err(Exit::Wrong(line)) => {
                        assert!(!line.contains("secret"), "{arguments:?}: {line}");
                        assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
                    }
                    // A valid address; nothing is repeated.
                    Ok(_) | Err(Exit::Asked { .. }) => {}
                }
            }
        }
    }
    for (arguments, named) in [
        (
            &["stats", "--url", "https://me:sec/ret@logs"][..],
            "https://…@logs",
        ),
        (&["https://me:secret@host"], "https://…@host"),
        (
            &["doctor", "--url", "https://me:sec/ret@logs"],
            "https://…@logs",
        ),
        (
            &["serve", "--nats-url", "nats://me:secret@host:port"],
            "--nats-url",
        ),
        (
            &[
                "verify",
                "--nats-url",
                "nats://me:secret@a,nats://me:other@b",
            ],
            "--nats-url",
        ),
        (
            &["--otlp-endpoint", "http://me:secret@host"],
            "--otlp-endpoint",
        ),
        (
            &["--otlp-endpoint", "http://me:secret@host:port"],
            "--otlp-endpoint",
        ),
    ] {
        let line = wrong(arguments);
        assert!(line.contains(named), "{line}");
    }
}
