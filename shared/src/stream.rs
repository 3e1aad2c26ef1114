//! The stream contract: the configuration of the stream, its creation, and the conditions under which it can be used.

mod cluster;
mod contract;
mod size;

use std::{error::Error, time::Duration};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{
        ConsumerInfoErrorKind, GetStreamError, GetStreamErrorKind, RequestError, RequestErrorKind,
    },
    stream::{
        Config, DiscardPolicy, Info, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
    },
};
use tracing::info;

pub use self::cluster::{ClusterError, missing_replicas, reason};
pub use self::size::{is_above, is_below, most_held, resize};
use crate::connection::{Connection, Denial};

/// The default name of the stream.
pub const DEFAULT_NAME: &str = "EVENTS";

/// The subjects of the stream: see [`crate::subject`].
pub const SUBJECTS: [&str; 2] = ["events", "events.>"];

/// The subjects of a stream that an earlier version created.
const EARLIER_SUBJECTS: [&str; 1] = ["events.>"];

/// How long the broker remembers a `Nats-Msg-Id`.
pub const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// How long the publishing client retries a message after an attempt with an unknown outcome. The broker remembers the message's
/// id for [`DUPLICATE_WINDOW`] after storing it, and the last attempt must end well before. A stream whose window is shorter than
/// this is refused.
pub const UNCONFIRMED_AFTER: Duration = Duration::from_secs(90);

/// The size up to which the stream must accept messages, in bytes: the default of the broker's limit, `max_payload`.
/// The services send no larger ones; other NATS clients may.
pub const LARGEST_MESSAGE: usize = 1024 * 1024;

/// The configurable settings of the stream.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the stream.
    pub name: String,
    /// The largest size in bytes; when the stream is full, publishing is refused.
    pub max_bytes: i64,
    /// The number of servers that keep a copy.
    pub replicas: usize,
}

impl Settings {
    fn config(&self) -> Config {
        Config {
            name: self.name.clone(),
            subjects: SUBJECTS.map(str::to_owned).to_vec(),
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

/// The state of the stream at one moment, as the broker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// The name of the stream.
    pub name: String,
    /// The time of creation, in nanoseconds since 1970.
    pub created: i64,
    /// The first sequence still in the stream; one more than the last if the stream is empty. A new stream may report
    /// 0.
    pub first: u64,
    /// The last sequence assigned.
    pub last: u64,
    /// Number of messages in the stream.
    pub messages: u64,
    /// Bytes of the messages on disk.
    pub bytes: u64,
}

impl StreamState {
    /// Converts the client's information.
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

/// The sequences between the stream's first and last that are missing, in ascending order: those of messages deleted
/// individually or by subject.
///
/// # Errors
/// [`StreamError::Broker`].
pub async fn deleted(stream: &Stream<Info>) -> Result<Vec<u64>, StreamError> {
    if stream.cached_info().state.deleted_count.unwrap_or(0) == 0 {
        return Ok(Vec::new());
    }
    let info = stream.info_builder().with_deleted(true).fetch().await;
    let info = info.map_err(StreamError::of_request)?;
    Ok(info.info.state.deleted.unwrap_or_default())
}

/// The time at which the stream stored the message with this sequence, in nanoseconds since 1970; `None` if the stream
/// does not have it.
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
        Err(err) => Err(StreamError::of_request(err)),
    }
}

/// Why the stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The stream has not been created yet.
    #[error("stream {0} does not exist yet; the aggregator creates it")]
    Missing(String),
    /// The stream has the subjects of an earlier version.
    #[error(
        "stream {0} does not accept messages on the subject events yet; the aggregator of this version adds it"
    )]
    Outdated(String),
    /// The stream exists with a configuration that would lose events.
    #[error(
        "stream {stream} has {field} {found}, but it must be {wanted}; change it or use another stream"
    )]
    Unusable {
        /// The name of the stream.
        stream: String,
        /// The field of the configuration.
        field: &'static str,
        /// The configured value.
        found: String,
        /// The required value.
        wanted: String,
    },
    /// The broker is reachable, but JetStream does not respond.
    #[error(
        "JetStream does not respond: it is disabled, still starting, out of disk space, or not permitted for this user"
    )]
    NoJetStream,
    /// The user may not make the request.
    #[error("{0}; permit it")]
    Denied(Denial),
    /// The cluster of the broker does not do what was requested.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The request failed; a retry may succeed.
    #[error("a stream request to the broker failed: {0}")]
    Broker(#[source] async_nats::Error),
}

