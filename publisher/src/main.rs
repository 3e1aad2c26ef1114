//! The publisher: generates traffic whose exact counts are known, or sends events from files, and verifies what the
//! aggregator counted.
//!
//! Modules in reading order:
//! - [`config`]: command line and environment, parsed into a [`Task`]
//! - [`run`]: runs a task, from its settings to its exit code
//! - [`traffic`]: generated events with a known set of duplicates
//! - [`input`]: events from files or standard input
//! - [`flow`]: sends events, paced and batched, over JetStream or HTTP
//! - [`broker`]: the connection to the broker and its stream
//! - [`send_stats`]: counts per topic and latencies of what was sent
//! - [`progress`]: progress shown on standard error
//! - [`verify`]: compares what was sent with what the aggregator counted
//! - [`summary`]: the summary, as text and as JSON

mod broker;
mod config;
mod flow;
mod input;
mod progress;
mod run;
mod send_stats;
mod summary;
mod traffic;
mod verify;

use std::process::ExitCode;

use shared::{
    command_line::{self, say},
    reading,
    service::Signals,
    telemetry::{self, Export},
    trace::Tracer,
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::config::{Exit, Settings, Task};

/// Exit code for invalid usage. Any other failure, including a difference found by `verify`, is 1.
const INVALID_USAGE: u8 = 2;

fn main() -> ExitCode {
    let settings = match config::parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(Exit::Print { plain, coloured }) => {
            return match command_line::print_coloured(&plain, &coloured) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Err(Exit::Usage(line)) => {
            say(line);
            return ExitCode::from(INVALID_USAGE);
        }
    };
    telemetry::init(&settings.log_level, telemetry::Format::Text);
    start(settings).unwrap_or_else(|err| {
        say(format_args!("error: {}", command_line::failure(&*err)));
        ExitCode::FAILURE
    })
}

fn start(settings: Settings) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::new()?;
    for warning in &settings.warnings {
        say(format_args!("warning: {warning}"));
    }
    if let Task::Read(reading) = &settings.task {
        say(format_args!(
            "this command has moved: use aggregator {}",
            reading.name()
        ));
        let code = runtime.block_on(reading::run(reading));
        runtime.shutdown_background();
        return code;
    }
    let export = Export::start(
        settings.task.otlp_endpoint(),
        "publisher",
        env!("CARGO_PKG_VERSION"),
        runtime.handle(),
    )?;
    let code = runtime.block_on(until_signals(settings, export.tracer()));
    export.end();
    // Does not wait for threads: one may be blocked on standard input indefinitely.
    runtime.shutdown_background();
    code
}

/// Runs the task. The first signal stops it gracefully, the second one immediately.
async fn until_signals(settings: Settings, tracer: Tracer) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let run = run::run(settings, tracer, stop.clone());
    tokio::pin!(run);
    let signal = tokio::select! {
        ended = &mut run => return ended,
        signal = signals.next() => signal,
    };
    say(format_args!(
        "{signal}: stopping; a second one exits immediately"
    ));
    stop.cancel();
    tokio::select! {
        ended = run => ended,
        signal = signals.next() => anyhow::bail!("{signal}: stopped immediately"),
    }
}
