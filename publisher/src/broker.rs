//! The connection to the broker: waits for the broker and the stream, and checks the stream's configuration before and
//! while events are sent.

use std::time::Duration;

use shared::{
    connection::{Connection, Servers},
    publish::{Options, Publisher, Subjects},
    stream,
    trace::Tracer,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::progress::WaitNotice;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Interval between checks of the stream's configuration.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// A connection and its publishing client.
#[derive(Debug)]
pub struct Broker {
    pub connection: Connection,
    pub publisher: Publisher,
    driver: JoinHandle<()>,
}

impl Broker {
    /// Connects, and waits for the broker and the stream without a time limit.
    ///
    /// # Errors
    /// If the connection's options are invalid, or the stream exists but cannot be used.
    pub async fn connect(
        servers: &Servers,
        stream: &str,
        (batch, subjects): (usize, Subjects),
        tracer: Tracer,
    ) -> anyhow::Result<Self> {
        // Boxed because the future is large and would be part of every run's future.
        let connection = Box::pin(Connection::open(servers, "publisher")).await?;
        let mut notice = WaitNotice::new(Instant::now());
        let mut wait = Duration::from_millis(500);
        while timeout(wait, connection.connected()).await.is_err() {
            let reason = connection
                .link()
                .last_error
                .unwrap_or_else(|| "no answer yet".to_owned());
            notice.say(
                format_args!("the broker at {servers}: {reason}"),
                Instant::now(),
            );
            wait = LONGEST_PAUSE;
        }
        wait_for_stream(&connection, stream, &mut notice).await?;
        let options = Options {
            stream: stream.to_owned(),
            max_events: batch,
            subjects,
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

    /// Stops the publishing client and waits for it to end.
    pub async fn close(self) {
        let Self {
            publisher, driver, ..
        } = self;
        drop(publisher);
        // Every event has been confirmed or abandoned by now, so a failed driver loses nothing.
        let _ = driver.await;
    }
}

async fn wait_for_stream(
    connection: &Connection,
    stream: &str,
    notice: &mut WaitNotice,
) -> Result<(), stream::StreamError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match stream::state(connection, stream).await {
            Ok(_) => return Ok(()),
            Err(err) if err.is_final() => return Err(err),
            Err(err) => notice.say(format_args!("the stream: {err}"), Instant::now()),
        }
        sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Checks the stream every two seconds and after each reconnect. Returns only when the stream's configuration could
/// lose events, with the reason.
pub async fn unusable(connection: &Connection, stream: &str) -> stream::StreamError {
    loop {
        let connects = connection.connected().await;
        // Other failures are reported by the publishing client, which gets no PubAck.
        if let Err(err) = stream::state(connection, stream).await
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
