//! The broker, the stream and the durable as they are, without changing anything: for `aggregator doctor`.

use std::time::{Duration, Instant};

use async_nats::jetstream::{ErrorCode, response::Response, stream::Info};
use serde_json::{Value, json};
use shared::{
    connection::{Connection, Servers},
    stream::{self, LARGEST_MESSAGE},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::timeout;

use super::durable::OWNER;
use crate::clock;

/// How long the broker may take to accept the connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The broker with what it holds for a store.
#[derive(Debug)]
pub struct Survey {
    /// Its addresses, without credentials.
    pub servers: String,
    /// The server's name, version and limits.
    pub server: Value,
    /// The stream as the broker describes it, or why it could not be read.
    pub stream: Result<Value, String>,
    /// Why the stream's configuration cannot be used, if it exists.
    pub mismatch: Option<String>,
    /// Which replicas of the stream are not reachable.
    pub missing_replicas: Option<String>,
    /// The durable as the broker describes it, or why it could not be read.
    pub durable: Result<Value, String>,
    /// The broker's clock; `None` if it does not give its time.
    pub clock: Option<Reading>,
}

/// Another clock, read at some moment between two moments of this machine's clock, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// What the other clock showed.
    pub theirs: i64,
    /// This machine's clock in the middle of the two moments.
    pub ours: i64,
    /// Half of the time between them.
    pub within: i64,
}

impl Reading {
    /// The reading of a clock whose time arrived in the response to a request. `asked` is the moment of the request on
    /// the monotonic clock.
    #[must_use]
    pub fn now(theirs: i64, asked: Instant) -> Self {
        let within = i64::try_from(asked.elapsed().as_micros() / 2).unwrap_or(i64::MAX);
        Self {
            theirs,
            ours: clock::now_micros().saturating_sub(within),
            within,
        }
    }
}

impl Survey {
    /// Connects to the broker and asks it.
    ///
    /// # Errors
    /// Why there is no usable broker at these addresses.
    pub async fn of(servers: &Servers, stream: &str, durable: &str) -> Result<Self, String> {
        let connection = Connection::open(servers, "aggregator doctor").await;
        let connection = connection.map_err(|err| err.to_string())?;
        if timeout(PATIENCE, connection.connected()).await.is_err() {
            let reason = connection.link().last_error;
            return Err(reason.unwrap_or_else(|| "it does not answer".to_owned()));
        }
        let server = connection.client().server_info();
        let asked = Instant::now();
        let found = request(&connection, &format!("STREAM.INFO.{stream}")).await;
        let clock = found.as_ref().ok().and_then(|found| {
            let time = OffsetDateTime::parse(found["ts"].as_str()?, &Rfc3339).ok()?;
            let time = i64::try_from(time.unix_timestamp_nanos() / 1_000).ok()?;
            Some(Reading::now(time, asked))
        });
        let info = found.as_ref().ok();
        let info: Option<Result<Info, _>> = info.map(|found| serde_json::from_value(found.clone()));
        let mismatch = info.as_ref().and_then(|info| {
            let checked = match info {
                Ok(info) => stream::check(info).map_err(|err| err.to_string()),
                Err(err) => Err(err.to_string()),
            };
            checked.err()
        });
        let missing_replicas = info
            .and_then(Result::ok)
            .and_then(|info| stream::missing_replicas(&info));
        Ok(Self {
            servers: servers.to_string(),
            server: json!({
                "name": server.server_name,
                "version": server.version,
                "cluster": server.cluster,
                "max_payload": server.max_payload,
            }),
            durable: request(&connection, &format!("CONSUMER.INFO.{stream}.{durable}")).await,
            stream: found,
            mismatch,
            missing_replicas,
            clock,
        })
    }

    /// Whether the broker accepts messages of every size that the services send.
    #[must_use]
    pub fn accepts_all_sizes(&self) -> bool {
        self.server["max_payload"]
            .as_u64()
            .is_none_or(|bytes| bytes >= LARGEST_MESSAGE as u64)
    }

    /// The id of the store that the durable belongs to.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        let durable = self.durable.as_ref().ok()?;
        let description = durable["config"]["description"].as_str()?;
        description.strip_prefix(OWNER)?.split(' ').next()
    }
}

/// What JetStream says about one of its resources.
async fn request(connection: &Connection, subject: &str) -> Result<Value, String> {
    let nothing = json!({});
    let jetstream = connection.jetstream();
    let response = jetstream.request(subject.to_owned(), &nothing);
    let answered = connection.permitted(response).await;
    match answered.map_err(|denial| denial.to_string())? {
        Ok(Response::Ok(found)) => Ok(found),
        Ok(Response::Err { error }) => Err(match error.error_code() {
            ErrorCode::STREAM_NOT_FOUND | ErrorCode::CONSUMER_NOT_FOUND => {
                "it does not exist".to_owned()
            }
            _ => error.to_string(),
        }),
        Err(err) => Err(format!("JetStream does not respond: {err}")),
    }
}
