//! Reads the messages that the stream retains, once, for a verification. The durable is not touched: they are read through a
//! temporary consumer that acks nothing, and that the broker removes.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, pull},
    stream::{Info, Stream},
};
use futures::StreamExt;
use shared::{
    connection::{Connection, Servers},
    message,
    stream::{self, StreamError, StreamState},
};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep, timeout},
};

use super::{
    batch,
    durable::{self, OWNER},
};
use crate::store::Delivery;

/// How long the broker may take to respond to a connection.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the reading may stay without a message: longer than the election of a leader takes.
const LONGEST: Duration = Duration::from_mins(1);

/// A consumer that delivers nothing for this long is replaced by a new one. Its server may have failed or be behind the leader, and
/// the client would replace it by one with a name, which the broker's permissions may not allow.
const SILENCE: Duration = Duration::from_secs(5);

/// Between a consumer that failed and the next.
const PAUSE: Duration = Duration::from_millis(500);

/// Messages per pull request; at the broker's largest message size these are 64 MB.
const PULLED: i64 = 64;

/// Messages, and bytes of bodies and of decoded elements, that are sent on together.
const WINDOW: (usize, usize) = (1_000, 4 * 1024 * 1024);

/// Why the messages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RetainedError {
    /// The broker did not respond.
    #[error("the broker at {servers} {}", .reason.as_deref().map_or_else(|| "does not answer".to_owned(), |reason| format!("cannot be used: {reason}")))]
    Silent {
        /// The broker's addresses.
        servers: String,
        /// The reason, if it is known.
        reason: Option<String>,
    },
    /// The address cannot be used.
    #[error("cannot connect to the broker: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// The stream does not exist, or its configuration is not usable.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A request failed, or its response was unexpected.
    #[error("cannot read the messages from the broker: {0}")]
    Read(#[source] async_nats::Error),
}

/// The stream and its durable, as of the start of the verification.
#[derive(Debug)]
pub struct Messages {
    servers: String,
    stream: Stream<Info>,
    /// The state of the stream.
    pub state: StreamState,
    /// The durable: its description, which names its store, and the sequence up to which everything is acked.
    acked: Option<(String, u64)>,
}

impl Messages {
    /// Connects to the broker, and reads the state of the stream and of the durable.
    ///
    /// # Errors
    /// [`RetainedError`].
    pub async fn connect(
        servers: &Servers,
        stream: &str,
        durable: &str,
    ) -> Result<Self, RetainedError> {
        let connection = Connection::open(servers, "aggregator verify").await?;
        timeout(PATIENCE, connection.connected())
            .await
            .map_err(|_| RetainedError::Silent {
                servers: servers.to_string(),
                reason: connection.link().last_error,
            })?;
        let stream = connection.permitted(stream::get(connection.jetstream(), stream));
        let stream = stream.await.map_err(StreamError::Denied)??;
        let acked = match stream.consumer_info(durable).await {
            Ok(info) => {
                let description = info.config.description.unwrap_or_default();
                Some((description, info.ack_floor.stream_sequence))
            }
            Err(err) if durable::is_missing(&err) => None,
            Err(err) => return Err(RetainedError::Read(err.into())),
        };
        Ok(Self {
            state: StreamState::of(stream.cached_info()),
            servers: servers.to_string(),
            stream,
            acked,
        })
    }

    /// The sequence up to which this store acked all messages; 0 if the durable does not exist or belongs to another store.
    #[must_use]
    pub fn acked_by(&self, store_id: &str) -> u64 {
        let acked = self.acked.as_ref().filter(|(description, _)| {
            let owner = description.strip_prefix(OWNER);
            owner.is_some_and(|owner| owner.starts_with(store_id))
        });
        acked.map_or(0, |(_, floor)| *floor)
    }

