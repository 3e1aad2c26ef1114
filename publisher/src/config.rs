//! Settings, validated before anything starts. They come from flags; the broker's address, the stream's name, the log
//! filter and the OTLP endpoint may also come from the environment. The environment never decides what is sent.
//!
//! Settings may hold the broker's password: nothing here is `Debug`, and no message repeats the broker's address.

mod flags;
mod help;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
use clap_complete::Shell;
use reqwest::Url;
use shared::{
    command_line::{
        environment::{self, Renamed},
        usage,
    },
    connection::Servers,
    publish::Subjects,
    reading::Reading,
    telemetry,
};

use self::flags::{Cli, Command, Common, Log};
pub use self::flags::{Generate, Http, Latency, Send};
use crate::flow::pace::Rate;

/// Environment variables, and the names that they had before they had the program's.
const RENAMED: [Renamed; 3] = [
    ("PUBLISHER_NATS_URL", "NATS_URL"),
    ("PUBLISHER_STREAM", "STREAM"),
    ("PUBLISHER_LOG_LEVEL", "LOG_LEVEL"),
];

/// Commands that are not this program's.
const AGGREGATOR: usage::Program = (
    "aggregator",
    &[
        "serve",
        "event",
        "topics",
        "healthcheck",
        "verify",
        "backup",
        "doctor",
    ],
);

/// What to do, and how.
pub struct Settings {
    /// The task to run.
    pub task: Task,
    /// Also print the summary as one JSON object on standard output.
    pub json: bool,
    /// The log filter.
    pub log_level: String,
    /// What the user should know about the environment, in sentences.
    pub warnings: Vec<String>,
}

/// A task.
pub enum Task {
    /// Generate events and send them over JetStream.
    Generate(Generate, JetStream),
    /// Read events and send them over JetStream.
    Send(Send, JetStream),
    /// Generate events and send them over HTTP.
    Http(Http),
    /// Measure the time until an event is visible.
    Latency(Latency),
    /// Print what the aggregator has, with a command that has moved there.
    Read(Reading),
}

/// How events are sent over JetStream.
pub struct JetStream {
    /// The broker.
    pub servers: Servers,
    /// The stream's name.
    pub stream: String,
    /// Events per second.
    pub rate: Rate,
    /// Maximum events in one message.
    pub batch: usize,
    /// Which events may share a message.
    pub subjects: Subjects,
    /// The aggregator whose counts are verified, if any.
    pub verify: Option<Url>,
    /// The OTLP endpoint for spans.
    pub otlp_endpoint: Option<String>,
}

impl Task {
    /// The OTLP endpoint; only tasks that send over JetStream have spans.
    pub fn otlp_endpoint(&self) -> Option<&str> {
        match self {
            Self::Generate(_, jetstream) | Self::Send(_, jetstream) => {
                jetstream.otlp_endpoint.as_deref()
            }
            Self::Http(_) | Self::Latency(_) | Self::Read(_) => None,
        }
    }
}

impl JetStream {
    fn new(flags: flags::JetStreamFlags) -> Result<Self, String> {
        // Not parsed by clap, which repeats an invalid value, and with it the password.
        let servers =
            Servers::parse(&flags.nats_url).map_err(|err| format!("--nats-url: {err}"))?;
        let endpoint = flags.otlp_endpoint.as_deref().unwrap_or_default();
        telemetry::check_endpoint(endpoint).map_err(|err| format!("--otlp-endpoint: {err}"))?;
        Ok(Self {
            servers,
            stream: flags.stream,
            rate: flags.rate,
            batch: flags.batch as usize,
            subjects: flags.subjects,
            verify: flags.verify,
            otlp_endpoint: flags.otlp_endpoint,
        })
    }
}

/// The program exits before it starts a task: after printing a text, or because a setting is invalid.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// A requested text for standard output: plain, and with colours for a terminal that supports them.
    Print { plain: String, coloured: String },
    /// A text for standard error: what is wrong, in one line, or the help if the command line is empty.
    Usage(String),
}

