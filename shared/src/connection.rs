//! The connection to NATS: made once, kept for ever, its state watched by those who depend on it.
//!
//! A server is used only after its version was checked, on every connect: a reconnect may reach another server, and the
//! client sends what it has queued before anybody can look. So what depends on the server takes the number of the
//! connection from [`Connection::connected`], and after the work asks [`Connection::is_still`] whether that connection
//! carried it.

mod servers;
#[cfg(test)]
mod tests;
mod version;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{
    Client, ClientError, ConnectErrorKind, Event, Server, Statistics,
    connection::State as ConnectionState, jetstream,
};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

pub use self::servers::Servers;
use self::servers::Shown;

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
    /// The number of the last connection to a server that can be used; a change means that the broker may be another
    /// than before.
    pub connects: u64,
    /// Why there is no connection, for people.
    pub last_error: Option<String>,
    /// How many connections were lost. The one with the number n is up from when it is accepted to the n-th loss.
    losses: u64,
}

/// A NATS client with JetStream and the state of its link.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    jetstream: jetstream::Context,
    link: watch::Receiver<Link>,
    statistics: Arc<Statistics>,
    /// Ends with the last of these.
    _checks: Arc<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Starts to connect and returns at once; attempts go on, with a growing pause, until one succeeds,
    /// and again after every loss.
    ///
    /// # Errors
    /// Where the options themselves are unusable; never because the broker is away.
    pub async fn open(servers: &Servers, name: &str) -> Result<Self, async_nats::ConnectError> {
        let (sender, link) = watch::channel(Link::default());
        let state = State {
            link: sender,
            servers: servers.clone(),
        };
        let (state, arrived) = (Arc::new(state), Arc::new(Notify::new()));
        let (seen, failed, arrival) =
            (Arc::clone(&state), Arc::clone(&state), Arc::clone(&arrived));
        let client = servers
            .options()
            .name(name)
            .retry_on_initial_connect()
            .max_reconnects(None)
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                seen.observe(&event, &arrival);
                std::future::ready(())
            })
            // Asked before each attempt, with what became of those before; the choice is left to the client.
            .reconnect_to_server_callback(move |servers, _| {
                failed.explain(&servers);
                std::future::ready(None)
            })
            .connect(servers.addresses())
            .await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        let checks = check(client.clone(), state, arrived);
        Ok(Self {
            statistics: client.statistics(),
            client,
            jetstream,
            link,
            _checks: Arc::new(AbortOnDropHandle::new(tokio::spawn(checks))),
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
        let mut link = self.link.borrow().clone();
        link.connected = self.is_up(&link);
        link
    }

    /// Whether the broker can be talked to now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.is_up(&self.link.borrow())
    }

    /// The client drops its events while too many wait to be seen, also that a connection was lost; its own state is right
    /// even then.
    fn is_up(&self, link: &Link) -> bool {
        link.connected
            && self.is_still(link.connects)
            && self.client.connection_state() == ConnectionState::Connected
    }

    /// Whether the client has made no other connection since the one with this number: what came until now came
    /// from the server that was checked then.
    #[must_use]
    pub fn is_still(&self, connects: u64) -> bool {
        self.statistics.connects.load(Ordering::Acquire) == connects
    }

    /// Waits until the broker can be talked to and returns the number of the connection.
    pub async fn connected(&self) -> u64 {
        self.wait_for(|link| link.connected).await
    }

    /// Waits until the connection with this number was lost.
    pub async fn changed_since(&self, connects: u64) {
        if self.is_still(connects) {
            self.wait_for(|link| !link.connected || link.connects != connects)
                .await;
        }
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

/// Checks the server of each connection before it is used. One that cannot be used is left after a pause: another server
/// of the broker may be a later version, or the same one later.
async fn check(client: Client, state: Arc<State>, arrived: Arc<Notify>) {
    let statistics = client.statistics();
    let connects = || statistics.connects.load(Ordering::Acquire);
    loop {
        arrived.notified().await;
        let number = connects();
        // The client takes commands again only after it has noted what the new server states of itself.
        if client.flush().await.is_err() {
            return;
        }
        let server = client.server_info();
        if connects() != number {
            // It is yet another one, whose arrival is still to come or was the one just seen.
            arrived.notify_one();
            continue;
        }
        match version::check(&server.version) {
            Ok(()) => state.accept(number, &server.version),
            Err(reason) => {
                state.fails(reason);
                tokio::select! {
                    () = tokio::time::sleep(MAX_RECONNECT_DELAY) => {
                        // Where it is lost already, the client would leave the next server for it.
                        if client.connection_state() == ConnectionState::Connected
                            && client.force_reconnect().await.is_err()
                        {
                            return;
                        }
                    }
                    () = arrived.notified() => arrived.notify_one(),
                }
            }
        }
    }
}

/// What the client's callbacks and the check write.
#[derive(Debug)]
struct State {
    link: watch::Sender<Link>,
    servers: Servers,
}

impl State {
    fn accept(&self, number: u64, version: &str) {
        self.link.send_if_modified(|link| {
            if link.connects == number {
                return false;
            }
            info!(
                nats.address = %self.servers,
                nats.version = version,
                "connected to the broker"
            );
            link.connects = number;
            link.connected = number > link.losses;
            link.last_error = None;
            true
        });
    }

    /// Keeps why there is no connection, and says it where it is another reason than before.
    fn fails(&self, reason: String) {
        self.link.send_if_modified(|link| {
            if link.last_error.as_ref() == Some(&reason) {
                return false;
            }
            warn!(
                nats.address = %self.servers,
                error = reason,
                "cannot use the broker yet"
            );
            link.last_error = Some(reason);
            true
        });
    }

    fn observe(&self, event: &Event, arrived: &Notify) {
        match event {
            Event::Connected => arrived.notify_one(),
            Event::Disconnected | Event::Closed => {
                self.link.send_modify(|link| {
                    if link.connected {
                        warn!(nats.address = %self.servers, "connection to the broker lost");
                    }
                    link.losses += 1;
                    link.connected = link.connected && link.connects > link.losses;
                });
            }
            // Most come with more detail to `explain`, which leaves this for a name that cannot be resolved.
            Event::ClientError(ClientError::Other(kind)) => {
                if self.link.borrow().last_error.is_none() {
                    self.fails(kind.clone());
                }
            }
            other => warn!(nats.address = %self.servers, event = %other, "notice from the broker"),
        }
    }

    /// Takes note of why the attempts to connect to these servers failed.
    fn explain(&self, servers: &[Server]) {
        let refusal = ConnectErrorKind::AuthorizationViolation.to_string();
        let mut reasons = Vec::new();
        for server in servers {
            let Some(error) = &server.last_error else {
                continue;
            };
            let mut reason = error.as_str();
            if error.starts_with(&refusal) {
                reason = self.servers.advice_on_login();
            }
            let shown = Shown(&server.addr);
            reasons.push(match servers.len() {
                1 => reason.to_owned(),
                _ => format!("{shown}: {reason}"),
            });
        }
        if !reasons.is_empty() {
            self.fails(reasons.join("; "));
        }
    }
}
