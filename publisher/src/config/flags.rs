//! The command line: commands, flags, and their `--help` texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use reqwest::Url;
use shared::{
    api::{Credentials, parse_address},
    command_line::{number, path},
    publish::Subjects,
    reading, stream, telemetry,
};

use super::help;
use crate::{
    flow::pace::Rate,
    input::Origin,
    traffic::{PAYLOAD_BYTES, Recipe, Share, new_run_id},
};

shared::nats_flags!("PUBLISHER");

/// Maximum bytes of a generated event without its payload, with the longest names.
const MAX_ENVELOPE_BYTES: u64 = 400;

/// The aggregator's limits on the bytes of one request body, and of all request bodies in flight.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;
const MAX_BYTES_IN_FLIGHT: u64 = 64 * 1024 * 1024;

#[derive(Parser)]
#[command(
    name = "publisher",
    bin_name = "publisher",
    version,
    about = help::ABOUT,
    after_help = help::EXIT_CODES
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Generate events with an exact share of duplicates and send them over JetStream
    #[command(after_help = help::GENERATE)]
    Generate {
        #[command(flatten)]
        generate: Generate,
        #[command(flatten)]
        jetstream: JetStreamFlags,
        #[command(flatten)]
        common: Common,
    },
    /// Send events from files over JetStream: NDJSON or a JSON array, gzipped or not
    #[command(after_help = help::SEND)]
    Send {
        #[command(flatten)]
        send: Send,
        #[command(flatten)]
        jetstream: JetStreamFlags,
        #[command(flatten)]
        common: Common,
    },
    /// Generate events and send them through POST /publish, as many concurrent clients would
    #[command(after_help = help::HTTP)]
    Http {
        #[command(flatten)]
        http: Http,
        #[command(flatten)]
        common: Common,
    },
    /// Measure the time from POST /publish until the event is visible in GET /events, under background traffic
    #[command(after_help = help::LATENCY)]
    Latency {
        #[command(flatten)]
        latency: Latency,
        #[command(flatten)]
        common: Common,
    },
    /// Moved: aggregator stats
    #[command(hide = true, after_help = reading::STATS)]
    Stats {
        #[command(flatten)]
        stats: reading::Stats,
        #[command(flatten)]
        log: Log,
    },
    /// Moved: aggregator query
    #[command(hide = true, after_help = reading::QUERY)]
    Query {
        #[command(flatten)]
        query: reading::Query,
        #[command(flatten)]
        log: Log,
    },
    /// Moved: aggregator tail
    #[command(hide = true, after_help = reading::TAIL)]
    Tail {
        #[command(flatten)]
        tail: reading::Tail,
        #[command(flatten)]
        log: Log,
    },
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Flags of every command that prints a summary.
#[derive(Args)]
pub struct Common {
    /// Also print the summary as one JSON object on standard output
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub log: Log,
}

/// Logging.
#[derive(Args)]
pub struct Log {
    /// Log level: error, warn, info, debug, trace, or a filter such as `warn,publisher=debug`
    #[arg(long, env = "PUBLISHER_LOG_LEVEL", value_name = "FILTER", default_value = "error,async_nats=off",
          value_parser = telemetry::parse_filter)]
    pub log_level: String,
}

/// Flags of the commands that send over JetStream.
#[derive(Args)]
pub struct JetStreamFlags {
    /// Addresses of the NATS servers, separated by commas or repeated: nats:// or tls://, with USER:PASSWORD@ or TOKEN@
    /// before the host if the server requires it (special characters percent-encoded)
    #[arg(
        long,
        env = "PUBLISHER_NATS_URL",
        value_name = "URL",
        default_value = "nats://127.0.0.1:4222",
        hide_env_values = true
    )]
    pub nats_url: Vec<String>,

    #[command(flatten)]
    pub nats: NatsFlags,

    /// Name of the stream; the aggregator creates it
    #[arg(long, env = "PUBLISHER_STREAM", value_name = "NAME", default_value = stream::DEFAULT_NAME,
          value_parser = plain_name)]
    pub stream: String,

    /// Events per second; 0 is unlimited
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = Rate::parse, allow_negative_numbers = true)]
    pub rate: Rate,

    /// Maximum events in a message, 1 to 10000; a message also has at most 1 MiB. How many it has follows the time that the
    /// broker takes to confirm one
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = number::<u32>(1..=10_000), allow_negative_numbers = true)]
    pub batch: u32,

    /// Whether a message may hold events of several topics, on the subject events, or only of one, on the topic's subject
    #[arg(
        long,
        env = "PUBLISHER_SUBJECTS",
        default_value = "mixed",
        value_name = "mixed|topic"
    )]
    pub subjects: Subjects,

    /// Afterwards verify the counts of the aggregator at this address, such as `http://127.0.0.1:8080`; exit code 1 if
    /// they differ
    #[arg(long, value_name = "URL", value_parser = parse_address)]
    pub verify: Option<Url>,

    #[command(flatten)]
    pub credentials: Credentials,

    /// Export a span for each message by OTLP over HTTP to this address, such as `http://127.0.0.1:4318`
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub otlp_endpoint: Option<String>,
}

