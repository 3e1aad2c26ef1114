//! The messages that the stream has now, read once for a verification. The durable is not touched: they come through a
//! consumer of its own that acks nothing, and that the broker forgets.

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
use tokio::{sync::mpsc::Sender, time::timeout};

use super::durable::{self, OWNER};
use crate::store::Delivery;

/// A broker that does not answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// Messages that are asked for at once; at the broker's largest size these are 64 MB.
const PULLED: i64 = 64;

/// Messages, and bytes of bodies and of what was made of them, that are handed on at once.
const WINDOW: (usize, usize) = (1_000, 4 * 1024 * 1024);

/// Why they cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RetainedError {
    /// Nothing came.
    #[error("the broker at {servers} {}", .reason.as_deref().map_or_else(|| "does not answer".to_owned(), |reason| format!("cannot be used: {reason}")))]
    Silent {
        /// Which broker.
        servers: String,
        /// What is known of the reason.
        reason: Option<String>,
    },
    /// The address is of no use.
    #[error("the broker cannot be connected to: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// The stream is not there, or not as it must be.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The broker says something else than was asked.
    #[error("the messages cannot be read from the broker: {0}")]
    Read(#[source] async_nats::Error),
}

/// The stream and its durable, as they were at the beginning.
#[derive(Debug)]
pub struct Messages {
    servers: String,
    stream: Stream<Info>,
    /// The stream.
    pub state: StreamState,
    /// The durable: which store it is of, as its description begins, and up to where all is acked.
    acked: Option<(String, u64)>,
}

impl Messages {
    /// Asks the broker.
    ///
    /// # Errors
    /// As [`RetainedError`] tells.
    pub async fn meet(
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
        let stream = stream::get(connection.jetstream(), stream).await?;
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

    /// All messages up to this sequence were acked by this store; 0 where the durable is not there or another store's.
    #[must_use]
    pub fn acked_by(&self, store_id: &str) -> u64 {
        let acked = self.acked.as_ref().filter(|(description, _)| {
            let owner = description.strip_prefix(OWNER);
            owner.is_some_and(|owner| owner.starts_with(store_id))
        });
        acked.map_or(0, |(_, floor)| *floor)
    }

    /// Reads the messages up to the sequence `last` and hands them on, decoded, in their order. Ends early where nobody
    /// takes them.
    ///
    /// # Errors
    /// As [`RetainedError`] tells.
    pub async fn read(&self, last: u64, taken: Sender<Vec<Delivery>>) -> Result<(), RetainedError> {
        if self.state.messages == 0 || self.state.first > last {
            return Ok(());
        }
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.state.first.max(1),
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
        let mut window = Vec::new();
        let mut bytes = 0;
        loop {
            let next = timeout(PATIENCE, messages.next()).await;
            let next = next.map_err(|_| RetainedError::Silent {
                servers: self.servers.clone(),
                reason: None,
            })?;
            let Some(message) = next else {
                return Err(read("the delivery ended".into()));
            };
            let message = message.map_err(|err| read(err.into()))?;
            let (delivery, waiting) = decode(&message).map_err(read)?;
            let sequence = delivery.sequence;
            if sequence <= last {
                bytes += message.length;
                bytes += message::decoded_bytes(&delivery.arrivals, &message.payload);
                window.push(delivery);
            }
            let is_end = sequence >= last || waiting == 0;
            if is_end || window.len() >= WINDOW.0 || bytes >= WINDOW.1 {
                bytes = 0;
                let is_taken = taken.send(std::mem::take(&mut window)).await.is_ok();
                if is_end || !is_taken {
                    return Ok(());
                }
            }
        }
    }
}

/// The delivery, and how many messages are behind it.
fn decode(message: &jetstream::Message) -> Result<(Delivery, u64), async_nats::Error> {
    let info = message.info()?;
    let time = i64::try_from(info.published.unix_timestamp_nanos()).unwrap_or(i64::MAX);
    let subject = message.subject.to_string();
    let delivery = Delivery {
        arrivals: message::decode(&subject, &message.payload, time),
        subject,
        sequence: info.stream_sequence,
        time,
    };
    Ok((delivery, info.pending))
}
