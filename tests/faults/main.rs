//! The fault suite: everything that can fail does, under load, and afterwards every event that was confirmed is stored once.
//!
//! Rounds of faults from a seed. Each has a broker, an aggregator and publishers of its own; when its faults are over,
//! everything is mended, what was not confirmed is sent again, and the books are checked three ways: by the truth of the
//! publishers, by the API, and by `aggregator verify`.

mod check;
mod deck;
mod fault;
mod generator;
mod report;
mod round;
mod trial;
mod truth;
mod world;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;

use self::{deck::Deck, report::Report};

/// Hurts the system for a while, then proves that nothing was lost and nothing counted twice.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Settings {
    /// How long new rounds begin; one takes about a minute
    #[arg(long, default_value = "3", value_name = "M")]
    minutes: u64,
    /// Decides which faults come when; printed, so that a failure can be run again
    #[arg(long, default_value = "1", value_name = "S")]
    seed: u64,
    /// Only this round of the seed
    #[arg(long, value_name = "N")]
    round: Option<u64>,
    /// Only faults whose name has this in it
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Instead: kill aggregator and broker so often while events with known truth pass, as AGGREGATOR,BROKER,EVENTS
    #[arg(long, value_name = "N,N,N", num_args = 0..=1, default_missing_value = "100,20,2000000")]
    kills: Option<trial::Kills>,
    /// Instead: measure the aggregator's peak memory with a backlog of so many events, poison and idle connections
    #[arg(long, value_name = "EVENTS", num_args = 0..=1, default_missing_value = "5000000")]
    memory: Option<u64>,
    /// Instead: keep the store's disk full for so many seconds under load
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    disk_full: Option<u64>,
    /// Instead: measure the WAL for so many seconds while many clients read and events come in
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "300")]
    wal: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    let ran = tokio::select! {
        is_exact = run(&settings) => is_exact,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("stopped; what was started ends now");
            false
        }
    };
    if ran {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether everything was exact.
async fn run(settings: &Settings) -> bool {
    if let Some(kills) = &settings.kills {
        return trial::kills(kills, settings.seed).await;
    }
    if let Some(events) = settings.memory {
        return trial::memory(events).await;
    }
    if let Some(seconds) = settings.disk_full {
        return trial::disk_full(Duration::from_secs(seconds)).await;
    }
    if let Some(seconds) = settings.wal {
        return trial::wal(Duration::from_secs(seconds)).await;
    }
    rounds(settings).await
}

async fn rounds(settings: &Settings) -> bool {
    let end = Instant::now() + Duration::from_secs(60 * settings.minutes);
    let mut deck = Deck::new(settings.seed, settings.only.as_deref());
    let mut report = Report::default();
    for number in 0.. {
        let hand = deck.deal(number);
        match settings.round {
            Some(only) if number < only => continue,
            Some(only) if number > only => break,
            None if Instant::now() >= end => break,
            _ => {}
        }
        println!("seed {} round {number}: {}", settings.seed, hand.told());
        let outcome = round::play(&hand).await;
        println!("seed {} round {number}: {}", settings.seed, outcome.told());
        report.add(outcome);
        if !report.is_exact() {
            println!(
                "run it again: tests/faults.sh --seed {} --round {number}",
                settings.seed
            );
            break;
        }
    }
    println!("{}", report.table());
    report.is_exact()
}
