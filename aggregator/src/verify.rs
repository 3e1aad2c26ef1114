//! `aggregator verify`: proves the store's bookkeeping from its rows, and from the messages that the broker retains.

mod progress;
mod table;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde_json::json;
use shared::connection::ServerAddr;

use self::progress::Bar;
use crate::store::verify::{Report, Verification};

/// What is verified, and how it is told.
#[derive(Debug)]
pub struct Settings {
    /// The store's directory.
    pub data_dir: PathBuf,
    /// The broker whose retained messages are compared, if any.
    pub nats_address: Option<ServerAddr>,
    /// The stream that they are in.
    pub stream: String,
    /// The durable consumer of the store.
    pub durable: String,
    /// One JSON object instead of a table.
    pub json: bool,
}

/// Verifies a store, running or stopped. The exit code is 0 where nothing differs, and 1 where something does.
///
/// # Errors
/// Where the store or the broker cannot be asked.
pub async fn verify(settings: Settings) -> anyhow::Result<ExitCode> {
    let task = tokio::task::spawn_blocking(move || -> anyhow::Result<ExitCode> {
        let directory = &settings.data_dir;
        let mut verification = Verification::begin(directory)
            .with_context(|| format!("cannot read the store in {}", directory.display()))?;
        let bar = Bar::new();
        verification.events(&bar)?;
        drop(bar);
        tell(&verification.report, settings.json)?;
        Ok(if verification.report.is_consistent() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    });
    task.await.context("the verification did not end")?
}

fn tell(report: &Report, as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        let differences: Vec<_> = report
            .checks
            .iter()
            .flat_map(|check| &check.named)
            .collect();
        let whole = json!({
            "consistent": report.is_consistent(),
            "checks": report.checks,
            "differences": differences,
        });
        return writeln!(out, "{whole}");
    }
    write!(out, "{}", table::text(report))
}
