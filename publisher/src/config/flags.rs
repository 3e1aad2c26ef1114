//! The command line as people see it: commands, flags, and what `--help` says of them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use reqwest::Url;
use shared::{stream, telemetry};

use super::{
    help,
    reading::{Address, Query, Tail, parse_http_url},
};
use crate::{
    flow::pace::Rate,
    input::Origin,
    traffic::{PAYLOAD_BYTES, Recipe, Share, fresh_run_id},
};

/// Bytes of an event beside its payload, at most, for the longest of generated names.
const AROUND_PAYLOAD_BYTES: u64 = 400;

/// What the aggregator takes: bytes of one request, and of all that are in flight.
const REQUEST_BYTES: u64 = 16 * 1024 * 1024;
const REQUESTS_BYTES: u64 = 64 * 1024 * 1024;

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
    /// Generate events, of which an exact share are duplicates (the default)
    #[command(after_help = help::GENERATE)]
    Generate {
        #[command(flatten)]
        generate: Generate,
        #[command(flatten)]
        jetstream: JetStream,
        #[command(flatten)]
        common: Common,
    },
    /// Send the events of files: NDJSON or a JSON array, either of them gzipped or not
    #[command(after_help = help::SEND)]
    Send {
        #[command(flatten)]
        send: Send,
        #[command(flatten)]
        jetstream: JetStream,
        #[command(flatten)]
        common: Common,
    },
    /// Generate events and send them through the aggregator's POST /publish, as many clients at once would
    #[command(after_help = help::HTTP)]
    Http {
        #[command(flatten)]
        http: Http,
        #[command(flatten)]
        common: Common,
    },
    /// Measure how long it takes from POST /publish until the event is there in GET /events, beside other traffic
    #[command(after_help = help::LATENCY)]
    Latency {
        #[command(flatten)]
        latency: Latency,
        #[command(flatten)]
        common: Common,
    },
    /// Print the aggregator's counts as one line of JSON
    #[command(after_help = help::STATS)]
    Stats {
        #[command(flatten)]
        address: Address,
        #[command(flatten)]
        log: Log,
    },
    /// Print stored events that match, as one line of JSON each, the newest first
    #[command(after_help = help::QUERY)]
    Query {
        #[command(flatten)]
        query: Query,
        #[command(flatten)]
        log: Log,
    },
    /// Print events as they are stored, as one line of JSON each, from now on until Ctrl-C
    #[command(after_help = help::TAIL)]
    Tail {
        #[command(flatten)]
        tail: Tail,
        #[command(flatten)]
        log: Log,
    },
    /// Print what lets a shell complete this program's commands and flags
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What all commands know.
#[derive(Args)]
pub struct Common {
    /// Print the summary as one JSON object on standard output too
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub log: Log,
}

/// What the program tells of its own doings.
#[derive(Args)]
pub struct Log {
    /// What is logged: error, warn, info, debug, trace, or a filter such as `warn,publisher=debug`
    #[arg(long, env = "LOG_LEVEL", value_name = "FILTER", default_value = "error,async_nats=off",
          value_parser = telemetry::parse_filter)]
    pub log_level: String,
}

/// How events are sent over JetStream.
#[derive(Args)]
pub struct JetStream {
    /// Addresses of the NATS servers, with commas between them or given again: nats:// or tls://, with USER:PASSWORD@ or
    /// TOKEN@ before the host where the server demands it (special characters percent-encoded)
    #[arg(
        long,
        env = "NATS_URL",
        value_name = "URL",
        default_value = "nats://127.0.0.1:4222",
        hide_env_values = true
    )]
    pub nats_url: Vec<String>,

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

    /// Export a span of each message by OTLP over HTTP to this address, such as `http://127.0.0.1:4318`
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub otlp_endpoint: Option<String>,
}

/// The events that are made.
#[derive(Args)]
#[group(skip)]
pub struct Made {
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

/// What `generate` is to make.
#[derive(Args)]
#[group(skip)]
pub struct Generate {
    #[command(flatten)]
    pub made: Made,

    /// After sending and verifying, go on at this many events a second on topics of their own, until stopped; 0 ends
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = Rate::parse, allow_negative_numbers = true)]
    pub then_rate: Rate,
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

/// What `http` is to send, and how.
#[derive(Args)]
#[group(skip)]
pub struct Http {
    /// Address of the aggregator
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = parse_http_url)]
    pub url: Url,

    /// Connections at once, 1 to 2000; each has one request under way
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub connections: u32,

    /// Most events in one request, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub events_per_request: u32,

    /// Events sent a second; 0 is as fast as it goes
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = Rate::parse, allow_negative_numbers = true)]
    pub rate: Rate,

    #[command(flatten)]
    pub made: Made,

    /// Check afterwards what the aggregator counted; exit code 1 where it differs
    #[arg(long)]
    pub verify: bool,
}

/// What `latency` is to measure.
#[derive(Args)]
#[group(skip)]
pub struct Latency {
    /// Address of the aggregator
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = parse_http_url)]
    pub url: Url,

    /// Events a second of the other traffic: single events over 64 connections, of which 30 % are duplicates
    #[arg(long, value_name = "N", default_value = "1000", value_parser = Rate::parse_bounded)]
    pub rate: Rate,

    /// Events whose time is taken, one after the other, about fifteen a second
    #[arg(long, value_name = "N", default_value_t = 300,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub samples: u32,
}

impl Made {
    /// The recipe, with the run id that was given, or a fresh one each time.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            seed: self.seed,
            run_id: self.run_id(),
            topics: self.topics,
            share: self.duplicates,
            payload_bytes: self.payload_bytes as usize,
        }
    }

    /// How many events, or none where it goes on until stopped.
    pub fn count(&self) -> Option<u64> {
        (self.count > 0).then_some(self.count)
    }

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

    pub fn reads_standard_input_twice(&self) -> bool {
        self.files.iter().filter(|file| **file == *"-").count() > 1
    }
}

impl Http {
    /// Whether the aggregator takes requests of this size, so many at once.
    pub fn is_taken(&self) -> bool {
        let event = AROUND_PAYLOAD_BYTES + u64::from(self.made.payload_bytes);
        let request = event * u64::from(self.events_per_request);
        request <= REQUEST_BYTES && request * u64::from(self.connections) <= REQUESTS_BYTES
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
