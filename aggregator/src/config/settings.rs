//! The settings of `aggregator serve`.

mod shown;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, ValueEnum, builder::BoolishValueParser};
use shared::{
    command_line::{number, path},
    connection::Servers,
    publish::Subjects,
    secret_file, stream, telemetry,
};

use super::{NatsFlags, store::parse};
use crate::{
    consumer::BatchLimits,
    machine::Machine,
    memory::{self, Shares},
    store::{Address, Bounds},
    tls::{Files, TLS_KEY},
};

/// The settings of a service.
#[derive(Debug, Args)]
pub struct Settings {
    /// Address of the HTTP API; a port alone is one on 127.0.0.1, and port 0 picks a free port and logs it
    #[arg(
        long,
        env = "AGGREGATOR_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT",
        value_parser = address
    )]
    pub listen: SocketAddr,

    /// Host names by which clients may address the HTTP API, comma-separated, in addition to localhost and any IP address
    #[arg(
        long,
        env = "AGGREGATOR_ALLOWED_HOSTS",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub allowed_hosts: Vec<String>,

    /// File with the tokens that give access, which only its owner may read; `aggregator token create` makes it
    #[arg(
        long,
        env = "AGGREGATOR_TOKENS",
        value_name = "FILE",
        value_parser = path()
    )]
    pub tokens: Option<PathBuf>,

    /// Certificate of the HTTP API in PEM, followed by those of the authorities between it and a root; with it the API speaks
    /// HTTPS only
    #[arg(
        long,
        env = "AGGREGATOR_TLS_CERT",
        value_name = "FILE",
        value_parser = path()
    )]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM
    #[arg(
        long,
        env = "AGGREGATOR_TLS_KEY",
        value_name = "FILE",
        value_parser = path()
    )]
    tls_key: Option<PathBuf>,

    /// Authorities in PEM whose client certificates are trusted; an entry of the tokens file gives what the subject of one may do
    #[arg(
        long,
        env = "AGGREGATOR_TLS_CLIENT_CA",
        value_name = "FILE",
        value_parser = path()
    )]
    tls_client_ca: Option<PathBuf>,

    /// Without tokens, also listen on addresses that other machines reach: everybody who does may publish, read and operate
    /// everything
    #[arg(long, env = "AGGREGATOR_ALLOW_ANONYMOUS", value_parser = BoolishValueParser::new())]
    pub allow_anonymous: bool,

    /// Addresses of the NATS servers, comma-separated or repeated: nats:// or tls://, with USER:PASSWORD@ or
    /// TOKEN@ before the host if the server requires it (special characters percent-encoded)
    #[arg(
        long,
        env = "AGGREGATOR_NATS_URL",
        default_value = "nats://127.0.0.1:4222",
        hide_env_values = true,
        value_name = "URL"
    )]
    nats_url: Vec<String>,

    #[command(flatten)]
    nats: NatsFlags,

    /// Directory of the store; created if it does not exist
    #[arg(
        long,
        env = "AGGREGATOR_DATA_DIR",
        default_value = "./data",
        value_name = "DIR",
        value_parser = path()
    )]
    pub data_dir: PathBuf,

    /// Database that holds the store in place of the directory, and that other aggregators with the same stream and durable
    /// share: a postgres:// URL with the user, the password, the hosts and the database
    #[arg(
        long,
        env = "AGGREGATOR_STORE",
        hide_env_values = true,
        value_name = "URL"
    )]
    store: Option<String>,

    /// Name of the stream, which is created if it does not exist
    #[arg(long, env = "AGGREGATOR_STREAM", default_value = stream::DEFAULT_NAME, value_name = "NAME", value_parser = jetstream_name)]
    pub stream: String,

    /// Whether a message published for HTTP clients may hold events of several topics, on the subject events, or only of one, on
    /// the topic's subject
    #[arg(
        long,
        env = "AGGREGATOR_SUBJECTS",
        default_value = "mixed",
        value_name = "mixed|topic"
    )]
    pub subjects: Subjects,

    /// Name of the durable consumer; each store needs one of its own
    #[arg(long, env = "AGGREGATOR_DURABLE", default_value = "aggregator", value_name = "NAME", value_parser = jetstream_name)]
    pub durable: String,

    /// Take over a durable consumer that belongs to another store
    #[arg(long)]
    pub take_over: bool,

    /// Maximum size of the stream; when it is full, publishing is refused
    #[arg(
        long,
        env = "AGGREGATOR_STREAM_MAX_BYTES",
        default_value = "1GiB",
        value_name = "SIZE",
        value_parser = size
    )]
    pub stream_max_bytes: ByteSize,

    /// Size of applied messages that the stream keeps for replay, approximately; at least 1MiB less than --stream-max-bytes
    #[arg(
        long,
        env = "AGGREGATOR_STREAM_KEEP_BYTES",
        default_value = "256MiB",
        value_name = "SIZE",
        value_parser = size
    )]
    pub stream_keep_bytes: ByteSize,

    /// Memory limit of the service, at least 192MiB; by default half of the machine's memory or of the limit of the control
    /// group, up to 2GiB
    #[arg(long, env = "AGGREGATOR_MEMORY", value_name = "SIZE", value_parser = size)]
    memory: Option<ByteSize>,

    /// Size of the rejected arrivals that are kept; beyond it the oldest are deleted and counted
    #[arg(
        long,
        env = "AGGREGATOR_REJECTED_KEEP_BYTES",
        default_value = "64MiB",
        value_name = "SIZE",
        value_parser = size
    )]
    rejected_keep_bytes: ByteSize,

    /// Size of the conflicts that are kept; beyond it the oldest are deleted and counted
    #[arg(
        long,
        env = "AGGREGATOR_CONFLICTS_KEEP_BYTES",
        default_value = "64MiB",
        value_name = "SIZE",
        value_parser = size
    )]
    conflicts_keep_bytes: ByteSize,

    /// OTLP resource attribute whose value becomes the topic of its log records
    #[arg(
        long,
        env = "AGGREGATOR_OTLP_TOPIC",
        default_value = "service.name",
        value_name = "ATTRIBUTE"
    )]
    pub otlp_topic: String,

    /// Servers of the broker's cluster that keep a copy of the stream: 1, 3 or 5
    #[arg(long, env = "AGGREGATOR_STREAM_REPLICAS", default_value = "1", value_name = "N",
          value_parser = replicas, allow_negative_numbers = true)]
    pub stream_replicas: u8,

    /// Maximum number of events in a transaction
    #[arg(long, env = "AGGREGATOR_BATCH_EVENTS", default_value = "4000", value_name = "N",
          value_parser = number::<u32>(1..=100_000), allow_negative_numbers = true)]
    batch_events: u32,

    /// Maximum bytes of messages in a transaction, up to 10MiB
    #[arg(long, env = "AGGREGATOR_BATCH_BYTES", default_value = "8MiB", value_name = "SIZE", value_parser = size)]
    batch_bytes: ByteSize,

    /// Milliseconds to wait for further events before committing, up to 1000
    #[arg(long, env = "AGGREGATOR_BATCH_WAIT_MS", default_value = "5", value_name = "MS",
          value_parser = number::<u16>(0..=1_000), allow_negative_numbers = true)]
    batch_wait_ms: u16,

    /// Export spans by OTLP over HTTP to this address, such as `http://127.0.0.1:4318`; without it no spans are created
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub otlp_endpoint: Option<String>,

    /// Log level: error, warn, info, debug, trace, or a filter such as warn,aggregator=debug
    #[arg(long, env = "AGGREGATOR_LOG_LEVEL", default_value = "info", value_name = "FILTER", value_parser = telemetry::parse_filter)]
    pub log_level: String,

    /// Format of log lines
    #[arg(
        long,
        env = "AGGREGATOR_LOG_FORMAT",
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

