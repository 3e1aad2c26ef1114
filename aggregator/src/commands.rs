//! The commands, one file each; those that read over HTTP are in [`shared::reading`]. [`run`] runs the requested one.

pub mod acknowledge_missing;
pub mod backup;
pub mod doctor;
pub mod healthcheck;
pub mod serve;
pub mod store;
pub mod token;
pub mod verify;

use std::process::ExitCode;

use shared::{
    command_line::{self, say},
    reading,
    telemetry::{self, Export, Recent},
};

use tracing::warn;

use crate::config::{self, Command, Exit, Settings};

/// The exit code for wrong settings.
const WRONG_SETTINGS: u8 = 2;

/// Threads for blocking work: four queries, four large bodies that are parsed, and name resolution. Each retains memory
/// for the largest response that it has built, so there are no more than can be used.
const BLOCKING_THREADS: usize = 10;

/// Parses the command line and the environment, runs the command, and returns the exit code.
///
/// Here rather than in the binary, because the compiler would generate the service's async code again for the binary,
/// which lengthens every build.
#[must_use]
pub fn run() -> ExitCode {
    let (command, warnings) = match config::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(Exit::Asked { plain, coloured }) => {
            return match command_line::print_coloured(&plain, &coloured) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Err(Exit::Wrong(line)) => {
            say(line);
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(err) => {
            say(format_args!("error: cannot start: {err}"));
            return ExitCode::FAILURE;
        }
    };
    if !matches!(command, Command::Serve(_)) {
        for warning in &warnings {
            say(format_args!("warning: {warning}"));
        }
    }
    let ended = match command {
        Command::Serve(settings) => {
            let recent = telemetry::init(&settings.log_level, settings.log_format());
            for warning in &warnings {
                warn!("{warning}");
            }
            traced(&runtime, settings, recent)
        }
        Command::Read(reading) => runtime.block_on(reading::run(&reading)),
        Command::Healthcheck(service) => runtime
            .block_on(healthcheck::healthcheck(&service))
            .map(|()| ExitCode::SUCCESS),
        Command::Backup { data_dir, file } => {
            backup::run(&data_dir, &file).map(|()| ExitCode::SUCCESS)
        }
        Command::AcknowledgeMissing(service, token) => runtime
            .block_on(acknowledge_missing::acknowledge(&service, token.as_ref()))
            .map(|()| ExitCode::SUCCESS),
        Command::Verify(settings) => runtime.block_on(verify::verify(settings)),
        Command::Store(action) => runtime.block_on(store::run(&action)),
        Command::Doctor(settings) => runtime.block_on(doctor::doctor(settings)),
        Command::Token(settings) => token::run(&settings).and_then(|text| {
            command_line::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }),
    };
    // A blocking read that is still running must not delay the exit.
    runtime.shutdown_background();
    ended.unwrap_or_else(|err| {
        say(format_args!("error: {}", command_line::failure(&*err)));
        ExitCode::FAILURE
    })
}

/// Serves, then exports the remaining spans.
fn traced(
    runtime: &tokio::runtime::Runtime,
    settings: Settings,
    recent: Recent,
) -> anyhow::Result<ExitCode> {
    let export = Export::start(
        settings.otlp_endpoint.as_deref(),
        "aggregator",
        env!("CARGO_PKG_VERSION"),
        runtime.handle(),
    )?;
    let ended = runtime.block_on(serve::serve(settings, export.tracer(), recent));
    export.end();
    ended
}
