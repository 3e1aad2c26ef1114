//! `aggregator verify`: recounts the store's bookkeeping from its rows, and from the messages that the broker retains.

pub(super) mod progress;
mod table;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::json;
use shared::{command_line::print, connection::Servers};
use tokio::{sync::mpsc, task::spawn_blocking};

use self::progress::Bar;
use crate::{
    consumer::retained::{Messages, RetainedError},
    data_dir::{self, LOCK, LockState},
    store::{
        Access, Address, Delivery, FILE, Retained, RetainedShared, Verification, Verified,
        VerifyError, nothing_applied,
        verify::{Progress, Report},
        verify_shared,
    },
};

/// What is verified, and how the result is printed.
#[derive(Debug)]
pub struct Settings {
    /// The store.
    pub place: Place,
    /// The broker whose retained messages are compared, if any.
    pub servers: Option<Servers>,
    /// The stream that retains them.
    pub stream: String,
    /// The store's durable consumer.
    pub durable: String,
    /// Whether to print one JSON object instead of a table.
    pub json: bool,
}

/// Where a store is.
#[derive(Debug)]
pub enum Place {
    /// In a directory.
    Directory(PathBuf),
    /// In a database.
    Database(Address),
}

/// Windows of messages that may wait to be compared.
const WAITING: usize = 2;

/// Verifies a store, running or stopped. The exit code is 0 if nothing differs, and 1 if something does.
///
/// # Errors
/// If the store or the broker cannot be read.
pub async fn verify(settings: Settings) -> anyhow::Result<ExitCode> {
    let report = match &settings.place {
        Place::Directory(directory) => in_directory(directory, &settings).await?,
        Place::Database(address) => {
            let report = in_database(address, &settings).await;
            report.with_context(|| format!("cannot verify the store in {address}"))?
        }
    };
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

/// Verifies a store in a database. The messages are compared after the rows.
async fn in_database(address: &Address, settings: &Settings) -> anyhow::Result<Report> {
    // Before the store is read: what was acked by then must be in it.
    let messages = settings.messages().await?;
    let bar = Bar::new("connecting to the database");
    let mut report = verify_shared(address, &bar).await?;
    let Some(messages) = messages else {
        return Ok(report);
    };
    bar.begins("reading what is recorded");
    let mut retained = RetainedShared::begin(address, &messages.state).await?;
    retained.acked(messages.acked_by(retained.store_id()));
    let Some(last) = retained.last() else {
        report.add(nothing_applied());
        return Ok(report);
    };
    let (sender, mut receiver) = mpsc::channel::<Vec<Delivery>>(WAITING);
    let first = messages.state.first;
    let comparing = async {
        let receiver = &mut receiver;
        while let Some(window) = receiver.recv().await {
            if let Err(err) = retained.take(&window).await {
                receiver.close();
                return Err(err);
            }
            if let Some(window) = window.last() {
                let of = last.saturating_sub(first) + 1;
                let done = window.sequence.saturating_sub(first) + 1;
                bar.at("messages compared", done, of);
            }
        }
        Ok(())
    };
    let (taken, read) = futures::join!(comparing, messages.read(last, sender));
    let broken = match (&taken, &read) {
        (Err(err), _) => Some(err as &dyn std::fmt::Display),
        (_, Err(err)) => Some(err as &dyn std::fmt::Display),
        (Ok(()), Ok(())) => None,
    };
    retained.finish(broken, &mut report);
    Ok(report)
}

impl Settings {
    /// The messages of the broker, if it is given.
    async fn messages(&self) -> Result<Option<Messages>, RetainedError> {
        let Some(servers) = &self.servers else {
            return Ok(None);
        };
        let _shown = Bar::new("connecting to the broker");
        let messages = Messages::connect(servers, &self.stream, &self.durable).await?;
        Ok(Some(messages))
    }
}

async fn in_directory(directory: &Path, settings: &Settings) -> anyhow::Result<Report> {
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
    let messages = settings.messages().await?;
    let stream = messages.as_ref().map(|messages| messages.state.clone());
    let path = directory.to_owned();
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
    Ok(report)
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