    /// Reads the messages up to the sequence `last` and sends them, decoded and in order, to `taken`. Ends early if the receiver
    /// is dropped.
    ///
    /// # Errors
    /// [`RetainedError`].
    pub async fn read(&self, last: u64, taken: Sender<Vec<Delivery>>) -> Result<(), RetainedError> {
        if self.state.messages == 0 || self.state.first > last {
            return Ok(());
        }
        let mut reading = Reading {
            next: self.state.first.max(1),
            last,
            window: Vec::new(),
            bytes: 0,
            taken,
        };
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let ended = self.deliver(&mut reading).await;
            if reading.is_complete() || self.is_over(&reading).await {
                reading.flush().await;
                return Ok(());
            }
            if reading.next > before {
                (before, since) = (reading.next, Instant::now());
            } else if since.elapsed() > LONGEST {
                return Err(ended.err().unwrap_or_else(|| self.silent()));
            }
            sleep(PAUSE).await;
        }
    }

    /// Whether the stream has no more of the messages. A consumer may not know: its server may be behind the leader, which is asked.
    async fn is_over(&self, reading: &Reading) -> bool {
        let Ok(Ok(info)) = timeout(SILENCE, self.stream.get_info()).await else {
            return false;
        };
        let state = StreamState::of(&info);
        state.messages == 0 || state.first > reading.last || state.last < reading.next
    }

    fn silent(&self) -> RetainedError {
        RetainedError::Silent {
            servers: self.servers.clone(),
            reason: None,
        }
    }

    /// Creates a consumer, and reads from it until the last message that it has, a failure, or a silence.
    async fn deliver(&self, reading: &mut Reading) -> Result<(), RetainedError> {
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: reading.next,
            },
            max_batch: PULLED,
            ..pull::OrderedConfig::default()
        };
        let read = |err: async_nats::Error| RetainedError::Read(err);
        let consumer = self
            .stream
            .create_consumer(config)
            .await
            .map_err(|err| read(err.into()))?;
        let mut messages = consumer.messages().await.map_err(|err| read(err.into()))?;
        loop {
            let next = timeout(SILENCE, messages.next()).await;
            let next = next.map_err(|_| self.silent())?;
            let Some(message) = next else {
                return Err(read("the delivery ended".into()));
            };
            let message = message.map_err(|err| read(err.into()))?;
            let waiting = reading.take(&message).await.map_err(read)?;
            if waiting == 0 || reading.is_complete() {
                return Ok(());
            }
        }
    }
}

/// How far the messages are read.
struct Reading {
    /// The sequence from which a new consumer goes on.
    next: u64,
    last: u64,
    /// Messages that are not sent yet, and their bytes as [`WINDOW`] counts them.
    window: Vec<Delivery>,
    bytes: usize,
    taken: Sender<Vec<Delivery>>,
}

impl Reading {
    /// Takes a message, and returns how many follow it, as far as the server of the consumer knows.
    async fn take(&mut self, message: &jetstream::Message) -> Result<u64, async_nats::Error> {
        let (delivery, waiting) = decode(message)?;
        let sequence = delivery.sequence;
        if sequence >= self.next {
            self.next = sequence + 1;
            if sequence <= self.last {
                self.bytes += message.length;
                self.bytes += message::decoded_bytes(&delivery.arrivals, &message.payload);
                self.window.push(delivery);
            }
        }
        if self.window.len() >= WINDOW.0 || self.bytes >= WINDOW.1 {
            self.flush().await;
        }
        Ok(waiting)
    }

    /// Sends the window.
    async fn flush(&mut self) {
        self.bytes = 0;
        // If nobody takes it, the reading is complete.
        let _ = self.taken.send(std::mem::take(&mut self.window)).await;
    }

    /// Whether the last message was read, or nobody takes more.
    fn is_complete(&self) -> bool {
        self.next > self.last || self.taken.is_closed()
    }
}

/// Returns the delivery, and how many messages follow it.
fn decode(message: &jetstream::Message) -> Result<(Delivery, u64), async_nats::Error> {
    let info = message.info()?;
    let time = i64::try_from(info.published.unix_timestamp_nanos()).unwrap_or(i64::MAX);
    let subject = message.subject.to_string();
    let delivery = Delivery {
        arrivals: message::decode(&subject, &message.payload, time),
        subject,
        sequence: info.stream_sequence,
        time,
        senders: batch::senders(message.headers.as_ref()),
    };
    Ok((delivery, info.pending))
}
