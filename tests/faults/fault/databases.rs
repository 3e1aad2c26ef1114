//! The database that holds the store: killed, restarted, suspended, replaced by its standby, and without connections for the aggregators
//! or space on its disk.

use std::time::{Duration, Instant};

use e2e::wait::within;
use tokio::time::sleep;

use super::{Database, NotTried, nodes};
use crate::world::World;

/// Pause between two moments at which all connections are ended: some transactions complete in between.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a statement of an aggregator may take, by its own setting.
const STATEMENT: Duration = Duration::from_secs(20);

/// Far more than it takes until a full disk is noticed.
const NOTICED: Duration = Duration::from_mins(1);

const END_SESSIONS: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'aggregator'";

pub async fn strike(world: &mut World, trouble: Database, lasts: Duration) -> Result<(), NotTried> {
    let database = world.database();
    match trouble {
        Database::Killed => {
            database.kill();
            sleep(lasts).await;
            database.start_again().await;
        }
        Database::Restarted => {
            database.stop().await;
            database.start_again().await;
        }
        Database::SessionsEnded => {
            let began = Instant::now();
            while began.elapsed() < lasts {
                database.sql(END_SESSIONS);
                sleep(PAUSE).await;
            }
        }
        Database::Exhausted => {
            // The error is that of a server which has no connection left, too.
            database.sql("ALTER ROLE aggregator CONNECTION LIMIT 1");
            database.sql(END_SESSIONS);
            sleep(lasts).await;
            database.sql("ALTER ROLE aggregator CONNECTION LIMIT -1");
        }
        Database::FailedOver => database.fail_over(async { sleep(lasts).await }).await,
        Database::Suspended => {
            database.suspend();
            sleep(STATEMENT + lasts).await;
            database.resume();
        }
        Database::DiskFull => fill(world, lasts).await?,
    }
    nodes::report(world, "the database again").await;
    Ok(())
}

/// The database's disk is full. The aggregators say so; nobody does anything about it but free space.
///
/// Tables cannot grow first. Then no WAL can be written, and the server starts again by itself, or ends if it cannot recover without
/// space.
async fn fill(world: &mut World, lasts: Duration) -> Result<(), NotTried> {
    for aggregator in world.aggregators() {
        aggregator.healthy().await;
    }
    let disk = world.data.as_ref().ok_or("the store is in no database")?;
    let filler = disk.disk()?.fill();
    let named = within(NOTICED, "a full disk is named", async || {
        let mut reasons = Vec::new();
        for api in world.apis() {
            let health = api.get("/health").await?.json();
            let reason = health["checks"]["store"].as_str().unwrap_or_default();
            let names_it = reason.contains("disk full: ") && reason.contains("free space on");
            if names_it {
                return Ok(reason.to_owned());
            }
            reasons.push(reason.to_owned());
        }
        Err(format!("{reasons:?}"))
    })
    .await;
    println!("    {named}");
    sleep(lasts * 4).await;
    drop(filler);
    let database = world.database();
    println!(
        "    PANIC of the database: {}; ended: {}",
        database.has_logged("PANIC:"),
        !database.is_running()
    );
    // If it has ended, as its supervisor would.
    database.start_again().await;
    Ok(())
}
