//! `aggregator verify`: recounts the store's bookkeeping from its rows, and from the messages that the broker retains.

mod progress;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use serde_json::json;
use shared::{command_line::print, connection::Servers};
use tokio::{sync::mpsc, task::spawn_blocking};

use self::progress::Bar;
use crate::{
    consumer::retained::Messages,
    data_dir::{self, LOCK, LockState},
    store::{
        Delivery, FILE,
        verify::{Access, Progress, Report, Retained, Verification, Verified, VerifyError},
    },
};

/// What is verified, and how the result is printed.
#[derive(Debug)]
pub struct Settings {
    /// The store's directory.
    pub data_dir: PathBuf,
    /// The broker whose retained messages are compared, if any.
    pub servers: Option<Servers>,
    /// The stream that retains them.
    pub stream: String,
    /// The store's durable consumer.
    pub durable: String,
    /// Whether to print one JSON object instead of a table.
    pub json: bool,
}

/// Windows of messages that may wait to be compared.
const WAITING: usize = 2;

/// Verifies a store, running or stopped. The exit code is 0 if nothing differs, and 1 if something does.
///
/// # Errors
/// If the store or the broker cannot be read.
pub async fn verify(settings: Settings) -> anyhow::Result<ExitCode> {
    let directory = &settings.data_dir;
    if !directory.join(FILE).try_exists().unwrap_or(true) {
        bail!(
            "there is no store in {}; give the directory of one with --data-dir",
            directory.display()
        );
    }
    let unreadable = || format!("cannot verify the store in {}", directory.display());
    let lock = data_dir::probe(directory)
        .with_context(|| format!("cannot read {}", directory.join(LOCK).display()))?;
    let access = match lock {
        LockState::InUse { .. } => Access::InUse,
        LockState::Unlocked => Access::Unlocked,
        LockState::Free { .. } => Access::Alone,
    };
    // Before the store is read: what was acked by then must be in it.
    let messages = match &settings.servers {
        Some(servers) => {
            let _shown = Bar::new("connecting to the broker");
            Some(Messages::connect(servers, &settings.stream, &settings.durable).await?)
        }
        None => None,
    };
    let stream = messages.as_ref().map(|messages| messages.state.clone());
    let path = directory.clone();
    let verified = spawn_blocking(move || {
        let bar = Bar::new("reading what is recorded");
        let verification = Verification::begin(&path, access, stream)?;
        let store_id = verification.store_id().to_owned();
        let verified = verification.run(&bar)?;
        Ok::<_, VerifyError>((store_id, verified))
    });
    let (store_id, verified) = verified.await?.with_context(unreadable)?;
    let report = match messages {
        Some(messages) => compare(messages, &store_id, verified).await?,
        None => verified.report(),
    };
    drop(lock);
    let text = if settings.json {
        as_json(&report)
    } else {
        table::text(&report)
    };
    print(text).context("cannot print the report")?;
    Ok(if report.is_consistent() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Compares the retained messages: they are read and decoded on this thread, and compared on another one.
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
    // It reads the rows that no message named, of which there are few.
    Ok(tokio::task::block_in_place(|| retained.finish(broken)))
}

fn take(
    mut retained: Retained,
    mut windows: mpsc::Receiver<Vec<Delivery>>,
    first: u64,
) -> (Retained, Result<(), VerifyError>) {
    let bar = Bar::new("reading the messages");
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

fn as_json(report: &Report) -> String {
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
    format!("{whole}\n")
}
