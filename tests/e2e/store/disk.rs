//! A database whose disk is full.

use e2e::{
    aggregator::Aggregator,
    broker::Broker,
    disk::Disk,
    event::events,
    postgres::Postgres,
    wait::{eventually, holds},
};

/// Events of a request: more than fit into a page of a table.
const EVENTS: u32 = 500;

#[tokio::test]
async fn health_names_the_full_disk_of_a_database_and_storing_resumes_by_itself() {
    let disk = match Disk::new(300) {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!("skipped: no small disk can be mounted: {reason}");
            return;
        }
    };
    let Some(mut database) = Postgres::start_in(disk.path().join("data")).await else {
        return;
    };
    let broker = Broker::start().await;
    let directory = tempfile::tempdir().unwrap();
    let nats = broker.url_of("aggregator");
    let url = database.url();
    let one = Aggregator::start(&nats, directory.path(), &["--store", &url]).await;
    one.healthy().await;
    one.api().publish(&events("orders", 0..EVENTS)).await;
    one.api().settled().await;

    let filler = disk.fill();
    one.api()
        .publish(&events("orders", EVENTS..2 * EVENTS))
        .await;
    eventually("the full disk is named", async || {
        let health = one.api().get("/health").await?;
        let reason = health.json()["checks"]["store"].to_string();
        let is_named = reason.contains("disk full: ")
            && reason.contains("(53100)")
            && reason.contains("free space on the database's disk");
        holds(is_named, health.text())
    })
    .await;
    let counted = database.number("SELECT sum(received) FROM counters");
    assert_eq!(counted, i64::from(EVENTS), "nothing is applied meanwhile");

    drop(filler);
    // It ends by itself if it had to write to the WAL meanwhile.
    database.start_again().await;
    let all = u64::from(2 * EVENTS);
    assert_eq!(one.api().settled().await.counts(), [all, all, 0]);
    one.healthy().await;
}