/// The events to generate.
#[derive(Args)]
#[group(skip)]
pub struct Generated {
    /// Events to send, including duplicates, such as 500, 20k or 1M; 0 sends until stopped
    #[arg(long, value_name = "N", default_value_t = 20_000,
          value_parser = number::<u64>(0..=u64::MAX), allow_negative_numbers = true)]
    pub count: u64,

    /// Share of events that repeat an earlier one, 0 to 1, exact to the nearest event; the first is never a duplicate
    #[arg(long, value_name = "SHARE", default_value = "0.3",
          value_parser = Share::parse, allow_negative_numbers = true)]
    pub duplicates: Share,

    /// Number of topics, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = number::<u32>(1..=1_000_000), allow_negative_numbers = true)]
    pub topics: u32,

    /// Random seed; the same seed, run id and other settings produce the same traffic, byte for byte
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = number::<u64>(0..=u64::MAX), allow_negative_numbers = true)]
    pub seed: u64,

    /// Part of every topic and event id, which keeps runs apart; a new one each time by default
    #[arg(long, value_name = "NAME", value_parser = plain_name)]
    run_id: Option<String>,

    /// Payload size in bytes, 80 to 523264
    #[arg(long, value_name = "N", default_value_t = 128,
          value_parser = number::<u32>(PAYLOAD_BYTES), allow_negative_numbers = true)]
    pub payload_bytes: u32,
}

/// Flags of `generate`.
#[derive(Args)]
#[group(skip)]
pub struct Generate {
    #[command(flatten)]
    pub generated: Generated,

    /// After sending and verifying, continue at this many events per second on separate topics until stopped; 0 exits
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = Rate::parse, allow_negative_numbers = true)]
    pub then_rate: Rate,
}

/// Flags of `send`.
#[derive(Args)]
#[group(skip)]
pub struct Send {
    /// Files to send; - is standard input. The format is detected from the content
    #[arg(required = true, value_name = "FILE", value_parser = path())]
    files: Vec<PathBuf>,

    /// Send the valid events and count the others; by default one invalid event prevents sending
    #[arg(long)]
    pub skip_invalid: bool,

    /// With --verify: number of events that must be new to the store
    #[arg(long, value_name = "N", requires = "verify",
          value_parser = number::<u64>(0..=u64::MAX), allow_negative_numbers = true)]
    pub expect_unique: Option<u64>,
}

/// Flags of `http`.
#[derive(Args)]
#[group(skip)]
pub struct Http {
    /// Address of the aggregator
    #[arg(long, env = "AGGREGATOR_URL", hide_env_values = true, value_name = "URL",
          default_value = "http://127.0.0.1:8080", value_parser = parse_address)]
    pub url: Url,

    #[command(flatten)]
    pub credentials: Credentials,

    /// Concurrent connections, 1 to 2000; each has one request in flight
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = number::<u32>(1..=2_000), allow_negative_numbers = true)]
    pub connections: u32,

    /// Maximum events in a request, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = number::<u32>(1..=10_000), allow_negative_numbers = true)]
    pub events_per_request: u32,

    /// Events per second; 0 is unlimited
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = Rate::parse, allow_negative_numbers = true)]
    pub rate: Rate,

    #[command(flatten)]
    pub generated: Generated,

    /// Afterwards verify the aggregator's counts; exit code 1 if they differ
    #[arg(long)]
    pub verify: bool,
}

/// Flags of `latency`.
#[derive(Args)]
#[group(skip)]
pub struct Latency {
    /// Address of the aggregator
    #[arg(long, env = "AGGREGATOR_URL", hide_env_values = true, value_name = "URL",
          default_value = "http://127.0.0.1:8080", value_parser = parse_address)]
    pub url: Url,

    #[command(flatten)]
    pub credentials: Credentials,

    /// Events per second of background traffic: single events over 64 connections, 30 % of them duplicates
    #[arg(long, value_name = "N", default_value = "1000", value_parser = Rate::parse_bounded)]
    pub rate: Rate,

    /// Events to measure, 1 to 1000000; one after another, about fifteen per second
    #[arg(long, value_name = "N", default_value_t = 300,
          value_parser = number::<u32>(1..=1_000_000), allow_negative_numbers = true)]
    pub samples: u32,
}

impl Generated {
    /// The recipe, with the given run id or a new one at each call.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            seed: self.seed,
            run_id: self.run_id(),
            topics: self.topics,
            share: self.duplicates,
            payload_bytes: self.payload_bytes as usize,
        }
    }

    /// Number of events to send, including duplicates; `None` for no limit.
    pub fn count(&self) -> Option<u64> {
        (self.count > 0).then_some(self.count)
    }

    /// The given run id, or a new one at each call.
    pub fn run_id(&self) -> String {
        self.run_id.clone().unwrap_or_else(new_run_id)
    }
}

impl Send {
    /// The inputs, in the order given.
    pub fn origins(&self) -> Vec<Origin> {
        let origin = |path: &PathBuf| match path.to_str() {
            Some("-") => Origin::StandardInput,
            _ => Origin::File(path.clone()),
        };
        self.files.iter().map(origin).collect()
    }

    pub fn reads_standard_input_twice(&self) -> bool {
        self.files.iter().filter(|file| **file == *"-").count() > 1
    }
}

impl Http {
    /// Whether the aggregator accepts requests of the maximum size on all connections at once.
    pub fn is_within_limits(&self) -> bool {
        let event = MAX_ENVELOPE_BYTES + u64::from(self.generated.payload_bytes);
        let request = event * u64::from(self.events_per_request);
        request <= MAX_BODY_BYTES && request * u64::from(self.connections) <= MAX_BYTES_IN_FLIGHT
    }
}

/// Parses a name that becomes part of NATS subjects: only characters that are valid anywhere in a subject.
fn plain_name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=64).contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("must consist of 1 to 64 letters, digits, - and _".to_owned())
}
