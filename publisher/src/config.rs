//! Settings, checked before anything starts: from flags, and from the environment where the broker is and how much is
//! logged. What is sent is never decided by the environment: names such as `RATE` mean other things to other programs.
//!
//! They may hold the broker's password: nothing here is `Debug`, and no message repeats the broker's address.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, error::ErrorKind};
use reqwest::Url;
use shared::{
    connection::{self, ServerAddr},
    stream, telemetry,
};

use crate::{
    input::Origin,
    pace::Rate,
    traffic::{PAYLOAD_BYTES, Share, fresh_run_id},
};

/// Puts events on the stream: generated ones of which a known share are duplicates, or those of files. With
/// --verify it checks afterwards that the aggregator counted each of them right.
#[derive(Parser)]
#[command(
    name = "publisher",
    bin_name = "publisher",
    version,
    after_help = "Without a command it generates: `publisher --count 5` is `publisher generate --count 5`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate events, of which an exact share are duplicates (the default)
    Generate {
        #[command(flatten)]
        generate: Generate,
        #[command(flatten)]
        common: Common,
    },
    /// Send the events of files: NDJSON or a JSON array, either of them gzipped or not
    Send {
        #[command(flatten)]
        send: Send,
        #[command(flatten)]
        common: Common,
    },
}

/// What is to be done, and how.
pub struct Settings {
    /// What both commands know.
    pub common: Common,
    /// The broker's address. May hold a password: never to be shown but for host and port.
    pub nats_url: ServerAddr,
    /// Where the events come from.
    pub task: Task,
}

/// Where the events come from.
pub enum Task {
    /// They are made.
    Generate(Generate),
    /// They are read.
    Send(Send),
}

/// What both commands know.
#[derive(Args)]
pub struct Common {
    /// Address of the NATS server
    #[arg(
        long,
        env = "NATS_URL",
        value_name = "URL",
        default_value = "nats://127.0.0.1:4222",
        hide_env_values = true
    )]
    nats_url: String,

    /// Name of the stream; the aggregator creates it
    #[arg(long, env = "STREAM", value_name = "NAME", default_value = stream::DEFAULT_NAME,
          value_parser = plain_name)]
    pub stream: String,

    /// Events sent a second; 0 is as fast as it goes
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = Rate::parse, allow_negative_numbers = true)]
    pub rate: Rate,

    /// Most events in one message, 1 to 10000; a message is also full at 256 KiB
    #[arg(long, value_name = "N", default_value_t = 250,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,

    /// Check afterwards what the aggregator at this address counted, such as `http://127.0.0.1:8080`; exit code 1 where
    /// it differs
    #[arg(long, value_name = "URL", value_parser = parse_http_url)]
    pub verify: Option<Url>,

    /// Print the summary as one JSON object on standard output too
    #[arg(long)]
    pub json: bool,

    /// What is logged: error, warn, info, debug, trace, or a filter such as `warn,publisher=debug`
    #[arg(long, env = "LOG_LEVEL", value_name = "FILTER", default_value = "error,async_nats=off",
          value_parser = telemetry::parse_filter)]
    pub log_level: String,
}

/// What `generate` is to make.
#[derive(Args)]
#[group(skip)]
pub struct Generate {
    /// Events to send, duplicates included; 0 goes on until stopped
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub count: u64,

    /// Share of what is sent that repeats an earlier event, 0 to 1: exactly this share, rounded; the first event never
    #[arg(long, value_name = "SHARE", default_value = "0.3",
          value_parser = Share::parse, allow_negative_numbers = true)]
    pub duplicates: Share,

    /// Topics that the events are spread over, 1 to 100000
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub topics: u32,

    /// After sending and verifying, go on at this many events a second on topics of their own, until stopped; 0 ends
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = Rate::parse, allow_negative_numbers = true)]
    pub then_rate: Rate,

    /// The same seed and run id make the same traffic, byte for byte
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Part of every topic and event id, so that runs do not meet; a fresh one unless given
    #[arg(long, value_name = "NAME", value_parser = plain_name)]
    run_id: Option<String>,

    /// Bytes of each event's payload, 80 to 523264
    #[arg(long, value_name = "N", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES))]
    pub payload_bytes: u32,
}

/// What `send` is to read.
#[derive(Args)]
#[group(skip)]
pub struct Send {
    /// Files to send; - is standard input. What they hold is told by their content
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Send what is valid and count the rest; else nothing is sent while a line is bad
    #[arg(long)]
    pub skip_invalid: bool,

    /// With --verify: exactly so many events must be stored that were not before
    #[arg(long, value_name = "N", requires = "verify")]
    pub expect_unique: Option<u64>,
}

impl Generate {
    /// The run id that was given, or a fresh one each time.
    pub fn run_id(&self) -> String {
        self.run_id.clone().unwrap_or_else(fresh_run_id)
    }
}

impl Send {
    /// What to read, in this order.
    pub fn origins(&self) -> Vec<Origin> {
        let origin = |path: &PathBuf| match path.to_str() {
            Some("-") => Origin::StandardInput,
            _ => Origin::File(path.clone()),
        };
        self.files.iter().map(origin).collect()
    }
}

