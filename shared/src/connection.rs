//! The connection to NATS: made once, kept for ever, its state watched by those who depend on it.

use std::time::Duration;

pub use async_nats::ServerAddr;
use async_nats::{Client, ConnectOptions, Event, jetstream};
use tokio::sync::watch;
use tracing::{info, warn};

/// How long a JetStream request, a `PubAck` included, may take before it counts as unanswered.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest pause between two attempts to connect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// A silent broker is noticed after about three of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// What is known of the link to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Whether the broker can be talked to now.
    pub connected: bool,
    /// How often it was connected; a change means that the broker may be another than before.
    pub connects: u64,
    /// What the last failed attempt said, for people.
    pub last_error: Option<String>,
}

/// A NATS client with JetStream and the state of its link.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    jetstream: jetstream::Context,
    link: watch::Receiver<Link>,
}

/// Checks a NATS address as settings give it, such as `nats://127.0.0.1:4222`.
///
/// # Errors
/// A sentence for people where it is no address.
pub fn parse_url(text: &str) -> Result<ServerAddr, String> {
    text.parse().map_err(|err: std::io::Error| {
        format!("no NATS address ({err}); one is nats://127.0.0.1:4222")
    })
}

impl Connection {
    /// Starts to connect and returns at once; attempts go on, with a growing pause, until one succeeds,
    /// and again after every loss.
    ///
    /// # Errors
    /// Where the options themselves are unusable; never because the broker is away.
    pub async fn open(address: &ServerAddr, name: &str) -> Result<Self, async_nats::ConnectError> {
        let (state, link) = watch::channel(Link::default());
        let shown = format!("{}:{}", address.host(), address.port());
        let client = ConnectOptions::new()
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                observe(&state, &event, &shown);
                std::future::ready(())
            })
            .connect(address.clone())
            .await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        Ok(Self {
            client,
            jetstream,
            link,
        })
    }

    /// The client, for flushing and for what the broker said of itself.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream over this connection; its requests time out after [`REQUEST_TIMEOUT`].
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The state of the link now.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.borrow().clone()
    }

    /// Whether the broker can be talked to now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.link.borrow().connected
    }

    /// Waits until the broker can be talked to and returns how often it was connected by then.
    pub async fn connected(&self) -> u64 {
        self.wait_for(|link| link.connected).await
    }

    /// Waits until the link was lost, or made anew, since it had been connected `connects` times.
    pub async fn changed_since(&self, connects: u64) {
        self.wait_for(|link| !link.connected || link.connects != connects)
            .await;
    }

    async fn wait_for(&self, holds: impl FnMut(&Link) -> bool) -> u64 {
        let mut link = self.link.clone();
        let connects = link.wait_for(holds).await.map(|link| link.connects).ok();
        match connects {
            Some(connects) => connects,
            // The client is gone, and with it any change; it goes only with this connection.
            None => std::future::pending().await,
        }
    }
}

fn reconnect_delay(attempts: usize) -> Duration {
    let doubled = Duration::from_millis(50 << attempts.min(6));
    let delay = doubled.min(MAX_RECONNECT_DELAY);
    delay.mul_f64(rand::random_range(0.5..1.0))
}

fn observe(state: &watch::Sender<Link>, event: &Event, address: &str) {
    match event {
        Event::Connected => {
            info!(nats.address = address, "connected to the broker");
            state.send_modify(|link| {
                link.connected = true;
                link.connects += 1;
                link.last_error = None;
            });
        }
        Event::Disconnected | Event::Closed => {
            warn!(nats.address = address, "connection to the broker lost");
            state.send_modify(|link| link.connected = false);
        }
        Event::ClientError(err) => {
            let text = err.to_string();
            state.send_modify(|link| {
                if link.last_error.as_deref() != Some(&text) {
                    warn!(
                        nats.address = address,
                        error = text,
                        "cannot reach the broker yet"
                    );
                }
                link.last_error = Some(text);
            });
        }
        other => warn!(nats.address = address, event = %other, "notice from the broker"),
    }
}
