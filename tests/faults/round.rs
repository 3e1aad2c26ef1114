//! A round: load and faults; then everything is repaired, unconfirmed events are sent again, and the result is
//! checked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use e2e::wait::{holds, within};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use crate::{
    check::{self, Found},
    deck::Hand,
    fault::{Fault, NotTried},
    generator::Generator,
    truth::event,
    world::{Setup, World},
};

/// Far more than the repair takes on a slow machine.
const DRAIN: Duration = Duration::from_mins(3);

/// Pause between two faults, so that some meet a healthy system, and some a system that is recovering.
const BREATH: Duration = Duration::from_millis(700);

/// Events that are sent again in one request.
const AGAIN: usize = 1_000;

/// The outcome of a round.
pub struct Outcome {
    pub tried: Vec<Fault>,
    pub not_tried: Vec<(Fault, NotTried)>,
    pub found: Found,
    pub took: Duration,
}

pub async fn play(hand: &Hand, setup: Setup) -> Outcome {
    let began = Instant::now();
    let mut random = ChaCha8Rng::seed_from_u64(hand.seed);
    let mut world = World::start(setup).await;
    let generator = Generator::start(
        &Arc::clone(&world.truth),
        &world.apis(),
        (&world.outside.url(), world.users()),
        hand.seed,
    );
    sleep(BREATH).await;
    let (mut tried, mut not_tried) = (Vec::new(), Vec::new());
    for (fault, lasts) in &hand.faults {
        println!(
            "  {:>5.1} s {}",
            began.elapsed().as_secs_f32(),
            fault.name()
        );
        match fault.strike(&mut world, *lasts, &mut random).await {
            Ok(()) => tried.push(*fault),
            Err(reason) => not_tried.push((*fault, reason)),
        }
        sleep(BREATH).await;
    }
    println!("  {:>5.1} s repairing", began.elapsed().as_secs_f32());
    world.repair().await;
    generator.stop().await;
    drain(&mut world).await;
    println!("  {:>5.1} s checking", began.elapsed().as_secs_f32());
    Outcome {
        tried,
        not_tried,
        found: check::check(&mut world).await,
        took: began.elapsed(),
    }
}

/// Sends again what was not confirmed, as its publishers would, and waits until all of it is applied.
async fn drain(world: &mut World) {
    within(DRAIN, "what was not confirmed is sent again", async || {
        for part in world.truth.unconfirmed().chunks(AGAIN) {
            world.truth.resend(part);
            let events: Vec<_> = part.iter().copied().map(event).collect();
            world.api().try_publish(&events).await?;
            world.truth.confirm(part);
        }
        Ok(())
    })
    .await;
    if world.truth.is_lossy() {
        for run in &world.runs {
            world.publisher(run).ended().await.succeeded();
            world.truth.others(0, World::RUN_EVENTS);
        }
    }
    within(DRAIN, "everything is applied", async || {
        let stats = world.api().stats().await?;
        holds(stats.pending == Some(0), &stats)
    })
    .await;
}

impl Outcome {
    /// In one line, plus one for each finding.
    pub fn summary(&self) -> String {
        let Found {
            events,
            lost,
            twice,
            wrong,
        } = &self.found;
        let mut lines = vec![format!(
            "{events} events at stake, {lost} lost, {twice} stored twice, {} miscounted, {:.0} s",
            wrong.len(),
            self.took.as_secs_f32()
        )];
        let not_tried = self.not_tried.iter();
        lines.extend(not_tried.map(|(fault, why)| format!("  not tried: {}: {why}", fault.name())));
        lines.extend(wrong.iter().map(|wrong| format!("  wrong: {wrong}")));
        lines.join("\n")
    }
}
