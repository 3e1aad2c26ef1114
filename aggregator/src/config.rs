//! Settings, from flags and the environment, checked before anything starts.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum, error::ErrorKind};
use shared::{
    connection::{self, ServerAddr},
    stream, telemetry,
};

use crate::{consumer::BatchLimits, store::Bounds, verify};

/// Takes events from NATS JetStream, stores each exactly once, and answers for every one of them over HTTP.
///
/// Without a subcommand it serves.
#[derive(Debug, Parser)]
#[command(name = "aggregator", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    serve: Settings,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Serve the HTTP API and run the consumer (the default)
    Serve(Settings),
    /// Ask the local /health; exit code 0 when healthy, 1 when not
    Healthcheck(Running),
    /// Prove the bookkeeping of a store, running or not, without a change to it; exit code 0 when all holds, 1 when not
    Verify(Verify),
    /// Copy a store, running or not, to a file, as it is at one moment
    Backup(Backup),
    /// Take note of stream sequences that were lost before they were applied, so that /health tells them no longer
    AcknowledgeMissing(Running),
}

#[derive(Debug, Args)]
struct Backup {
    /// The copy, which must not exist; it becomes `aggregator.db` where it is restored
    file: PathBuf,

    /// Directory of the store
    #[arg(long, env = "DATA_DIR", default_value = "./data", value_name = "DIR")]
    data_dir: PathBuf,
}

/// What the program is to do.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Serve(Settings),
    /// Ask whether an aggregator at this address is healthy.
    Healthcheck(SocketAddr),
    /// Copy the store in a directory to a file.
    Backup {
        /// The store's directory.
        data_dir: PathBuf,
        /// The copy.
        file: PathBuf,
    },
    /// Acknowledge what is missing at the aggregator at this address.
    AcknowledgeMissing(SocketAddr),
    /// Prove the bookkeeping of a store.
    Verify(verify::Settings),
}

#[derive(Debug, Args)]
struct Running {
    /// The address that the aggregator listens on
    #[arg(
        long,
        env = "LISTEN_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT"
    )]
    listen: SocketAddr,
}

#[derive(Debug, Args)]
struct Verify {
    /// Directory of the store
    #[arg(long, env = "DATA_DIR", default_value = "./data", value_name = "DIR")]
    data_dir: PathBuf,

    /// Compare the messages that this NATS server retains, too; without this flag no server is asked, whatever the environment says
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,

    /// Name of the stream
    #[arg(long, env = "STREAM", default_value = stream::DEFAULT_NAME, value_name = "NAME", value_parser = jetstream_name)]
    stream: String,

    /// Name of the store's durable consumer
    #[arg(long, env = "DURABLE", default_value = "aggregator", value_name = "NAME", value_parser = jetstream_name)]
    durable: String,

    /// Tell it as one JSON object
    #[arg(long)]
    json: bool,
}

