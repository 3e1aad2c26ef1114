//! The way to the stream: the broker and the stream are waited for, and the stream is checked before anything is sent, and
//! again while it is sent to.

use std::time::Duration;

use shared::{
    connection::{Connection, Servers},
    publish::{Options, Publisher},
    stream,
    trace::Tracer,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::progress::Waiting;

/// How long events wait in the publishing client for others of their topic. Only paced ones wait, and the last.
const LINGER: Duration = Duration::from_millis(20);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often the stream's configuration is looked at.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// A connection, and the publishing client on it.
#[derive(Debug)]
pub struct Broker {
    pub connection: Connection,
    pub publisher: Publisher,
    driver: JoinHandle<()>,
}

impl Broker {
    /// Waits for the broker and for its stream, for ever if need be.
    ///
    /// # Errors
    /// Where the stream is there and cannot be used.
    pub async fn connect(
        servers: &Servers,
        stream: &str,
        batch: usize,
        tracer: Tracer,
    ) -> anyhow::Result<Self> {
        // Boxed, for it is large and every run would carry it.
        let connection = Box::pin(Connection::open(servers, "publisher")).await?;
        let mut waiting = Waiting::new(Instant::now());
        let mut patience = Duration::from_millis(500);
        while timeout(patience, connection.connected()).await.is_err() {
            let reason = connection
                .link()
                .last_error
                .unwrap_or_else(|| "no answer yet".to_owned());
            waiting.say(
                format_args!("the broker at {servers}: {reason}"),
                Instant::now(),
            );
            patience = LONGEST_PAUSE;
        }
        wait_for_stream(&connection, stream, &mut waiting).await?;
        let options = Options {
            stream: stream.to_owned(),
            max_events: batch,
            linger: LINGER,
            observer: None,
            tracer,
        };
        let (publisher, driver) = Publisher::new(connection.clone(), options);
        Ok(Self {
            connection,
            publisher,
            driver: tokio::spawn(driver.run()),
        })
    }

    /// Ends the publishing client.
    pub async fn close(self) {
        let Self {
            publisher, driver, ..
        } = self;
        drop(publisher);
        // Everything was confirmed or given up before, so that a driver that ended badly took nothing with it.
        let _ = driver.await;
    }
}

async fn wait_for_stream(
    connection: &Connection,
    stream: &str,
    waiting: &mut Waiting,
) -> Result<(), stream::StreamError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match stream::get(connection.jetstream(), stream).await {
            Ok(_) => return Ok(()),
            Err(err) if err.is_final() => return Err(err),
            Err(err) => waiting.say(format_args!("the stream: {err}"), Instant::now()),
        }
        sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Looks at the stream every few seconds and after each reconnect. Returns once it has a configuration that would lose events,
/// and why.
pub async fn unusable(connection: &Connection, stream: &str) -> stream::StreamError {
    loop {
        let connects = connection.connected().await;
        // Another failure is the publishing client's to tell: it gets no PubAck.
        if let Err(err) = stream::get(connection.jetstream(), stream).await
            && err.is_final()
        {
            return err;
        }
        tokio::select! {
            () = sleep(CHECK_EVERY) => {}
            () = connection.changed_since(connects) => {}
        }
    }
}
