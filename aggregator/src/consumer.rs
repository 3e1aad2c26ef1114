//! The durable consumer: decode → batch → append → COMMIT → ack.
//!
//! It works in sessions. A session begins when the broker is connected: it compares the stream with the store, brings the
//! durable into the right state, then pulls until something changes. Any failure ends the session after its batches were
//! appended, and the next session starts with the comparison again.

mod batch;
mod durable;
mod replicas;
pub mod retained;
mod session;
mod sizes;
mod stores;
pub mod survey;
mod trace;
mod trim;
mod watchdog;

use std::time::Duration;

use shared::{
    connection::{Connection, Denial},
    stream::{self, StreamError},
    trace::Tracer,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use self::watchdog::PATIENCE;
use self::{session::End, stores::Stores};
use crate::{
    health::{Health, Part, WAITING},
    metrics::Metrics,
    store::{StoreError, Writer},
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// When a batch is appended: when it reaches the first of these limits.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Events in it.
    pub events: usize,
    /// Bytes of message bodies in it.
    pub bytes: usize,
    /// Time since its first message arrived.
    pub wait: Duration,
}

impl BatchLimits {
    /// The same limits for a session that ends: a batch waits for no further message.
    fn without_wait(self) -> Self {
        Self {
            wait: Duration::ZERO,
            ..self
        }
    }
}

/// The consumer and everything that it uses.
#[derive(Debug)]
pub struct Consumer {
    /// The connection to the broker.
    pub connection: Connection,
    /// The stream's settings; the consumer creates the stream if it does not exist.
    pub stream: stream::Settings,
    /// Bytes of applied messages that the stream keeps, approximately.
    pub keep_bytes: u64,
    /// The durable's name.
    pub durable: String,
    /// Whether a durable of another store may be taken over.
    pub take_over: bool,
    /// This store's location, written into the durable's description for operators of other stores.
    pub location: String,
    /// Appends to the store.
    pub writer: Writer,
    /// When a batch is appended.
    pub limits: BatchLimits,
    /// Bytes per pull request.
    pub pull_bytes: usize,
    /// How long messages may wait while nothing is applied, before a new session pulls them again.
    pub patience: Duration,
    /// Receives which parts work and which fail.
    pub health: Health,
    /// Receives what was committed.
    pub metrics: Metrics,
    /// Creates the spans of messages and batches.
    pub tracer: Tracer,
}

impl Consumer {
    /// Runs until the token is cancelled and the batches in memory are appended and acked.
    ///
    /// # Errors
    /// Only what an operator must fix: a stream whose configuration would lose events, a durable of another
    /// store, the end of the store's writer.
    pub async fn run(self, token: CancellationToken) -> anyhow::Result<()> {
        let mut pause = FIRST_PAUSE;
        let mut stores = Stores::default();
        let mut has_consumed = false;
        let mut was_denied = false;
        loop {
            if !self.connection.is_connected() {
                self.health.fails(Part::Consumer, WAITING.to_owned());
            }
            let connects = tokio::select! {
                connects = self.connection.connected() => connects,
                () = token.cancelled() => return Ok(()),
            };
            let began = Instant::now();
            let ended = self
                .session(
                    &token,
                    connects,
                    &mut stores,
                    (&mut has_consumed, was_denied),
                )
                .await;
            was_denied = matches!(ended, Err(SessionError::Denied(_)));
            match ended {
                Ok(End::Stopped) => return Ok(()),
                Ok(End::LinkChanged) => pause = FIRST_PAUSE,
                // A configuration that was changed while the service runs can be changed back; queries are answered meanwhile.
                Err(err) if err.is_final() && !(has_consumed && err.is_unusable()) => {
                    return Err(err.into());
                }
                Err(err) => {
                    if err.is_unusable() {
                        self.health.fails(Part::Stream, err.to_string());
                    }
                    if began.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    self.health.fails(Part::Consumer, err.to_string());
                    tokio::select! {
                        () = sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
                        () = token.cancelled() => return Ok(()),
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// How a session failed.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Stream(StreamError),
    #[error("the store cannot record the stream's state: {0}")]
    Store(#[source] StoreError),
    #[error("the store's writer has stopped")]
    WriterStopped,
    #[error("the durable consumer is not available: {}", stream::reason(.0))]
    Durable(#[source] async_nats::Error),
    #[error(
        "durable consumer {durable} belongs to {owner}; start with that store's data directory, choose another --durable, or take it over with --take-over"
    )]
    Owned { durable: String, owner: String },
    #[error("the broker reused sequence numbers; comparing stream and store again")]
    Epoch,
    #[error("the stream was compared again by another aggregator; comparing stream and store")]
    Superseded,
    #[error("pulling messages failed: {0}")]
    Pull(String),
    #[error("messages are waiting and nothing has been applied")]
    Stalled,
    #[error("{0}; permit it")]
    Denied(Denial),
}

impl SessionError {
    /// Whether the stream has a configuration that would lose events.
    fn is_unusable(&self) -> bool {
        matches!(self, Self::Stream(err) if err.is_final())
    }

    fn is_final(&self) -> bool {
        match self {
            Self::Stream(err) => err.is_final(),
            Self::Owned { .. } | Self::WriterStopped => true,
            Self::Store(_)
            | Self::Durable(_)
            | Self::Epoch
            | Self::Superseded
            | Self::Pull(_)
            | Self::Stalled
            | Self::Denied(_) => false,
        }
    }
}

impl From<StreamError> for SessionError {
    fn from(err: StreamError) -> Self {
        Self::Stream(err)
    }
}

impl From<StoreError> for SessionError {
    fn from(err: StoreError) -> Self {
        match err {
            StoreError::Stopped => Self::WriterStopped,
            StoreError::Superseded => Self::Superseded,
            err => Self::Store(err),
        }
    }
}
