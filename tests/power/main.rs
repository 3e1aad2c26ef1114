//! Power cuts under load: everything confirmed must be on the disk, and nothing on it twice.
//!
//! Both data directories are on a file system on a loop device. At a random moment all processes are stopped, and
//! what the device has received is copied; what the kernel still holds for it is not in the copy. Everything is
//! started again from the copy.
//!
//! Two things are gentler than a real power cut: what the device received counts as kept, although a drive might lose
//! it from its own cache; and a thread in a system call, such as a sync, finishes the call before it stops.

mod acks;
mod broker;
mod control;
mod cut;
mod disk;
mod load;
mod machine;
mod options;
mod outcome;
mod standstill;

use std::{panic::AssertUnwindSafe, process::ExitCode};

use clap::Parser;
use futures::FutureExt;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    options::{Cli, Options, Role},
    outcome::Outcome,
};

/// The exit code that shells use for a program ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Role::Writer { synchronous, file }) = cli.role {
        control::writer::write(&file, synchronous).await;
    }
    let mut interrupt = signal(SignalKind::interrupt()).expect("a signal can be waited for");
    let mut terminate = signal(SignalKind::terminate()).expect("a signal can be waited for");
    // Mounts, devices and processes end with the future that is dropped.
    tokio::select! {
        biased;
        _ = interrupt.recv() => ExitCode::from(INTERRUPTED),
        _ = terminate.recv() => ExitCode::from(INTERRUPTED),
        code = run(&cli.options) => code,
    }
}

async fn run(options: &Options) -> ExitCode {
    if let Err(reason) = disk::can_be_tried() {
        println!("power cut: not tried: {reason}");
        return ExitCode::from(u8::from(options.require));
    }
    match broker::version() {
        Ok(version) => println!("broker: {version}"),
        Err(reason) => {
            println!("power cut: not tried: {reason}");
            return ExitCode::from(u8::from(options.require));
        }
    }
    let seed = options.seed.unwrap_or_else(|| rand::rng().next_u64() >> 32);
    let mut good = cuts(seed, options.cuts()).await;
    if options.controls {
        good &= control::run(seed).await;
    }
    println!("{}", if good { "passed" } else { "failed" });
    ExitCode::from(u8::from(!good))
}

async fn cuts(first: u64, count: u64) -> bool {
    let mut outcomes = Vec::new();
    for seed in first..first + count {
        // A panic in one cut does not prevent the others.
        let cut = AssertUnwindSafe(cut::cut(seed)).catch_unwind();
        let outcome = cut.await.unwrap_or_else(|_| Outcome::of_a_panic(seed));
        println!("{outcome}");
        outcomes.push(outcome);
    }
    if !outcomes.is_empty() {
        println!("{}", outcome::summary(&outcomes));
    }
    outcomes.iter().all(Outcome::is_good)
}

/// The random numbers of a cut.
fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}
