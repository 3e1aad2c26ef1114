//! The command line and the environment, parsed and checked before anything starts.

mod doctor;
mod help;
mod renamed;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod token;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;
use reqwest::header::HeaderValue;
use shared::{
    api::TokenFile,
    command_line::{environment, path, usage},
    connection::Servers,
    reading::Reading,
    stream,
};

pub use self::settings::Settings;
use self::{
    doctor::Doctor,
    renamed::RENAMED,
    settings::{address, jetstream_name},
    store::{DatabaseFlag, Store, is_overridden, not_copied, without_variable},
    token::Token,
};
use crate::commands::{
    doctor as doctor_command, healthcheck::Service, store as store_command, token as token_command,
    verify,
};

shared::nats_flags!("AGGREGATOR");

/// Commands that are not this program's.
const PUBLISHER: usage::Program = ("publisher", &["generate", "send", "http", "latency"]);

#[derive(Debug, Parser)]
#[command(
    name = "aggregator",
    version,
    about = help::ABOUT,
    after_help = help::EXIT_CODES,
    // The generated one leaves out options that are hidden.
    override_usage = help::USAGE,
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
    /// Prepare a store in a database
    #[command(after_help = help::STORE)]
    Store(Store),
    /// Acknowledge stream sequences lost before they were applied, so /health stops reporting them
    #[command(after_help = help::ACKNOWLEDGE_MISSING)]
    AcknowledgeMissing(AcknowledgeMissing),
    /// Create, list and revoke the tokens that give access to the HTTP API
    #[command(after_help = help::TOKEN)]
    Token(Token),
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct Backup {
    /// The copy, which must not exist yet; to restore it, put it in place of `aggregator.db`
    #[arg(value_parser = path())]
    file: PathBuf,

    #[command(flatten)]
    store: StoreFlag,

    #[command(flatten)]
    database: DatabaseFlag,
}

/// The store that a command reads without its aggregator.
#[derive(Debug, Args)]
#[group(skip)]
struct StoreFlag {
    /// Directory of the store
    #[arg(
        long,
        env = "AGGREGATOR_DATA_DIR",
        default_value = "./data",
        value_name = "DIR",
        value_parser = path()
    )]
    data_dir: PathBuf,
}

/// The command to run.
#[derive(Debug)]
pub enum Command {
    /// Serve the HTTP API and run the consumer.
    Serve(Settings),
    /// Read from a running aggregator.
    Read(Reading),
    /// Check whether the aggregator on this host is healthy.
    Healthcheck(Service),
    /// Copy the store in a directory to a file.
    Backup {
        /// The store's directory.
        data_dir: PathBuf,
        /// The copy.
        file: PathBuf,
    },
    /// Acknowledge the missing sequences of the aggregator on this host, with a token if there is one.
    AcknowledgeMissing(Service, Option<HeaderValue>),
    /// Verify the bookkeeping of a store.
    Verify(verify::Settings),
    /// Examine a service, its broker and its store.
    Doctor(doctor_command::Settings),
    /// Prepare a store in a database.
    Store(store_command::Action),
    /// Create, list or revoke tokens.
    Token(token_command::Settings),
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

    /// The certificate of the aggregator, if it speaks HTTPS: the file that it was started with
    #[arg(
        long,
        env = "AGGREGATOR_TLS_CERT",
        value_name = "FILE",
        value_parser = path()
    )]
    tls_cert: Option<PathBuf>,
}

impl Running {
    fn service(self) -> Service {
        let Self { listen, tls_cert } = self;
        Service { listen, tls_cert }
    }
}

#[derive(Debug, Args)]
struct AcknowledgeMissing {
    #[command(flatten)]
    running: Running,

    #[command(flatten)]
    token: TokenFile,
}

#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    store: StoreFlag,

    #[command(flatten)]
    database: DatabaseFlag,

    /// Also compare the messages that this NATS server retains; addresses as for serve. Without this flag no server is contacted, whatever the environment says
    #[arg(long, value_name = "URL")]
    nats_url: Vec<String>,

    #[command(flatten)]
    nats: NatsFlags,

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

/// Parses the command line and the environment. Also returns warnings about the environment, each a sentence.
///
/// # Errors
/// [`Exit`] if there is no command to run.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Command, Vec<String>), Exit> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let program = program();
    let read = |program: &clap::Command| {
        environment::parse(program, &RENAMED, &arguments).map_err(|err| match err.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Asked {
                plain: err.render().to_string(),
                coloured: err.render().ansi().to_string(),
            },
            _ => Exit::Wrong(usage::answer(err, program, &RENAMED, &arguments, PUBLISHER)),
        })
    };
    let mut parsed = read(&program)?;
    // What is typed wins over the environment.
    if is_overridden(&parsed.matches) {
        parsed = read(&without_variable(program))?;
        let ignored = "AGGREGATOR_STORE is ignored, because --data-dir is given";
        parsed.warnings.push(ignored.to_owned());
    }
    let cli = Cli::from_arg_matches(&parsed.matches)
        .map_err(|err| Exit::Wrong(err.to_string().trim_end().to_owned()))?;
    Ok((command(cli)?, parsed.warnings))
}

fn command(cli: Cli) -> Result<Command, Exit> {
    let settings = match cli.command {
        Some(Subcommands::Healthcheck(running)) => {
            return Ok(Command::Healthcheck(running.service()));
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
        Some(Subcommands::AcknowledgeMissing(AcknowledgeMissing { running, token })) => {
            let token = token
                .authorization()
                .map_err(|wrong| Exit::Wrong(format!("error: {wrong}")))?;
            return Ok(Command::AcknowledgeMissing(running.service(), token));
        }
        Some(Subcommands::Backup(Backup {
            file,
            store,
            database,
        })) => {
            let wrong = |wrong| Exit::Wrong(format!("error: {wrong}"));
            if let Some(address) = database.address().map_err(wrong)? {
                return Err(wrong(not_copied(&address)));
            }
            let data_dir = store.data_dir;
            return Ok(Command::Backup { data_dir, file });
        }
        Some(Subcommands::Verify(verify)) => {
            let wrong = |wrong| Exit::Wrong(format!("error: {wrong}"));
            let place = match verify.database.address().map_err(wrong)? {
                Some(address) => verify::Place::Database(address),
                None => verify::Place::Directory(verify.store.data_dir),
            };
            let servers = if verify.nats_url.is_empty() {
                None
            } else {
                let servers = Servers::with_files(&verify.nats_url, &verify.nats.files());
                let servers = servers.map_err(wrong)?;
                servers.check_files().map_err(wrong)?;
                Some(servers)
            };
            return Ok(Command::Verify(verify::Settings {
                place,
                servers,
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
        Some(Subcommands::Store(store)) => {
            let action = store.settings();
            return action
                .map(Command::Store)
                .map_err(|wrong| Exit::Wrong(format!("error: {wrong}")));
        }
        Some(Subcommands::Token(token)) => return Ok(Command::Token(token.settings())),
        Some(Subcommands::Read(reading)) => {
            let checked = reading.check().map(|()| Command::Read(reading));
            return checked.map_err(|wrong| Exit::Wrong(format!("error: {wrong}")));
        }
        Some(Subcommands::Serve(settings)) => settings,
        None => cli.serve,
    };
    settings
        .check()
        .map_err(|wrong| Exit::Wrong(format!("error: {wrong}")))?;
    Ok(Command::Serve(settings))
}