/// The program ends here: with its help, or because a setting is wrong.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for, for standard output.
    Asked(String),
    /// One line on what is wrong, for standard error.
    Wrong(String),
}

/// Reads the command line and the environment.
///
/// # Errors
/// [`Exit`] where nothing is to be started.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Settings, Exit> {
    let cli = Cli::try_parse_from(with_command(arguments)).map_err(|err| match err.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Asked(err.to_string()),
        _ => Exit::Wrong(telemetry::one_line(&err.to_string())),
    })?;
    let (task, common) = match cli.command {
        Command::Generate { generate, common } => (Task::Generate(generate), common),
        Command::Send { send, common } => (Task::Send(send), common),
    };
    check(&task).map_err(|wrong| Exit::Wrong(format!("error: {wrong}")))?;
    let nats_url = connection::parse_url(&common.nats_url)
        .map_err(|wrong| Exit::Wrong(format!("error: --nats-url is {wrong}")))?;
    Ok(Settings {
        common,
        nats_url,
        task,
    })
}

/// The arguments with `generate` put in where no command stands.
fn with_command(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<_> = arguments.into_iter().collect();
    let first = all
        .get(1)
        .map_or("-".into(), |first| first.to_string_lossy());
    if first.starts_with('-') && !["-h", "--help", "-V", "--version"].contains(&&*first) {
        all.insert(all.len().min(1), "generate".into());
    }
    all
}

fn check(task: &Task) -> Result<(), &'static str> {
    match task {
        Task::Generate(generate) if generate.count == 0 && !generate.then_rate.is_unlimited() => {
            Err("--then-rate begins after --count events, and --count 0 has no end")
        }
        Task::Send(send) if send.files.iter().filter(|file| **file == *"-").count() > 1 => {
            Err("standard input can be read once, and - stands there twice")
        }
        _ => Ok(()),
    }
}

/// Names that become parts of subjects: what is legal there everywhere.
fn plain_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=64).contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 64 letters, digits, - and _".to_owned())
}

fn parse_http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|err| err.to_string())?;
    if url.scheme() != "http" || !url.has_host() {
        return Err("the aggregator is asked over http, as in http://127.0.0.1:8080".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory};

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Settings, Exit> {
        let all = ["publisher"].iter().chain(arguments);
        parse(all.map(OsString::from))
    }

    fn generate(arguments: &[&str]) -> Generate {
        match parsed(arguments).map(|settings| settings.task) {
            Ok(Task::Generate(generate)) => generate,
            Ok(Task::Send(_)) => panic!("send"),
            Err(exit) => panic!("{exit:?}"),
        }
    }

    #[test]
    fn without_a_command_it_generates() {
        assert_eq!(generate(&[]).count, 20_000);
        assert_eq!(generate(&["--count", "5"]).count, 5);
        assert_eq!(generate(&["generate", "--count", "5"]).count, 5);
        assert_eq!(generate(&["generate", "--run-id", "r"]).run_id(), "r");
    }

    #[test]
    fn a_run_id_is_fresh_unless_given() {
        assert_ne!(generate(&[]).run_id(), generate(&[]).run_id());
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_it() {
        for (arguments, named) in [
            (&["--duplicates", "1.5"][..], "--duplicates"),
            (&["--batch", "0"], "--batch"),
            (&["--rate", "-1"], "--rate"),
            (&["--rate", "inf"], "--rate"),
            (&["--topics", "0"], "--topics"),
            (&["--payload-bytes", "524288"], "--payload-bytes"),
            (&["--nats-url", "nats://host:port"], "--nats-url"),
            (&["--verify", "127.0.0.1:8080"], "--verify"),
            (&["--run-id", "a b"], "--run-id"),
            (&["--count", "0", "--then-rate", "1"], "--then-rate"),
            (&["--no-such-flag"], "--no-such-flag"),
            (&["sned", "file"], "sned"),
            (&["send"], "FILE"),
            (&["send", "-", "-"], "standard input"),
            (&["send", "f", "--expect-unique", "1"], "--verify"),
        ] {
            match parsed(arguments) {
                Err(Exit::Wrong(line)) => {
                    assert!(line.contains(named), "{line}");
                    assert_eq!(line.lines().count(), 1, "{line}");
                }
                Err(exit) => panic!("{exit:?}"),
                Ok(_) => panic!("{arguments:?} was taken"),
            }
        }
    }

    #[test]
    fn a_password_in_a_wrong_address_is_not_repeated() {
        let exit = parsed(&["--nats-url", "nats://user:secret@host:port"]).err();
        assert!(!format!("{exit:?}").contains("secret"));
    }

    #[test]
    fn what_is_sent_is_never_decided_by_the_environment() {
        for command in Cli::command().get_subcommands() {
            let names: Vec<_> = command.get_arguments().filter_map(Arg::get_env).collect();
            assert_eq!(names, ["NATS_URL", "STREAM", "LOG_LEVEL"]);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
