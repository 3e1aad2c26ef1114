//! The stream contract: how the stream is configured, who creates it, and what must be so for it to be used.

mod contract;
mod size;

use async_nats::jetstream::{
    self, ErrorCode,
    context::{
        ConsumerInfoErrorKind, GetStreamError, GetStreamErrorKind, RequestError, RequestErrorKind,
    },
    stream::{
        Config, DiscardPolicy, Info, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
    },
};
use std::{error::Error, time::Duration};

pub use self::size::{is_above, is_below, most_held, resize};
use crate::connection::Connection;

/// The stream's name, unless settings say otherwise.
pub const DEFAULT_NAME: &str = "EVENTS";

/// All subjects of the stream.
pub const SUBJECTS: &str = "events.>";

/// How long the broker remembers a `Nats-Msg-Id`.
pub const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// The largest message that the stream must have room for, in bytes: the broker's own default limit, `max_payload`. The
/// services send at most one event of 512 KiB with its headers; other NATS clients may send larger messages.
pub const LARGEST_MESSAGE: usize = 1024 * 1024;

/// What settings decide about the stream.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Its largest size in bytes; when it is full, publishing is refused.
    pub max_bytes: i64,
    /// How many servers keep a copy.
    pub replicas: usize,
}

impl Settings {
    fn config(&self) -> Config {
        Config {
            name: self.name.clone(),
            subjects: vec![SUBJECTS.to_owned()],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_bytes: self.max_bytes,
            max_messages: -1,
            max_messages_per_subject: -1,
            num_replicas: self.replicas,
            duplicate_window: DUPLICATE_WINDOW,
            description: Some("events on their way to the aggregator".to_owned()),
            ..Config::default()
        }
    }
}

/// What the broker says of the stream at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Its name.
    pub name: String,
    /// When it was created, in nanoseconds since 1970.
    pub created: i64,
    /// The first sequence that it still has; one more than the last where it has none.
    pub first: u64,
    /// The last sequence that it gave out.
    pub last: u64,
    /// Messages that it has.
    pub messages: u64,
    /// Bytes that they take on disk.
    pub bytes: u64,
}

impl StreamState {
    /// In the words of this crate.
    #[must_use]
    pub fn of(info: &Info) -> Self {
        let created = info.created.unix_timestamp_nanos();
        Self {
            name: info.config.name.clone(),
            created: i64::try_from(created).unwrap_or(i64::MAX),
            first: info.state.first_sequence,
            last: info.state.last_sequence,
            messages: info.state.messages,
            bytes: info.state.bytes,
        }
    }
}

/// The sequences between the stream's first and its last that it does not have, in rising order: messages that were
/// deleted one by one, by hand, or by subject.
///
/// # Errors
/// [`StreamError::Broker`].
pub async fn deleted(stream: &Stream<Info>) -> Result<Vec<u64>, StreamError> {
    if stream.cached_info().state.deleted_count.unwrap_or(0) == 0 {
        return Ok(Vec::new());
    }
    let info = stream.info_builder().with_deleted(true).fetch().await;
    let info = info.map_err(|err| StreamError::Broker(err.into()))?;
    Ok(info.info.state.deleted.unwrap_or_default())
}

/// When the stream took the message of a sequence, in nanoseconds since 1970; none where it does not have it.
///
/// # Errors
/// [`StreamError::Broker`].
pub async fn time_of(stream: &Stream<Info>, sequence: u64) -> Result<Option<i64>, StreamError> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => {
            let time = message.time.unix_timestamp_nanos();
            Ok(Some(i64::try_from(time).unwrap_or(i64::MAX)))
        }
        Err(err) if matches!(err.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(err) => Err(StreamError::Broker(err.into())),
    }
}

