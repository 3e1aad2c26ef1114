//! `aggregator verify`: proves the store's bookkeeping from its rows, and from the messages that the broker retains.

mod progress;
mod table;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde_json::json;
use shared::connection::Servers;
use tokio::{sync::mpsc, task::spawn_blocking};

use self::progress::Bar;
use crate::{
    consumer::retained::Messages,
    data_dir::{self, Found},
    store::{
        Delivery,
        verify::{Access, Progress, Report, Retained, Verification, Verified, VerifyError},
    },
};

/// What is verified, and how it is told.
#[derive(Debug)]
pub struct Settings {
    /// The store's directory.
    pub data_dir: PathBuf,
    /// The broker whose retained messages are compared, if any.
    pub servers: Option<Servers>,
    /// The stream that they are in.
    pub stream: String,
    /// The durable consumer of the store.
    pub durable: String,
    /// One JSON object instead of a table.
    pub json: bool,
}

/// Windows of messages that wait to be compared.
const WAITING: usize = 2;

/// Verifies a store, running or stopped. The exit code is 0 where nothing differs, and 1 where something does.
///
/// # Errors
/// Where the store or the broker cannot be asked.
pub async fn verify(settings: Settings) -> anyhow::Result<ExitCode> {
    let directory = &settings.data_dir;
    let unreadable = || format!("cannot verify the store in {}", directory.display());
    let found = data_dir::look(directory)?;
    let access = match found {
        Found::InUse => Access::InUse,
        Found::Unlocked => Access::Unlocked,
        Found::Free { .. } => Access::Alone,
    };
    // Before the store is looked at: what was acked by then must be in it.
    let messages = match &settings.servers {
        Some(servers) => Some(Messages::meet(servers, &settings.stream, &settings.durable).await?),
        None => None,
    };
    let stream = messages.as_ref().map(|messages| messages.state.clone());
    let path = directory.clone();
    let verified = spawn_blocking(move || {
        let verification = Verification::begin(&path, access, stream)?;
        let store_id = verification.store_id().to_owned();
        let verified = verification.run(&Bar::new())?;
        Ok::<_, VerifyError>((store_id, verified))
    });
    let (store_id, verified) = verified.await?.with_context(unreadable)?;
    let report = match messages {
        Some(messages) => compare(messages, &store_id, verified).await?,
        None => verified.report(),
    };
    drop(found);
    tell(&report, settings.json).context("cannot tell what was found")?;
    Ok(if report.is_consistent() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Compares the retained messages: they are read and decoded here, and compared on a thread beside.
async fn compare(messages: Messages, store_id: &str, verified: Verified) -> anyhow::Result<Report> {
    let retained = match verified.compare(messages.acked_by(store_id)) {
        Ok(retained) => retained,
        Err(report) => return Ok(report),
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let (first, last) = (messages.state.first, retained.last());
    let comparing = spawn_blocking(move || take(retained, receiver, first));
    let read = messages.read(last, sender).await;
    let (retained, taken) = comparing.await?;
    let broken = match (&taken, &read) {
        (Err(err), _) => Some(err as &dyn std::fmt::Display),
        (_, Err(err)) => Some(err as &dyn std::fmt::Display),
        (Ok(()), Ok(())) => None,
    };
    // It reads the rows that were not met, of which there are few.
    Ok(tokio::task::block_in_place(|| retained.finish(broken)))
}

fn take(
    mut retained: Retained,
    mut windows: mpsc::Receiver<Vec<Delivery>>,
    first: u64,
) -> (Retained, Result<(), VerifyError>) {
    let bar = Bar::new();
    let of = retained.last().saturating_sub(first) + 1;
    while let Some(window) = windows.blocking_recv() {
        if let Err(err) = retained.take(&window) {
            return (retained, Err(err));
        }
        if let Some(last) = window.last() {
            bar.at(
                "messages compared",
                last.sequence.saturating_sub(first) + 1,
                of,
            );
        }
    }
    (retained, Ok(()))
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
