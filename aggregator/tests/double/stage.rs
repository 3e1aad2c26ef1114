//! The stage of a script: the double, a store, and the real consumer between them.

use std::path::Path;

use aggregator::{
    consumer::{BatchLimits, Consumer},
    health::{Health, WAITING},
    metrics::Metrics,
    store::{self, Reader, WriterEnded},
};
use rusqlite::Connection as Sqlite;
use shared::{connection::Connection, stream, trace::Tracer};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Duration, Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    broker::{Broker, DEADLINE},
    evidence::Evidence,
};

/// The settings of the consumer.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Events in a batch.
    pub batch_events: usize,
    /// How long a batch gathers.
    pub batch_wait_ms: u64,
    /// Bytes of applied messages that the stream keeps.
    pub keep_bytes: u64,
    /// How long messages may wait before they are pulled again.
    pub patience: Duration,
}

pub struct Stage {
    pub broker: Broker,
    directory: TempDir,
    settings: Settings,
    running: Option<Running>,
}

/// The consumer of one process life.
struct Running {
    token: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    connection: Connection,
    writer_ended: WriterEnded,
    /// Its connections keep the files of the WAL while the writer reopens its connection, as in the service.
    _reader: Reader,
    health: Health,
}

/// Where a write is made to fail.
#[derive(Debug, Clone, Copy)]
pub enum Failure {
    Middle,
    Commit,
}

impl Stage {
    /// A new broker, a new store, and a consumer that has started to pull.
    pub async fn start(settings: Settings) -> Self {
        let stage = Self::on(Broker::start().await, settings).await;
        stage.pulled().await;
        stage
    }

    /// A new store, and a consumer on this broker.
    pub async fn on(broker: Broker, settings: Settings) -> Self {
        let mut stage = Self {
            broker,
            directory: tempfile::tempdir().expect("a directory"),
            settings,
            running: None,
        };
        stage.run().await;
        stage
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a consumer on the existing store.
    pub async fn run(&mut self) {
        let (writer, writer_ended, reader) =
            store::open(self.path(), 0, store::Limits::default()).expect("the store opens");
        let evidence = Evidence::of(self.path());
        self.broker.with(|server| server.evidence = Some(evidence));
        let address = format!("127.0.0.1:{}", self.broker.port).parse();
        let connection = Connection::open(&address.expect("an address"), "aggregator").await;
        let connection = connection.expect("valid options");
        let health = Health::starting();
        let Settings {
            batch_events,
            batch_wait_ms,
            keep_bytes,
            patience,
        } = self.settings;
        let consumer = Consumer {
            connection: connection.clone(),
            stream: stream::Settings {
                name: stream::DEFAULT_NAME.to_owned(),
                max_bytes: 1 << 30,
                replicas: 1,
            },
            keep_bytes,
            durable: "aggregator".to_owned(),
            take_over: false,
            location: "here".to_owned(),
            writer,
            pull_bytes: 1 << 20,
            limits: BatchLimits {
                events: batch_events,
                bytes: 1 << 20,
                wait: Duration::from_millis(batch_wait_ms),
            },
            patience,
            health: health.clone(),
            metrics: Metrics::new(),
            tracer: Tracer::off(),
        };
        let token = CancellationToken::new();
        self.running = Some(Running {
            task: tokio::spawn(consumer.run(token.clone())),
            token,
            connection,
            writer_ended,
            _reader: reader,
            health,
        });
    }

    /// Stops the consumer as a signal does.
    pub async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.token.cancel();
        running.task.await.expect("no panic").expect("no failure");
        running.connection.client().flush().await.ok();
        drop(running.connection);
        running.writer_ended.wait().await.expect("the writer ends");
        self.close();
    }

    /// Ends the consumer as SIGKILL does: pending output is not sent. A transaction that the writer had
    /// started may commit.
    pub async fn kill(&mut self) {
        let running = self.running.take().expect("it runs");
        self.close();
        running.task.abort();
        running.task.await.ok();
        drop(running.connection);
        running.writer_ended.wait().await.expect("the writer ends");
        self.broker.with(|server| server.resolve(None));
    }

    /// Cuts the connection, refuses clients, and waits until the consumer has appended its batches.
    pub async fn cut(&mut self) {
        self.close();
        let health = self.health().clone();
        let waits = || {
            health
                .failing()
                .get("consumer")
                .is_some_and(|why| why == WAITING)
        };
        eventually("the session is over", waits).await;
        self.broker.with(|server| server.resolve(None));
    }

    fn close(&self) {
        self.broker.with(|server| {
            server.is_open = false;
            server.cut();
        });
    }

    /// Accepts clients again.
    pub fn open(&self) {
        self.broker.with(|server| server.is_open = true);
    }

    pub fn health(&self) -> &Health {
        &self.running.as_ref().expect("it runs").health
    }

    /// Waits until the consumer's connection reports why it does not use the broker.
    pub async fn refused(&self, reason: &str) {
        let connection = &self.running.as_ref().expect("it runs").connection;
        let is_refused = || {
            let link = connection.link();
            !link.connected && link.last_error.is_some_and(|error| error.contains(reason))
        };
        eventually("the broker is refused", is_refused).await;
        assert!(!connection.is_connected());
    }

    /// Waits until the consumer requests messages.
    pub async fn pulled(&self) {
        self.broker
            .until("the consumer pulls", |server| {
                server.is_pulled().then_some(())
            })
            .await;
    }

    /// Waits until every delivery is acked, or can never be.
    pub async fn settled(&self) {
        self.broker
            .until("every delivery is acked", |server| {
                server.is_settled().then_some(())
            })
            .await;
    }

    /// Makes every write of the store fail.
    pub fn break_writes(&self, failure: Failure) {
        self.change(match failure {
            Failure::Middle => {
                "CREATE TRIGGER broken BEFORE UPDATE ON counters BEGIN SELECT RAISE(ABORT, 'on purpose'); END"
            }
            // A deferred foreign key is checked by COMMIT.
            Failure::Commit => {
                "CREATE TABLE parent (id INTEGER PRIMARY KEY); \
                 CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED); \
                 CREATE TRIGGER broken BEFORE UPDATE ON counters BEGIN INSERT INTO child VALUES (7); END"
            }
        });
    }

    /// Lets writes succeed again.
    pub fn repair_writes(&self) {
        self.change("DROP TRIGGER broken; DROP TABLE IF EXISTS child; DROP TABLE IF EXISTS parent");
    }

    fn change(&self, sql: &str) {
        let file = Sqlite::open(self.path().join(store::FILE)).expect("the store can be opened");
        file.busy_timeout(DEADLINE).expect("a timeout can be set");
        file.execute_batch(sql).expect("a change");
    }

    /// Waits until a write has failed, or there was none to fail.
    pub async fn failed(&self) {
        let health = self.health().clone();
        let fails =
            || !health.failing().is_empty() || self.broker.with(|server| server.is_settled());
        eventually("a write fails", fails).await;
    }
}

/// Polls until the condition holds.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "not after {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