/// Reads the command line and the environment.
///
/// # Errors
/// [`Exit`] if there is no task to run.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Settings, Exit> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let program = Cli::command();
    let parsed =
        environment::parse(&program, &RENAMED, &arguments).map_err(|err| match err.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Print {
                plain: err.render().to_string(),
                coloured: err.render().ansi().to_string(),
            },
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Exit::Usage(err.to_string().trim_end().to_owned())
            }
            _ => Exit::Usage(usage::answer(
                &err, &program, &RENAMED, &arguments, AGGREGATOR,
            )),
        })?;
    let cli = Cli::from_arg_matches(&parsed.matches)
        .map_err(|err| Exit::Usage(err.to_string().trim_end().to_owned()))?;
    if let Command::Completions { shell } = cli.command {
        return Err(completions(shell));
    }
    let usage = |err| Exit::Usage(format!("error: {err}"));
    let (task, common) = task(cli.command).map_err(usage)?;
    Ok(Settings {
        task,
        json: common.json,
        log_level: common.log.log_level,
        warnings: parsed.warnings,
    })
}

fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "publisher", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Exit::Print {
        plain: script.clone(),
        coloured: script,
    }
}

fn task(command: Command) -> Result<(Task, Common), String> {
    let (task, common) = match command {
        Command::Generate {
            generate,
            jetstream,
            common,
        } => (Task::Generate(generate, JetStream::new(jetstream)?), common),
        Command::Send {
            send,
            jetstream,
            common,
        } => (Task::Send(send, JetStream::new(jetstream)?), common),
        Command::Http { http, common } => (Task::Http(http), common),
        Command::Latency { latency, common } => (Task::Latency(latency), common),
        Command::Stats { stats, log } => read(Reading::Stats(stats), log),
        Command::Query { query, log } => read(Reading::Query(query), log),
        Command::Tail { tail, log } => read(Reading::Tail(tail), log),
        Command::Completions { .. } => unreachable!("completions were printed before"),
    };
    check(&task)?;
    Ok((task, common))
}

/// Reading has no summary: its output is JSON already.
fn read(reading: Reading, log: Log) -> (Task, Common) {
    (Task::Read(reading), Common { json: false, log })
}

fn check(task: &Task) -> Result<(), &'static str> {
    match task {
        Task::Generate(generate, _)
            if generate.generated.count == 0 && !generate.then_rate.is_unlimited() =>
        {
            Err("--then-rate starts after --count events, so --count must not be 0")
        }
        Task::Send(send, _) if send.reads_standard_input_twice() => {
            Err("standard input can only be read once, but - is given more than once")
        }
        Task::Http(http) if !http.is_within_limits() => Err(
            "the aggregator accepts at most 16 MiB per request and 64 MiB in flight: lower --connections, \
             --events-per-request or --payload-bytes",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
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
            (&["generate", "--verify", "https://127.0.0.1"], "--verify"),
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
            (&["send", "f", "--count", "5"], "of generate or http"),
            (&["send"], "FILE"),
            (&["send", "-", "-"], "standard input"),
            (&["send", "f", "--expect-unique", "1"], "--verify"),
            (&["http", "--url", "https://127.0.0.1:8080"], "--url"),
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
        ] {
            let exit = format!("{:?}", parsed(&["generate", flag, address]).err());
            assert!(exit.contains(flag), "{exit}");
            assert!(!exit.contains("secret"), "{exit}");
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
                "PUBLISHER_STREAM",
                "PUBLISHER_LOG_LEVEL",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "AGGREGATOR_URL",
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
        let others = ["OTEL_EXPORTER_OTLP_ENDPOINT", "AGGREGATOR_URL"];
        environment::check_names(&Cli::command(), &RENAMED, &others);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