/// The settings of a service.
#[derive(Debug, Args)]
pub struct Settings {
    /// Address of the HTTP API; port 0 takes a free one and logs it
    #[arg(
        long,
        env = "LISTEN_ADDR",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT"
    )]
    pub listen: SocketAddr,

    /// Address of the NATS server; may carry user:password@
    #[arg(
        long,
        env = "NATS_URL",
        default_value = "nats://127.0.0.1:4222",
        hide_env_values = true,
        value_name = "URL"
    )]
    nats_url: String,

    /// Directory of the store; it is made where it is not there
    #[arg(long, env = "DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Name of the stream, which is created where it is not there
    #[arg(long, env = "STREAM", default_value = stream::DEFAULT_NAME, value_name = "NAME", value_parser = jetstream_name)]
    pub stream: String,

    /// Name of the durable consumer; each store needs one of its own
    #[arg(long, env = "DURABLE", default_value = "aggregator", value_name = "NAME", value_parser = jetstream_name)]
    pub durable: String,

    /// Take over a durable consumer that belongs to another store
    #[arg(long)]
    pub take_over: bool,

    /// Largest size of the stream; when it is full, publishing is refused
    #[arg(
        long,
        env = "STREAM_MAX_BYTES",
        default_value = "1GiB",
        value_name = "SIZE"
    )]
    pub stream_max_bytes: ByteSize,

    /// Size of applied messages that the stream keeps for replay, approximately
    #[arg(
        long,
        env = "STREAM_KEEP_BYTES",
        default_value = "256MiB",
        value_name = "SIZE"
    )]
    pub stream_keep_bytes: ByteSize,

    /// Size of rejected arrivals that are kept; beyond it the oldest go and are counted
    #[arg(
        long,
        env = "REJECTED_KEEP_BYTES",
        default_value = "64MiB",
        value_name = "SIZE"
    )]
    rejected_keep_bytes: ByteSize,

    /// Size of conflicts that are kept; beyond it the oldest go and are counted
    #[arg(
        long,
        env = "CONFLICTS_KEEP_BYTES",
        default_value = "64MiB",
        value_name = "SIZE"
    )]
    conflicts_keep_bytes: ByteSize,

    /// Servers that keep a copy of the stream, 1 to 5
    #[arg(long, env = "STREAM_REPLICAS", default_value = "1", value_name = "N",
          value_parser = clap::value_parser!(u8).range(1..=5))]
    pub stream_replicas: u8,

    /// Most events that are committed together
    #[arg(long, env = "BATCH_EVENTS", default_value = "4000", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch_events: u32,

    /// Most bytes of messages that are committed together, up to 10MiB
    #[arg(long, env = "BATCH_BYTES", default_value = "8MiB", value_name = "SIZE")]
    batch_bytes: ByteSize,

    /// Milliseconds that events wait for others to be committed with, up to 1000
    #[arg(long, env = "BATCH_WAIT_MS", default_value = "5", value_name = "MS",
          value_parser = clap::value_parser!(u16).range(0..=1_000))]
    batch_wait_ms: u16,

    /// What is logged: error, warn, info, debug, trace, or a filter such as warn,aggregator=debug
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_name = "FILTER", value_parser = telemetry::parse_filter)]
    pub log_level: String,

    /// How log lines look
    #[arg(
        long,
        env = "LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
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
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    let cli = Cli::try_parse_from(arguments).map_err(|err| match err.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Asked(err.to_string()),
        _ => Exit::Wrong(telemetry::one_line(&err.to_string())),
    })?;
    let settings = match cli.command {
        Some(Subcommands::Healthcheck(running)) => {
            return Ok(Command::Healthcheck(running.listen));
        }
        Some(Subcommands::AcknowledgeMissing(running)) => {
            return Ok(Command::AcknowledgeMissing(running.listen));
        }
        Some(Subcommands::Backup(Backup { file, data_dir })) => {
            return Ok(Command::Backup { data_dir, file });
        }
        Some(Subcommands::Verify(verify)) => {
            let parse = |url: &String| connection::parse_url(url);
            let nats_address = verify.nats_url.as_ref().map(parse).transpose();
            return Ok(Command::Verify(verify::Settings {
                data_dir: verify.data_dir,
                nats_address: nats_address
                    .map_err(|wrong| Exit::Wrong(format!("error: --nats-url: {wrong}")))?,
                stream: verify.stream,
                durable: verify.durable,
                json: verify.json,
            }));
        }
        Some(Subcommands::Serve(settings)) => settings,
        None => cli.serve,
    };
    settings
        .check()
        .map_err(|wrong| Exit::Wrong(format!("error: {wrong}")))?;
    Ok(Command::Serve(settings))
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        // Not by clap, which repeats a wrong value, and with it the password.
        connection::parse_url(&self.nats_url).map_err(|err| format!("--nats-url is {err}"))?;
        let (max, keep) = (self.stream_max_bytes, self.stream_keep_bytes);
        if max < ByteSize::mib(1) || max.as_u64() > i64::MAX as u64 {
            return Err(format!("--stream-max-bytes is {max}; it is at least 1MiB"));
        }
        if keep >= max {
            return Err(format!(
                "--stream-keep-bytes ({keep}) must be less than --stream-max-bytes ({max}), or applied messages would fill the stream"
            ));
        }
        let bytes = self.batch_bytes;
        if bytes < ByteSize::kib(1) || bytes > ByteSize::mib(10) {
            return Err(format!("--batch-bytes is {bytes}; it is 1KiB to 10MiB"));
        }
        Ok(())
    }

    /// Address of the NATS server.
    ///
    /// # Panics
    /// Never: it was parsed when the settings were checked.
    #[must_use]
    pub fn nats_address(&self) -> ServerAddr {
        connection::parse_url(&self.nats_url).expect("it was parsed when the settings were checked")
    }

    /// What is decided about the stream.
    #[must_use]
    pub fn stream_settings(&self) -> stream::Settings {
        stream::Settings {
            name: self.stream.clone(),
            max_bytes: i64::try_from(self.stream_max_bytes.as_u64()).unwrap_or(i64::MAX),
            replicas: usize::from(self.stream_replicas),
        }
    }

    /// How much is kept for people to look at.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        // As SQLite has numbers.
        let bytes = |size: ByteSize| size.as_u64().min(i64::MAX as u64);
        Bounds {
            rejected: bytes(self.rejected_keep_bytes),
            conflicts: bytes(self.conflicts_keep_bytes),
        }
    }

    /// When a batch is appended.
    #[must_use]
    pub fn batch_limits(&self) -> BatchLimits {
        BatchLimits {
            events: self.batch_events as usize,
            bytes: usize::try_from(self.batch_bytes.as_u64()).unwrap_or(usize::MAX),
            wait: Duration::from_millis(u64::from(self.batch_wait_ms)),
        }
    }

    /// How log lines look.
    #[must_use]
    pub fn log_format(&self) -> telemetry::Format {
        match self.log_format {
            LogFormat::Text => telemetry::Format::Text,
            LogFormat::Json => telemetry::Format::Json,
        }
    }
}

/// The names that JetStream takes: they become parts of subjects and of paths.
fn jetstream_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 64 letters, digits, - and _".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, Exit> {
        let all = ["aggregator"].iter().chain(arguments);
        parse(all.map(OsString::from))
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
            (&["--stream-replicas", "9"], "--stream-replicas"),
            (&["--no-such-flag"], "--no-such-flag"),
        ] {
            let line = wrong(arguments);
            assert!(line.contains(named), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[test]
    fn a_password_is_never_repeated() {
        for command in ["serve", "verify"] {
            let line = wrong(&[command, "--nats-url", "nats://me:secret@host:port"]);
            assert!(line.contains("--nats-url"), "{line}");
            assert!(!line.contains("secret"), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
