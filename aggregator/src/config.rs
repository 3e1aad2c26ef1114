//! The command line and the environment, parsed and checked before anything starts.

mod doctor;
mod help;
mod renamed;
mod settings;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;
use shared::{
    command_line::{environment, usage},
    connection::Servers,
    reading::Reading,
    stream,
};

pub use self::settings::Settings;
use self::{
    doctor::Doctor,
    renamed::RENAMED,
    settings::{address, jetstream_name},
};
use crate::commands::{doctor as doctor_command, verify};

/// Commands that are not this program's.
const PUBLISHER: usage::Program = ("publisher", &["generate", "send", "http", "latency"]);

#[derive(Debug, Parser)]
#[command(
    name = "aggregator",
    version,
    about = help::ABOUT,
    after_help = help::EXIT_CODES,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    serve: Settings,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Serve the HTTP API and run the consumer (the default)
    #[command(after_help = help::SERVE)]
    Serve(Settings),
    #[command(flatten)]
    Read(Reading),
    /// Query the local /health; exit code 0 if healthy, 1 if not
    #[command(after_help = help::HEALTHCHECK)]
    Healthcheck(Running),
    /// Verify the bookkeeping of a store, running or stopped, without changing it; exit code 0 if consistent, 1 if not
    #[command(after_help = help::VERIFY)]
    Verify(Verify),
    /// Examine a service, its broker and its store without changing anything; exit code 0 if nothing needs attention, 3 if something does
    #[command(after_help = help::DOCTOR)]
    Doctor(Doctor),
    /// Copy a store, running or stopped, to a file, as of one moment
    #[command(after_help = help::BACKUP)]
    Backup(Backup),
    /// Acknowledge stream sequences lost before they were applied, so /health stops reporting them
    #[command(after_help = help::ACKNOWLEDGE_MISSING)]
    AcknowledgeMissing(Running),
    /// Print a shell completion script
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct Backup {
    /// The copy, which must not exist yet; to restore it, put it in place of `aggregator.db`
    file: PathBuf,

    /// Directory of the store
    #[arg(
        long,
        env = "AGGREGATOR_DATA_DIR",
        default_value = "./data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
}

/// The command to run.
#[derive(Debug)]
pub enum Command {
    /// Serve the HTTP API and run the consumer.
    Serve(Settings),
    /// Print what a running aggregator has.
    Read(Reading),
    /// Check whether the aggregator at this address is healthy.
    Healthcheck(SocketAddr),
    /// Copy the store in a directory to a file.
    Backup {
        /// The store's directory.
        data_dir: PathBuf,
        /// The copy.
        file: PathBuf,
    },
    /// Acknowledge the missing sequences of the aggregator at this address.
    AcknowledgeMissing(SocketAddr),
    /// Verify the bookkeeping of a store.
    Verify(verify::Settings),
    /// Examine a service, its broker and its store.
    Doctor(doctor_command::Settings),
}

#[derive(Debug, Args)]
struct Running {
    /// The address that the aggregator listens on, such as 127.0.0.1:8080 or 8080
    #[arg(
        long,
        env = "AGGREGATOR_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT",
        value_parser = address
    )]
    listen: SocketAddr,
}

#[derive(Debug, Args)]
struct Verify {
    /// Directory of the store
    #[arg(
        long,
        env = "AGGREGATOR_DATA_DIR",
        default_value = "./data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,

    /// Also compare the messages that this NATS server retains; addresses as for serve. Without this flag no server is contacted, whatever the environment says
    #[arg(long, value_name = "URL")]
    nats_url: Vec<String>,

    /// Name of the stream
    #[arg(long, env = "AGGREGATOR_STREAM", default_value = stream::DEFAULT_NAME, value_name = "NAME", value_parser = jetstream_name)]
    stream: String,

    /// Name of the store's durable consumer
    #[arg(long, env = "AGGREGATOR_DURABLE", default_value = "aggregator", value_name = "NAME", value_parser = jetstream_name)]
    durable: String,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Why no command runs: help was requested, or a setting is invalid.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// The requested text for standard output, plain and coloured.
    Asked {
        /// Without control sequences.
        plain: String,
        /// With colours, for a terminal.
        coloured: String,
    },
    /// One line for standard error that names the invalid setting.
    Wrong(String),
}

/// The program's command line. Its own flags are those of `serve`, whose help lists them.
fn program() -> clap::Command {
    Cli::command().mut_args(|arg| arg.hide(true))
}

/// Parses the command line and the environment. Also returns what the user should know about the environment, in sentences.
///
/// # Errors
/// [`Exit`] if there is no command to run.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Command, Vec<String>), Exit> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let program = program();
    let parsed =
        environment::parse(&program, &RENAMED, &arguments).map_err(|err| match err.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Asked {
                plain: err.render().to_string(),
                coloured: err.render().ansi().to_string(),
            },
            _ => Exit::Wrong(usage::answer(
                &err, &program, &RENAMED, &arguments, PUBLISHER,
            )),
        })?;
    let cli = Cli::from_arg_matches(&parsed.matches)
        .map_err(|err| Exit::Wrong(err.to_string().trim_end().to_owned()))?;
    Ok((command(cli)?, parsed.warnings))
}

fn command(cli: Cli) -> Result<Command, Exit> {
    let settings = match cli.command {
        Some(Subcommands::Healthcheck(running)) => {
            return Ok(Command::Healthcheck(running.listen));
        }
        Some(Subcommands::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program(), "aggregator", &mut script);
            let script = String::from_utf8_lossy(&script).into_owned();
            return Err(Exit::Asked {
                plain: script.clone(),
                coloured: script,
            });
        }
        Some(Subcommands::AcknowledgeMissing(running)) => {
            return Ok(Command::AcknowledgeMissing(running.listen));
        }
        Some(Subcommands::Backup(Backup { file, data_dir })) => {
            return Ok(Command::Backup { data_dir, file });
        }
        Some(Subcommands::Verify(verify)) => {
            let urls = Some(verify.nats_url).filter(|urls| !urls.is_empty());
            let servers = urls.map(|urls| Servers::parse(&urls)).transpose();
            return Ok(Command::Verify(verify::Settings {
                data_dir: verify.data_dir,
                servers: servers
                    .map_err(|wrong| Exit::Wrong(format!("error: --nats-url: {wrong}")))?,
                stream: verify.stream,
                durable: verify.durable,
                json: verify.json,
            }));
        }
        Some(Subcommands::Doctor(doctor)) => {
            let settings = doctor.settings();
            return settings
                .map(Command::Doctor)
                .map_err(|wrong| Exit::Wrong(format!("error: {wrong}")));
        }
        Some(Subcommands::Read(reading)) => return Ok(Command::Read(reading)),
        Some(Subcommands::Serve(settings)) => settings,
        None => cli.serve,
    };
    settings
        .check()
        .map_err(|wrong| Exit::Wrong(format!("error: {wrong}")))?;
    Ok(Command::Serve(settings))
}

#[cfg(test)]
mod tests {
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
}
