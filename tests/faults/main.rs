//! The fault suite: injects every fault under load, and checks that afterwards every confirmed event is stored
//! exactly once.
//!
//! Rounds of faults are drawn from a seed. Each round has its own broker, aggregator and publishers. When its faults
//! are over, everything is repaired, unconfirmed events are sent again, and the result is checked three ways: against
//! the publishers' truth, against the API, and with `aggregator verify`.

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

use self::{deck::Deck, fault::Fault, report::Report, world::Setup};

/// Injects faults for a while, then proves that nothing was lost and nothing counted twice.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Settings {
    /// Minutes during which new rounds are started; one round takes about a minute
    #[arg(long, default_value = "3", value_name = "M")]
    minutes: u64,
    /// The broker is a cluster of three servers, three aggregators share a store in PostgreSQL, and the faults are those of all of
    /// them, of the network between them, of the database's disk and of the aggregators' clocks
    #[arg(long)]
    cluster: bool,
    /// With --cluster: one aggregator with its store in a directory, and the faults of the broker's servers
    #[arg(long, requires = "cluster")]
    directory: bool,
    /// Instead: kill one of three aggregators with a store in PostgreSQL every 5 s, the stream's leader every 20 s and the database
    /// twice, while this many events with known truth pass
    #[arg(long, value_name = "EVENTS", num_args = 0..=1, default_missing_value = "2000000")]
    cluster_kills: Option<u64>,
    /// Seed that decides which faults happen when; printed, so that a failure can be reproduced
    #[arg(long, default_value = "1", value_name = "S")]
    seed: u64,
    /// Run only this round of the seed
    #[arg(long, value_name = "N")]
    round: Option<u64>,
    /// Run only faults whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Instead: kill aggregator and broker this many times while this many events with known truth pass, as
    /// AGGREGATOR,BROKER,EVENTS
    #[arg(long, value_name = "N,N,N", num_args = 0..=1, default_missing_value = "100,20,2000000")]
    kills: Option<trial::Kills>,
    /// Instead: measure the aggregator's peak memory with a backlog of this many events, poison messages, idle
    /// connections and slow readers
    #[arg(long, value_name = "EVENTS", num_args = 0..=1, default_missing_value = "5000000")]
    memory: Option<u64>,
    /// Instead: keep the store's disk full for this many seconds under load
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60")]
    disk_full: Option<u64>,
    /// Instead: measure the WAL for this many seconds while many clients read and events arrive
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "300")]
    wal: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    let ran = tokio::select! {
        is_exact = run(&settings) => is_exact,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("interrupted; stopping everything that was started");
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
    if let Some(events) = settings.cluster_kills {
        return trial::cluster_kills(events, settings.seed).await;
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
    let (setup, faults, flags) = match (settings.cluster, settings.directory) {
        (true, false) => (Setup::Shared, Fault::of_shared(), "--cluster "),
        (true, true) => (
            Setup::Cluster,
            Fault::of_cluster(),
            "--cluster --directory ",
        ),
        (false, _) => (Setup::One, Fault::all(), ""),
    };
    let mut deck = Deck::new(settings.seed, faults, settings.only.as_deref());
    let mut report = Report::default();
    for number in 0.. {
        let hand = deck.deal(number);
        match settings.round {
            Some(only) if number < only => continue,
            Some(only) if number > only => break,
            None if Instant::now() >= end => break,
            _ => {}
        }
        println!("seed {} round {number}: {}", settings.seed, hand.schedule());
        let outcome = round::play(&hand, setup).await;
        println!(
            "seed {} round {number}: {}",
            settings.seed,
            outcome.summary()
        );
        report.add(outcome);
        if !report.is_exact() {
            println!(
                "reproduce it with: tests/faults.sh {flags}--seed {} --round {number}",
                settings.seed
            );
            break;
        }
    }
    println!("{}", report.table());
    report.is_exact()
}