impl Settings {
    /// Checks what a single flag's parser cannot.
    ///
    /// # Errors
    /// One line that names the invalid setting.
    pub(super) fn check(&self) -> Result<(), String> {
        // Not by clap, which would print an invalid value, and with it the password.
        Servers::with_files(&self.nats_url, &self.nats.files())?.check_files()?;
        if let Some(url) = &self.store {
            parse("--store", url)?;
        }
        let endpoint = self.otlp_endpoint.as_deref().unwrap_or_default();
        telemetry::check_endpoint(endpoint).map_err(|err| format!("--otlp-endpoint: {err}"))?;
        self.check_access()?;
        self.check_tls()?;
        let (max, keep) = (self.stream_max_bytes, self.stream_keep_bytes);
        if max < ByteSize::mib(1) || max.as_u64() > i64::MAX as u64 {
            return Err(format!(
                "--stream-max-bytes is {max}; it must be at least 1MiB"
            ));
        }
        let room = ByteSize::b(stream::LARGEST_MESSAGE as u64);
        if max.as_u64() - room.as_u64() < keep.as_u64() {
            return Err(format!(
                "--stream-keep-bytes ({keep}) must be at least {room} less than --stream-max-bytes ({max}), so that a stream full of applied messages has room for another one"
            ));
        }
        if let Some(memory) = self.memory.filter(|memory| memory.as_u64() < memory::LEAST) {
            let least = ByteSize::b(memory::LEAST);
            return Err(format!("--memory is {memory}; it must be at least {least}"));
        }
        let bytes = self.batch_bytes;
        if bytes < ByteSize::kib(1) || bytes > ByteSize::mib(10) {
            return Err(format!(
                "--batch-bytes is {bytes}; it must be 1KiB to 10MiB"
            ));
        }
        Ok(())
    }

