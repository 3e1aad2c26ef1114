//! The store's files, deleted or moved away under a running aggregator.

use std::{fs, time::Duration};

use e2e::{disk::copy_directory, wait::eventually};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use crate::world::World;

const DATABASE: &str = "aggregator.db";
const WAL: &str = "aggregator.db-wal";
const SHARED_MEMORY: &str = "aggregator.db-shm";

/// The database is moved away and back, or deleted and restored from an older copy, or its WAL is deleted.
pub async fn delete_store(world: &mut World, lasts: Duration, random: &mut ChaCha8Rng) {
    world.aggregator.healthy().await;
    let store = world.store.path();
    match random.random_range(0..3) {
        0 => {
            let away = store.join("away");
            fs::rename(store.join(DATABASE), &away).expect("a file can be moved");
            says_so(world, DATABASE).await;
            sleep(lasts).await;
            fs::rename(&away, store.join(DATABASE)).expect("a file can be moved back");
        }
        1 => {
            let copy = world.copy("deleted");
            world.aggregator.kill();
            copy_directory(&store, &copy);
            world.aggregator.start_again().await;
            sleep(lasts).await;
            world.aggregator.healthy().await;
            for file in [DATABASE, WAL, SHARED_MEMORY] {
                fs::remove_file(store.join(file)).expect("a file can be deleted");
            }
            says_so(world, DATABASE).await;
            sleep(lasts).await;
            world.aggregator.kill();
            copy_directory(&copy, &store);
            world.aggregator.start_again().await;
        }
        _ => {
            fs::remove_file(store.join(WAL)).expect("a file can be deleted");
            says_so(world, WAL).await;
            sleep(lasts).await;
            world.aggregator.kill();
            world.aggregator.start_again().await;
        }
    }
}

async fn says_so(world: &World, file: &str) {
    eventually("a missing file is reported", async || {
        let health = world.api().get("/health").await?.json();
        let reason = health["checks"]["store"].as_str().unwrap_or_default();
        let is_reported = reason.contains(file) && reason.contains("is not the file that");
        is_reported.then_some(()).ok_or_else(|| health.to_string())
    })
    .await;
}