/// Why the stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Nobody has created it yet.
    #[error("stream {0} does not exist yet; the aggregator creates it")]
    Missing(String),
    /// It exists with a configuration that would lose events.
    #[error(
        "stream {stream} has {field} {found}, which must be {wanted}; change it, or name another stream"
    )]
    Unusable {
        /// Its name.
        stream: String,
        /// What of its configuration.
        field: &'static str,
        /// As the broker has it.
        found: String,
        /// As it must be.
        wanted: String,
    },
    /// The broker is there, and its JetStream is not.
    #[error(
        "the broker does not answer for JetStream: it is switched off, starting, without room on its disk, or out of reach for this user"
    )]
    NoJetStream,
    /// The broker did not do what was asked; it may later.
    #[error("the stream cannot be had from the broker: {0}")]
    Broker(#[source] async_nats::Error),
}

impl StreamError {
    /// Whether only a person can mend it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Unusable { .. })
    }
}

/// The stream, created where it does not exist, and checked. Its size and replicas stay as they are; see [`resize`].
///
/// # Errors
/// As [`StreamError`] tells.
pub async fn ensure(
    jetstream: &jetstream::Context,
    settings: &Settings,
) -> Result<Stream<Info>, StreamError> {
    match get(jetstream, &settings.name).await {
        Err(StreamError::Missing(_)) => {
            let created = jetstream.create_stream(settings.config()).await;
            let stream = created.map_err(|err| StreamError::Broker(err.into()))?;
            check(stream.cached_info())?;
            Ok(stream)
        }
        found => found,
    }
}

/// Checks the configuration of a stream: that no confirmed event is lost or changed.
///
/// # Errors
/// [`StreamError::Unusable`].
pub fn check(info: &Info) -> Result<(), StreamError> {
    contract::check(&info.config)
}

/// The stream as it is now, checked.
///
/// # Errors
/// As [`StreamError`] tells.
pub async fn get(jetstream: &jetstream::Context, name: &str) -> Result<Stream<Info>, StreamError> {
    match jetstream.get_stream(name).await {
        Ok(stream) => {
            check(stream.cached_info())?;
            Ok(stream)
        }
        Err(err) if is_missing(&err) => Err(StreamError::Missing(name.to_owned())),
        Err(err) => Err(not_had(err)),
    }
}

/// The state of the stream now.
///
/// # Errors
/// As [`StreamError`] tells.
pub async fn state(connection: &Connection, name: &str) -> Result<StreamState, StreamError> {
    let stream = get(connection.jetstream(), name).await?;
    Ok(StreamState::of(stream.cached_info()))
}

/// What the broker says of a durable consumer at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableState {
    /// The stream sequence up to which it has all acks.
    pub ack_floor: u64,
    /// Messages that it has given out and that were not acked.
    pub unacked: u64,
    /// Messages that it has not given out.
    pub undelivered: u64,
}

/// How far a stream and its consumer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The stream.
    pub stream: StreamState,
    /// The durable consumer; none where the stream has none of that name.
    pub durable: Option<DurableState>,
}

/// The state of the stream and of one of its durable consumers now.
///
/// # Errors
/// As [`StreamError`] tells.
pub async fn standing(
    connection: &Connection,
    name: &str,
    durable: &str,
) -> Result<Standing, StreamError> {
    let stream = get(connection.jetstream(), name).await?;
    let durable = match stream.consumer_info(durable).await {
        Ok(info) => Some(DurableState {
            ack_floor: info.ack_floor.stream_sequence,
            unacked: info.num_ack_pending as u64,
            undelivered: info.num_pending,
        }),
        Err(err) if matches!(err.kind(), ConsumerInfoErrorKind::NotFound) => None,
        Err(err) => return Err(StreamError::Broker(err.into())),
    };
    Ok(Standing {
        stream: StreamState::of(stream.cached_info()),
        durable,
    })
}

fn not_had(err: GetStreamError) -> StreamError {
    let cause = err
        .source()
        .and_then(|cause| cause.downcast_ref::<RequestError>());
    match cause.map(RequestError::kind) {
        Some(RequestErrorKind::NoResponders) => StreamError::NoJetStream,
        _ => StreamError::Broker(err.into()),
    }
}

fn is_missing(err: &GetStreamError) -> bool {
    matches!(err.kind(), GetStreamErrorKind::JetStream(err) if err.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