    /// Whether those who reach the service need a token must have been decided, unless only this machine reaches it.
    fn check_access(&self) -> Result<(), String> {
        if self.tokens.is_some() && self.allow_anonymous {
            return Err(
                "--tokens and --allow-anonymous exclude each other: with tokens, nobody has access without one".to_owned(),
            );
        }
        let is_decided = self.tokens.is_some() || self.allow_anonymous;
        if is_decided || self.listen.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        Err(format!(
            "--listen is {}, which other machines may reach: give --tokens FILE, so that they need a token (aggregator token create makes the file), or --allow-anonymous, so that everybody who reaches it may publish and read everything",
            self.listen
        ))
    }

    /// The files of TLS belong together.
    fn check_tls(&self) -> Result<(), String> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(
                "--tls-cert and --tls-key need each other: the certificate and its private key"
                    .to_owned(),
            );
        }
        if self.tls_client_ca.is_none() {
            return Ok(());
        }
        if self.tls_cert.is_none() {
            return Err(
                "--tls-client-ca needs --tls-cert and --tls-key: only an encrypted connection has a client certificate".to_owned(),
            );
        }
        if self.tokens.is_none() {
            return Err(
                "--tls-client-ca needs --tokens: its entries give what each client certificate may do".to_owned(),
            );
        }
        Ok(())
    }

    /// The files of the certificate, if the HTTP API speaks HTTPS.
    #[must_use]
    pub fn tls(&self) -> Option<Files> {
        Some(Files {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            client_ca: self.tls_client_ca.clone(),
        })
    }

    /// Warnings about files with secrets that other users can read or write.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let servers = self.servers();
        let key = self.tls_key.as_deref().map(|key| (TLS_KEY, key));
        let address = self.store();
        let passfile = address.as_ref().and_then(Address::passfile);
        let passfile = passfile.map(|file| ("the passfile of --store", file));
        let files = key.into_iter().chain(servers.secret_files());
        secret_file::warnings(files.chain(passfile))
    }

    /// The NATS servers.
    ///
    /// # Panics
    /// Never: the addresses were parsed when the settings were checked.
    #[must_use]
    pub fn servers(&self) -> Servers {
        Servers::with_files(&self.nats_url, &self.nats.files())
            .expect("the addresses were parsed when the settings were checked")
    }

    /// The database that holds the store; `None` if it is in the directory.
    ///
    /// # Panics
    /// Never: the address was parsed when the settings were checked.
    #[must_use]
    pub fn store(&self) -> Option<Address> {
        let address = self.store.as_ref().map(|url| url.parse());
        address.map(|address| address.expect("it was parsed when the settings were checked"))
    }

    /// The settings of the stream.
    #[must_use]
    pub fn stream_settings(&self) -> stream::Settings {
        stream::Settings {
            name: self.stream.clone(),
            max_bytes: i64::try_from(self.stream_max_bytes.as_u64()).unwrap_or(i64::MAX),
            replicas: usize::from(self.stream_replicas),
        }
    }

    /// The memory limit, divided into shares.
    #[must_use]
    pub fn shares(&self) -> Shares {
        let given = self.memory.map(|memory| memory.as_u64());
        Shares::of(given.unwrap_or_else(|| memory::by_default(&Machine::this())))
    }

    /// How many bytes of rejected arrivals and conflicts are kept.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        // SQLite's integers are signed.
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
            bytes: usize::try_from(self.batch_bytes.as_u64().min(self.shares().batch))
                .unwrap_or(usize::MAX),
            wait: Duration::from_millis(u64::from(self.batch_wait_ms)),
        }
    }

    /// The format of log lines.
    #[must_use]
    pub fn log_format(&self) -> telemetry::Format {
        match self.log_format {
            LogFormat::Text => telemetry::Format::Text,
            LogFormat::Json => telemetry::Format::Json,
        }
    }
}

/// Parses the address to listen on. A port alone is one on this host, which other hosts cannot reach.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let is_name = |text: &str| text.parse::<IpAddr>().is_ok() || text == "localhost";
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let wrong = match (host, port.parse()) {
        ("" | "localhost", Ok(port)) => return Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ if is_name(text) => "the port is missing; ".to_owned(),
        (_, Err(_)) if is_number(port) => format!("the port {port} is above {}; ", u16::MAX),
        _ => String::new(),
    };
    Err(format!(
        "{wrong}must be an IP address and a port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all interfaces"
    ))
}

/// An even number of replicas survives no more failures than the odd one below it.
fn replicas(text: &str) -> Result<u8, &'static str> {
    let replicas = text.parse().ok();
    let replicas = replicas.filter(|replicas| [1, 3, 5].contains(replicas));
    replicas.ok_or("must be 1, 3 or 5")
}

fn size(text: &str) -> Result<ByteSize, String> {
    let size = text.parse();
    size.map_err(|_| "must be a size, such as 512MiB or 2GiB".to_owned())
}

/// Parses a name that JetStream accepts: it becomes a part of subjects and of file paths.
pub(super) fn jetstream_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 64 letters, digits, - and _".to_owned())
}
