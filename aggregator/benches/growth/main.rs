//! Measures how fast events are appended while the store grows, compared with appending without dedup and with a unique index.
//!
//! `cargo bench -p aggregator --bench growth -- --events 10000000`
//!
//! Every contender receives the same messages, decoded by a separate thread, and has each batch on disk before the
//! next one counts. The exit code is 1 if the counts of a contender differ from those of the traffic.

mod chart;
#[path = "../support/feed.rs"]
mod feed;
#[path = "../support/intake.rs"]
mod intake;
mod memory;
mod meter;
mod report;
mod rival;
mod run;
mod settings;
#[path = "../support/traffic.rs"]
mod traffic;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, ensure};
use clap::Parser;

use self::{
    report::{Report, Run},
    run::Line,
    settings::{Contender, Settings},
};

/// The aggregator's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let settings = Settings::parse();
    if !settings.bench {
        println!("this is a benchmark: cargo bench -p aggregator --bench growth");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(contender) = settings.contender {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(run::run(contender, &settings))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut runs = Vec::new();
    // In turn, so that other load on the machine affects all of them.
    for _ in 0..settings.runs {
        for contender in &settings.contenders {
            let run = run_apart(*contender);
            runs.push(run.with_context(|| format!("running {}", contender.name()))?);
        }
    }
    let report = Report::new(&settings, runs);
    println!("\n{}", report.summary());
    if let Some(file) = &settings.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n").context("writing JSON")?;
    }
    if let Some(file) = &settings.svg {
        chart::draw(file, &report.runs).context("drawing the chart")?;
    }
    if report.is_exact() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: the counts of a contender differ from those of the traffic");
    Ok(ExitCode::FAILURE)
}

/// Runs a contender in a process of its own, with the same command line.
fn run_apart(contender: Contender) -> anyhow::Result<Run> {
    println!("{}", report::heading(contender));
    let mut child = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .args(["--contender", contender.name()])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("its output is not available")?;
    let (mut tenths, mut end) = (Vec::new(), None);
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line?)? {
            Line::Tenth(tenth) => {
                println!("{}", report::line(&tenth));
                tenths.push(tenth);
            }
            Line::End(totals) => end = Some(totals),
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(Run {
        contender: contender.name(),
        tenths,
        end: end.context("it did not report its totals")?,
    })
}
