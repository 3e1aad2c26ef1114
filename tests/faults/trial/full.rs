//! The store's disk is full for a minute under load.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use e2e::wait::{eventually, holds};
use tokio::time::sleep;

use crate::{
    check,
    generator::Generator,
    world::{Setup, World},
};

/// Whether nothing was lost, `/events` responded throughout, and ingest resumed by itself.
pub async fn disk_full(lasts: Duration) -> bool {
    let mut world = World::start(Setup::One).await;
    let generator = Generator::start(
        &Arc::clone(&world.truth),
        &world.apis(),
        (&world.outside.url(), world.users()),
        1,
    );
    world.api().received_at_least(2_000).await;
    let filler = match world.store.disk() {
        Ok(disk) => disk.fill(),
        Err(reason) => {
            println!("not tried: {reason}");
            return true;
        }
    };
    let health = world.aggregator.unhealthy().await;
    println!("the disk is full: {}", health["checks"]);
    let (began, mut answers) = (Instant::now(), 0);
    while began.elapsed() < lasts {
        let page = world.api().get("/events?limit=100").await;
        let status = page.expect("an answer").status;
        assert_eq!(status, 200, "events are queried on a full disk");
        answers += 1;
        sleep(Duration::from_millis(20)).await;
    }
    let during = world.api().stats().await.expect("an answer");
    drop(filler);
    let what = "ingest resumes by itself";
    eventually(what, async || {
        let stats = world.api().stats().await?;
        holds(stats.received > during.received, &stats)
    })
    .await;
    generator.stop().await;
    world.repair().await;
    eventually("everything is applied", async || {
        let stats = world.api().stats().await?;
        holds(stats.pending == Some(0), &stats)
    })
    .await;
    let found = check::check(&mut world).await;
    println!(
        "{lasts:?} full: {answers} pages of events requested and returned; {} messages waited; then {found:?}",
        during.pending.unwrap_or(0)
    );
    found.is_exact()
}
