//! Disks that are full, cannot be synced, or cannot be written.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{disk::run, wait::eventually};
use tokio::time::sleep;

use super::NotTried;
use crate::world::World;

/// The store's disk is full; stored events can be queried all the time.
pub async fn fill_store(world: &mut World, lasts: Duration) -> Result<(), NotTried> {
    let filler = world.store.disk()?.fill();
    let end = Instant::now() + lasts * 2;
    while Instant::now() < end {
        let page = world.api().get("/events?limit=10").await;
        let status = page.expect("an answer").status;
        assert_eq!(status, 200, "events are queried on a full disk");
        sleep(Duration::from_millis(50)).await;
    }
    drop(filler);
    Ok(())
}

/// The stream's disk is full; the broker must be restarted after that.
pub async fn fill_stream(world: &mut World, lasts: Duration) -> Result<(), NotTried> {
    let filler = world.stream.disk()?.fill();
    sleep(lasts).await;
    drop(filler);
    world.nats.kill();
    world.nats.start_again();
    world.nats.ready().await;
    Ok(())
}

/// Every fsync of the aggregator fails.
pub async fn fail_fsync(world: &mut World, lasts: Duration) -> Result<(), NotTried> {
    world.aggregator.healthy().await;
    let id = world.aggregator.service().id().to_string();
    let mut tracer = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
        ])
        .args(["-e", "inject=fsync,fdatasync:error=EIO", "-p", &id])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|err| format!("strace: {err}"))?;
    let reason = fails(world, &mut tracer).await;
    sleep(lasts).await;
    let ended = tracer.try_wait().expect("a child can be polled");
    let _ = tracer.kill();
    tracer.wait().expect("a child can be waited for");
    if ended.is_some() {
        return Err("strace cannot attach to a process here".to_owned());
    }
    println!("  with an fsync that fails: {reason}");
    Ok(())
}

/// Waits until `/health` reports that the store cannot be written, or the tracer has ended.
async fn fails(world: &World, tracer: &mut Child) -> String {
    eventually("a failing fsync is reported", async || {
        if tracer.try_wait().expect("a child can be polled").is_some() {
            return Ok(String::new());
        }
        let health = world.api().get("/health").await?.json();
        let reason = health["checks"]["store"].as_str();
        reason.map(str::to_owned).ok_or_else(|| health.to_string())
    })
    .await
}

/// The database file is not writable, from the aggregator's start.
pub async fn make_read_only(world: &mut World, lasts: Duration) -> Result<(), NotTried> {
    let file = world.store.path().join("aggregator.db");
    let change = |flag: &str| run(Command::new("chattr").arg(flag).arg(&file));
    world.aggregator.stop().await;
    let changed = change("+i");
    if changed.is_ok() {
        world.aggregator.start_again().await;
        let health = world.aggregator.unhealthy().await;
        sleep(lasts).await;
        change("-i").expect("the flag can be cleared");
        println!("  with a read-only database: {}", health["checks"]);
    } else {
        world.aggregator.start_again().await;
    }
    changed.map_err(|err| format!("chattr: {err}"))
}
