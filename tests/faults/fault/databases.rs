//! The database that holds the store: killed, restarted, replaced by its standby, and without connections for the aggregators.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Database, nodes};
use crate::world::World;

/// Pause between two moments at which all connections are ended: some transactions complete in between.
const PAUSE: Duration = Duration::from_millis(100);

const END_SESSIONS: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'aggregator'";

pub async fn strike(world: &mut World, trouble: Database, lasts: Duration) {
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
    }
    nodes::report(world, "the database again").await;
}
