//! An append of one aggregator while another one begins a new life of the stream, in each order in which the database can receive their
//! statements.

use tokio::runtime::Runtime;

use super::{
    Opened,
    interleavings::{in_each_order, pass_in_turns},
    turnstile::Turnstile,
};
use crate::store::{
    ObservedStream,
    postgres::upkeep::writers_of,
    tests::{
        arrivals::{delivery, event, stream},
        database::Database,
    },
};

/// The statements before which the order matters. An append reads the lives right after it has locked its writer's row.
const DECISIVE: [&str; 4] = [
    "SELECT last_batch",
    "SELECT max(sequence)",
    "INSERT INTO incarnations",
    "COMMIT",
];

/// Messages whose place is not before all of the next life: it began without waiting for them.
const LATE: &str = "SELECT count(*) FROM applied a JOIN incarnations i ON i.id = a.incarnation JOIN incarnations n ON n.id = i.id + 1 \
     WHERE i.base + a.sequence >= n.base";

/// Earlier lives would only make each run longer.
const FORGET: &str = "DELETE FROM incarnations WHERE id < (SELECT max(id) FROM incarnations); \
     DELETE FROM applied WHERE incarnation < (SELECT max(id) FROM incarnations)";

async fn behind(database: &Database) -> (Opened, Turnstile) {
    let turnstile = Turnstile::before(database).await;
    let opened = Opened::at(&database.url_through(turnstile.port)).await;
    opened.writer.meet(&stream(1, 0).into(), 0).await.unwrap();
    (opened, turnstile)
}

#[test]
fn an_append_ends_before_a_new_life_begins_or_is_in_it() {
    let Some(database) = Database::new() else {
        return;
    };
    let runtime = Runtime::new().unwrap();
    let ((one, to_one), (other, to_other), observer) = runtime.block_on(async {
        let pair = (behind(&database).await, behind(&database).await);
        (pair.0, pair.1, Opened::at(&database.url()).await)
    });
    // The locks of writers that append nothing would only multiply the orders.
    let own = writers_of(one.writer.shared().slot)[0];
    database.sql(&format!("DELETE FROM counters WHERE writer <> {own}"));
    let mut sequence = 0;
    let orders = in_each_order(|choose| {
        sequence += 1;
        let batch = [delivery(sequence, &event(0))];
        runtime.block_on(async {
            one.writer.look().await.unwrap();
            let met = ObservedStream {
                looked: Some(other.writer.look().await.unwrap()),
                is_other: true,
                ..stream(1, sequence + 1).into()
            };
            let observer = observer.writer.shared().pool.get().await.unwrap();
            for turnstile in [&to_one, &to_other] {
                turnstile.close();
            }
            let (appending, meeting) = (one.writer.clone(), other.writer.clone());
            let tasks = [
                tokio::spawn(async move { appending.append(&batch, 1).await.map(drop).unwrap() }),
                tokio::spawn(async move { meeting.meet(&met, 1).await.map(drop).unwrap() }),
            ];
            let is_fork = |sql: &str| DECISIVE.iter().any(|start| sql.starts_with(start));
            pass_in_turns(&observer, [&to_one, &to_other], &tasks, is_fork, choose).await;
            for turnstile in [&to_one, &to_other] {
                turnstile.open();
            }
            for task in tasks {
                task.await.unwrap();
            }
            let late: i64 = observer.query_one(LATE, &[]).await.unwrap().get(0);
            assert_eq!(late, 0, "message {sequence}");
            observer.batch_execute(FORGET).await.unwrap();
        });
    });
    eprintln!("{orders} orders");
    assert!(orders >= 6, "only {orders} orders");
    let lives = database.sql("SELECT max(id) FROM incarnations");
    assert_eq!(lives, (sequence + 1).to_string(), "each run began one");
    let (received, stored) = (
        "SELECT sum(received) FROM counters",
        "SELECT count(*) FROM events",
    );
    assert_eq!(database.sql(received), sequence.to_string());
    assert_eq!(database.sql(stored), "1");
}