impl StreamError {
    /// A failed request.
    pub fn of_request(err: impl Into<async_nats::Error>) -> Self {
        let err = err.into();
        ClusterError::of(&*err).map_or_else(|| Self::Broker(err), Self::Cluster)
    }

    /// Whether the error persists until an operator changes the configuration.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Unusable { .. } | Self::Cluster(ClusterError::NoCluster)
        )
    }
}

/// Gets the stream, creates it if it does not exist, and checks it. The subjects of an earlier version are replaced. The size
/// and replicas of an existing stream are not changed; see [`resize`].
///
/// # Errors
/// Any [`StreamError`] except [`StreamError::Missing`] and [`StreamError::Outdated`].
pub async fn ensure(
    jetstream: &jetstream::Context,
    settings: &Settings,
) -> Result<Stream<Info>, StreamError> {
    match get(jetstream, &settings.name).await {
        Err(StreamError::Missing(_)) => {
            let created = jetstream.create_stream(settings.config()).await;
            let stream = created.map_err(StreamError::of_request)?;
            check(stream.cached_info())?;
            Ok(stream)
        }
        Err(StreamError::Outdated(_)) => {
            let found = jetstream.get_stream(&settings.name).await;
            let found = found.map_err(stream_error)?;
            let wanted = Config {
                subjects: SUBJECTS.map(str::to_owned).to_vec(),
                ..found.cached_info().config.clone()
            };
            let updated = jetstream.update_stream(&wanted).await;
            updated.map_err(StreamError::of_request)?;
            info!(
                stream.name = settings.name,
                stream.subjects = SUBJECTS.join(","),
                "updated the stream"
            );
            get(jetstream, &settings.name).await
        }
        found => found,
    }
}

/// Checks that under the stream's configuration, no confirmed event can be lost or changed.
///
/// # Errors
/// [`StreamError::Unusable`].
pub fn check(info: &Info) -> Result<(), StreamError> {
    contract::check(&info.config)
}

/// Gets the stream and checks it.
///
/// # Errors
/// Any [`StreamError`].
pub async fn get(jetstream: &jetstream::Context, name: &str) -> Result<Stream<Info>, StreamError> {
    match jetstream.get_stream(name).await {
        Ok(stream) => {
            check(stream.cached_info())?;
            Ok(stream)
        }
        Err(err) if is_missing(&err) => Err(StreamError::Missing(name.to_owned())),
        Err(err) => Err(stream_error(err)),
    }
}

/// Gets the current state of the stream.
///
/// # Errors
/// Any [`StreamError`].
pub async fn state(connection: &Connection, name: &str) -> Result<StreamState, StreamError> {
    let stream = connection.permitted(get(connection.jetstream(), name));
    let stream = stream.await.map_err(StreamError::Denied)??;
    Ok(StreamState::of(stream.cached_info()))
}

/// The state of a durable consumer at one moment, as the broker reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableState {
    /// The stream sequence up to which all messages are acked.
    pub ack_floor: u64,
    /// Messages delivered but not acked.
    pub unacked: u64,
    /// Messages not delivered yet.
    pub undelivered: u64,
}

/// The state of a stream and of one of its consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The stream.
    pub stream: StreamState,
    /// The durable consumer; `None` if the stream has no consumer of that name.
    pub durable: Option<DurableState>,
}

/// Gets the current state of the stream and of one of its durable consumers.
///
/// # Errors
/// Any [`StreamError`].
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
        Err(err) => return Err(StreamError::of_request(err)),
    };
    Ok(Standing {
        stream: StreamState::of(stream.cached_info()),
        durable,
    })
}

fn stream_error(err: GetStreamError) -> StreamError {
    let cause = err
        .source()
        .and_then(|cause| cause.downcast_ref::<RequestError>());
    match cause.map(RequestError::kind) {
        Some(RequestErrorKind::NoResponders) => StreamError::NoJetStream,
        _ => StreamError::of_request(err),
    }
}

fn is_missing(err: &GetStreamError) -> bool {
    matches!(err.kind(), GetStreamErrorKind::JetStream(err) if err.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
