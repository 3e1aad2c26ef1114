//! Settings, validated before anything starts. They come from flags; the addresses, the stream's name, which events may
//! share a message, the log filter and the OTLP endpoint may also come from the environment. The environment never decides
//! what is sent.
//!
//! Settings may hold the broker's password: nothing here is `Debug`, and no message repeats the broker's address.

mod flags;
mod help;
#[cfg(test)]
mod tests;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
use clap_complete::Shell;
use shared::{
    api::Target,
    command_line::{
        environment::{self, Renamed},
        usage,
    },
    connection::Servers,
    publish::Subjects,
    reading::Reading,
    secret_file, telemetry,
};

use self::flags::{Cli, Command, Common, Log};
pub use self::flags::{Generate, Http, Latency, Send};
use crate::flow::pace::Rate;

/// Environment variables and their old names, which lacked the name of the program.
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
        "store",
        "acknowledge-missing",
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
    /// Warnings about the environment and about files with secrets, each a sentence.
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
    /// Read from the aggregator, with a command that has moved to its program.
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
    pub verify: Option<Target>,
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
        let servers = Servers::with_files(&flags.nats_url, &flags.nats.files())?;
        servers.check_files()?;
        let endpoint = flags.otlp_endpoint.as_deref().unwrap_or_default();
        telemetry::check_endpoint(endpoint).map_err(|err| format!("--otlp-endpoint: {err}"))?;
        let verify = flags.verify.as_ref();
        let verify = verify.map(|url| flags.credentials.target(url));
        Ok(Self {
            servers,
            stream: flags.stream,
            rate: flags.rate,
            batch: flags.batch as usize,
            subjects: flags.subjects,
            verify: verify.transpose()?,
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
                err, &program, &RENAMED, &arguments, AGGREGATOR,
            )),
        })?;
    let cli = Cli::from_arg_matches(&parsed.matches)
        .map_err(|err| Exit::Usage(err.to_string().trim_end().to_owned()))?;
    if let Command::Completions { shell } = cli.command {
        return Err(completions(shell));
    }
    let usage = |err| Exit::Usage(format!("error: {err}"));
    let (task, common) = task(cli.command).map_err(usage)?;
    let mut warnings = parsed.warnings;
    if let Task::Generate(_, jetstream) | Task::Send(_, jetstream) = &task {
        warnings.extend(secret_file::warnings(jetstream.servers.secret_files()));
    }
    Ok(Settings {
        task,
        json: common.json,
        log_level: common.log.log_level,
        warnings,
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
        Task::Read(reading) => reading.check(),
        Task::Http(http) if !http.is_within_limits() => Err(
            "the aggregator accepts at most 16 MiB per request and 64 MiB in flight: lower --connections, \
             --events-per-request or --payload-bytes",
        ),
        _ => Ok(()),
    }
}
