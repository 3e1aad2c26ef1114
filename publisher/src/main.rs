//! The publisher: makes traffic with known truth, or sends real events, and checks what the aggregator counted. And
//! shows people at a terminal what the aggregator has.

mod api;
mod broker;
mod config;
mod flow;
mod input;
mod progress;
mod run;
mod sent;
mod summary;
mod terminal;
mod traffic;
mod verify;

use std::process::ExitCode;

use shared::{
    service::Signals,
    telemetry::{self, Export},
    trace::Tracer,
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Exit, Settings, Task},
    progress::say,
};

/// Exit code for wrong usage; a difference or another failure is 1.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let settings = match config::parse(std::env::args_os()) {
        Ok(settings) => settings,
        Err(Exit::Asked { plain, coloured }) => {
            return match telemetry::print(&plain, &coloured) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Err(Exit::Wrong(line)) => {
            say(line);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    telemetry::init(&settings.log_level, telemetry::Format::Text);
    start(settings).unwrap_or_else(|err| {
        say(format_args!("error: {err:#}"));
        ExitCode::FAILURE
    })
}

fn start(settings: Settings) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::new()?;
    let export = Export::start(
        settings.task.otlp_endpoint(),
        "publisher",
        env!("CARGO_PKG_VERSION"),
        runtime.handle(),
    )?;
    let code = runtime.block_on(until_signals(settings, export.tracer()));
    export.end();
    // A thread may wait for standard input, for ever.
    runtime.shutdown_background();
    code
}

/// The first signal lets the run end well, the second ends it at once.
async fn until_signals(settings: Settings, tracer: Tracer) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    // To read what is there ends at once; nobody waits for it.
    let ends_at_once = matches!(settings.task, Task::Read(_));
    let run = run::run(settings, tracer, stop.clone());
    tokio::pin!(run);
    let signal = tokio::select! {
        ended = &mut run => return ended,
        signal = signals.next() => signal,
    };
    if !ends_at_once {
        say(format_args!(
            "{signal}: stopping; a second one stops at once"
        ));
    }
    stop.cancel();
    tokio::select! {
        ended = run => ended,
        signal = signals.next() => anyhow::bail!("{signal}: stopped at once"),
    }
}
