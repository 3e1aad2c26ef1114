//! Measures how long queries take in a store of a given size, idle and while events are appended.
//!
//! `cargo bench -p aggregator --bench query -- --events 10000000`
//!
//! Requests go through the API's router, one after the other, and their bodies are read to the end; only the network is left
//! out. The store was just written, so as much of it as fits is in the system's page cache.

mod api;
#[path = "../support/feed.rs"]
mod feed;
#[path = "../support/intake.rs"]
mod intake;
mod load;
mod measure;
mod requests;
mod settings;
#[path = "../support/traffic.rs"]
mod traffic;

use std::{fs, path::Path, time::Duration};

use aggregator::store::{self, Writer};
use anyhow::{Context, ensure};
use clap::Parser;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::{
    api::Api,
    feed::Feed,
    measure::{Timing, measure},
    requests::Request,
    settings::Settings,
    traffic::{Recipe, Traffic},
};

/// The aggregator's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events per batch while the store is filled; the aggregator's default.
const BATCH_EVENTS: u64 = 4_000;

/// All measurements.
#[derive(Debug, Serialize)]
struct Report {
    /// Events in the store before events were appended concurrently.
    unique_processed: u64,
    timings: Vec<Timing>,
}

fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    if !settings.bench {
        println!("this is a benchmark: cargo bench -p aggregator --bench query");
        return Ok(());
    }
    let directory = tempfile::Builder::new()
        .prefix("query-")
        .tempdir_in(&settings.dir)
        .context("making a directory for the data")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(run(&settings, directory.path()))?;
    if let Some(file) = &settings.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n").context("writing JSON")?;
    }
    println!("{}", measure::table(&report.timings));
    Ok(())
}

async fn run(settings: &Settings, directory: &Path) -> anyhow::Result<Report> {
    let (writer, ended, reader) =
        store::open(directory, intake::now_micros(), store::Limits::default())?;
    eprintln!("filling the store with {} events", settings.events);
    let expected = fill(&writer, settings).await?;
    let unique_processed = reader.stats(0).await?.unique_processed;
    ensure!(
        unique_processed == expected,
        "{unique_processed} events are stored instead of {expected}"
    );

    let api = Api::new(reader, writer.clone()).await?;
    let requests = requests::find(&api).await?;
    let mut timings = Vec::new();
    for request in &requests {
        timings.push(timed(&api, request, settings).await?);
    }
    timings.extend(timed_under_load(&api, &requests, settings, &writer).await?);
    drop((api, writer));
    ended.wait().await?;
    Ok(Report {
        unique_processed,
        timings,
    })
}

/// Fills the store and returns the number of distinct events.
async fn fill(writer: &Writer, settings: &Settings) -> anyhow::Result<u64> {
    intake::meet(writer).await?;
    let traffic = Traffic::new(settings.filling());
    let feed = Feed::start(traffic, settings.events, BATCH_EVENTS);
    let mut unique = 0;
    intake::append_all(writer, feed, |batch, _| {
        unique += batch.events - batch.duplicates();
    })
    .await?;
    Ok(unique)
}

async fn timed_under_load(
    api: &Api,
    requests: &[Request],
    settings: &Settings,
    writer: &Writer,
) -> anyhow::Result<Vec<Timing>> {
    let recipe = Recipe {
        seed: 2,
        rare_in: None,
        first_sequence: writer.standing().floor + 1,
        conflicts_after: None,
        ..settings.filling()
    };
    let token = CancellationToken::new();
    let load = tokio::spawn(load::append(
        writer.clone(),
        recipe,
        settings.rate,
        token.clone(),
    ));
    // The load ends also if a request fails.
    let guard = token.drop_guard();
    let mut timings = Vec::new();
    for request in requests {
        timings.push(timed(api, request, settings).await?);
    }
    drop(guard);
    let rate = load.await?.context("appending concurrently")?;
    for timing in &mut timings {
        timing.appended_rate = rate;
    }
    Ok(timings)
}

async fn timed(api: &Api, request: &Request, settings: &Settings) -> anyhow::Result<Timing> {
    let timing = measure(api, request, Duration::from_secs(settings.seconds)).await;
    timing.with_context(|| format!("requesting {}", request.name))
}
