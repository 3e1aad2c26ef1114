//! The connection to NATS: opened once, reconnected after every loss, with an observable state.
//!
//! The version of the server is checked after every connect, because a reconnect may reach another server. The client
//! sends its queued messages before that check can finish. Work that depends on the server therefore gets the number of
//! the connection from [`Connection::connected`], and verifies afterwards with [`Connection::is_still`] that the same
//! connection carried it.

mod denials;
mod flags;
mod login;
mod reasons;
mod servers;
#[cfg(test)]
mod tests;
mod tls;
mod version;

use std::{
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use async_nats::{
    Client, ClientError, ConnectErrorKind, Event, Server, Statistics,
    connection::State as ConnectionState, jetstream,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

pub use self::{denials::Denial, flags::Files, servers::Servers};
use self::{denials::Denials, reasons::joined, servers::HostPort};

/// Timeout of an attempt to connect, and of a JetStream request, including the wait for a `PubAck`.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest delay between two attempts to connect, and the delay before an unusable server is disconnected.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(2);

/// How long a lost connection is waited for: a broker ends the connections of a user whose password is replaced, and the client
/// connects again at once.
const RECONNECT_WAIT: Duration = Duration::from_secs(3);

/// Interval between pings. An unresponsive broker is detected after about three intervals.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// The state of the link to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Whether the client is connected to a usable server.
    pub connected: bool,
    /// The number of the last connection to a usable server, or 0 before the first; connections to unusable servers are
    /// numbered too. If this number changes, the broker may be a different one.
    pub connects: u64,
    /// Why there is no connection to a usable server, in human-readable form.
    pub last_error: Option<String>,
    /// Number of lost connections. Connection n is up from the time it is accepted until the n-th loss.
    losses: u64,
    /// When the last connection to a usable server was lost.
    lost_at: Option<Instant>,
}

/// A NATS client with JetStream and the state of its link.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    jetstream: jetstream::Context,
    link: watch::Receiver<Link>,
    denials: watch::Receiver<Denials>,
    statistics: Arc<Statistics>,
    /// The task that checks each server; aborted when the last clone is dropped.
    _checks: Arc<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Starts connecting and returns immediately. Attempts are repeated with increasing delays until one succeeds, and
    /// again after every loss. `name` identifies this client to the broker; its first word is the name of the program, from which
    /// the subjects of its answers follow, see [`inbox_prefix`].
    ///
    /// # Errors
    /// If the options are invalid; never because the broker is unreachable.
    pub async fn open(servers: &Servers, name: &str) -> Result<Self, async_nats::ConnectError> {
        let (sender, link) = watch::channel(Link::default());
        let (denials_sender, denials) = watch::channel(Denials::default());
        let state = LinkState {
            link: sender,
            denials: denials_sender,
            statistics: OnceLock::new(),
            servers: servers.clone(),
        };
        let (state, connected) = (Arc::new(state), Arc::new(Notify::new()));
        let (observer, recorder, on_connect) = (
            Arc::clone(&state),
            Arc::clone(&state),
            Arc::clone(&connected),
        );
        let client = servers
            .options()
            .name(name)
            .custom_inbox_prefix(inbox_prefix(name))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                observer.on_event(&event, &on_connect);
                std::future::ready(())
            })
            // Called before each round of attempts, with the results of earlier ones. `None` leaves the choice of
            // server to the client.
            .reconnect_to_server_callback(move |servers, _| {
                recorder.record_attempts(&servers);
                std::future::ready(None)
            })
            .connect(servers.addresses())
            .await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        state.statistics.get_or_init(|| client.statistics());
        let checks = check(client.clone(), state, connected);
        Ok(Self {
            statistics: client.statistics(),
            client,
            jetstream,
            link,
            denials,
            _checks: Arc::new(AbortOnDropHandle::new(tokio::spawn(checks))),
        })
    }

    /// The client, for flushing and for the server's information.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream over this connection; its requests time out after [`REQUEST_TIMEOUT`].
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The current state of the link.
    #[must_use]
    pub fn link(&self) -> Link {
        let mut link = self.link.borrow().clone();
        link.connected = self.is_up(&link);
        link
    }

    /// Whether the client is connected to a usable server.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.is_up(&self.link.borrow())
    }

    /// Whether the client is connected to a usable server, after waiting for that if the connection was lost less than 3 s ago.
    pub async fn is_connected_soon(&self) -> bool {
        if self.is_connected() {
            return true;
        }
        let mut link = self.link.clone();
        let lost_at = {
            let link = link.borrow();
            // If it counts as connected, the loss has not been reported yet.
            if link.connected {
                Some(Instant::now())
            } else {
                link.lost_at
            }
        };
        let Some(lost_at) = lost_at else {
            return false;
        };
        let up = link.wait_for(|link| self.is_up(link));
        timeout_at(lost_at + RECONNECT_WAIT, up)
            .await
            .is_ok_and(|up| up.is_ok())
    }

    /// The client drops its own events, even [`Event::Disconnected`], when too many are pending, so its state is
    /// checked as well.
    fn is_up(&self, link: &Link) -> bool {
        link.connected
            && self.is_still(link.connects)
            && self.client.connection_state() == ConnectionState::Connected
    }

    /// Whether the connection with this number is still the client's latest. If so, everything received since
    /// [`Self::connected`] returned this number came from the server that was checked.
    #[must_use]
    pub fn is_still(&self, connects: u64) -> bool {
        self.statistics.connects.load(Ordering::Acquire) == connects
    }

    /// Waits until the client is connected to a usable server, and returns the number of the connection.
    pub async fn connected(&self) -> u64 {
        self.wait_for(|link| link.connected).await
    }

    /// Waits until the connection with this number is lost or replaced.
    pub async fn changed_since(&self, connects: u64) {
        if self.is_still(connects) {
            self.wait_for(|link| !link.connected || link.connects != connects)
                .await;
        }
    }

    /// Number of refusals that the broker has reported.
    #[must_use]
    pub fn denials(&self) -> u64 {
        self.denials.borrow().count()
    }

    /// Waits until the broker reports a refusal that matches. The first `since` reports do not count, because permissions can
    /// change during a connection.
    pub async fn denied(&self, since: u64, matches: impl Fn(&Denial) -> bool) -> Denial {
        let mut denials = self.denials.clone();
        loop {
            let connects = self.statistics.connects.load(Ordering::Acquire);
            let found = denials
                .borrow_and_update()
                .find(since, connects, &matches)
                .cloned();
            match found {
                Some(denial) => return denial,
                // As for the link: the sender lives as long as this connection.
                None if denials.changed().await.is_err() => std::future::pending().await,
                None => {}
            }
        }
    }

    /// The result of requests to JetStream, unless the broker reports meanwhile that this user may not make one: then it sends no
    /// answer.
    ///
    /// # Errors
    /// What is not permitted. It may be a request of another task.
    pub async fn permitted<T>(&self, requests: impl Future<Output = T>) -> Result<T, Denial> {
        let since = self.denials();
        tokio::select! {
            biased;
            done = requests => Ok(done),
            denial = self.denied(since, Denial::is_of_request) => Err(denial),
        }
    }

    async fn wait_for(&self, holds: impl FnMut(&Link) -> bool) -> u64 {
        let mut link = self.link.clone();
        let connects = link.wait_for(holds).await.map(|link| link.connects).ok();
        match connects {
            Some(connects) => connects,
            // The sender was dropped with the client, so the state cannot change again. The client is dropped only
            // together with this connection.
            None => std::future::pending().await,
        }
    }
}

/// The subjects on which a program receives answers begin with this, so that a broker can permit it to receive its own and no
/// others: `_INBOX_aggregator` or `_INBOX_publisher`.
fn inbox_prefix(name: &str) -> String {
    let program = name.split(' ').next().unwrap_or(name);
    format!("_INBOX_{program}")
}

fn reconnect_delay(attempts: usize) -> Duration {
    let doubled = Duration::from_millis(50 << attempts.min(6));
    let delay = doubled.min(MAX_RECONNECT_DELAY);
    delay.mul_f64(rand::random_range(0.5..1.0))
}

/// Checks the server of each connection before [`Link::connected`] is set. An unusable server is disconnected after a
/// delay, because another server of the cluster may have a newer version, or the same one may be upgraded.
async fn check(client: Client, state: Arc<LinkState>, connected: Arc<Notify>) {
    let statistics = client.statistics();
    let connects = || statistics.connects.load(Ordering::Acquire);
    loop {
        tokio::select! {
            () = connected.notified() => {}
            () = unanswered(&state, &connects) => {
                // The client subscribes to its answers once for each connection, and permissions may have changed since.
                tokio::time::sleep(MAX_RECONNECT_DELAY).await;
                if client.force_reconnect().await.is_err() {
                    return;
                }
                connected.notified().await;
            }
        }
        let number = connects();
        // The client accepts commands again only after it has recorded the new server's information.
        if client.flush().await.is_err() {
            return;
        }
        let server = client.server_info();
        if connects() != number {
            // Another connection was made meanwhile; its notification is pending or was the one just received.
            connected.notify_one();
            continue;
        }
        match version::check(&server.version) {
            Ok(()) => state.accept(number, &server.version),
            Err(reason) => {
                state.record_failure(reason);
                tokio::select! {
                    () = tokio::time::sleep(MAX_RECONNECT_DELAY) => {
                        // If the connection is already lost, this would disconnect the next server instead.
                        if client.connection_state() == ConnectionState::Connected
                            && client.force_reconnect().await.is_err()
                        {
                            return;
                        }
                    }
                    () = connected.notified() => connected.notify_one(),
                }
            }
        }
    }
}

/// Waits until the broker has refused to send answers on the current connection.
async fn unanswered(state: &LinkState, connects: impl Fn() -> u64) {
    let is_of_answers = |denial: &Denial| matches!(denial, Denial::Subscribe(_));
    let mut denials = state.denials.subscribe();
    let refused =
        denials.wait_for(|denials| denials.find(u64::MAX, connects(), is_of_answers).is_some());
    // The sender is in the state.
    let _ = refused.await;
}

/// The state that the client's callbacks and the version check update.
#[derive(Debug)]
struct LinkState {
    link: watch::Sender<Link>,
    denials: watch::Sender<Denials>,
    /// Set before the first request, and so before anything is refused.
    statistics: OnceLock<Arc<Statistics>>,
    servers: Servers,
}

impl LinkState {
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

    /// Records why there is no connection, and logs the reason if it has changed.
    fn record_failure(&self, reason: String) {
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

    fn on_event(&self, event: &Event, connected: &Notify) {
        match event {
            Event::Connected => connected.notify_one(),
            Event::Disconnected | Event::Closed => {
                self.link.send_modify(|link| {
                    if link.connected {
                        warn!(nats.address = %self.servers, "connection to the broker lost");
                        link.lost_at = Some(Instant::now());
                    }
                    link.losses += 1;
                    link.connected = link.connected && link.connects > link.losses;
                });
            }
            // `record_attempts` reports most of these errors in more detail, but not a host name that cannot be
            // resolved.
            Event::ClientError(ClientError::Other(kind)) => {
                if self.link.borrow().last_error.is_none() {
                    self.record_failure(reasons::plain(kind).to_owned());
                }
            }
            other => {
                let denial = match other {
                    Event::ServerError(err) => Denial::parse(&err.to_string()),
                    _ => None,
                };
                match denial {
                    Some(denial) => self.record_denial(denial),
                    None => {
                        warn!(nats.address = %self.servers, event = %other, "notice from the broker");
                    }
                }
            }
        }
    }

    /// Records what the broker does not permit, and logs it unless it did so before: every message of a stream may be refused.
    fn record_denial(&self, denial: Denial) {
        let statistics = self.statistics.get();
        let connects = statistics.map_or(0, |known| known.connects.load(Ordering::Acquire));
        let text = denial.to_string();
        self.denials.send_modify(|denials| {
            if !denials.contains(&text) {
                warn!(nats.address = %self.servers, "{text}");
            }
            denials.add(denial, connects);
        });
    }

    /// Records why the attempts to connect to these servers failed.
    fn record_attempts(&self, servers: &[Server]) {
        let refusal = ConnectErrorKind::AuthorizationViolation.to_string();
        let mut reasons = Vec::new();
        for server in servers {
            let Some(error) = &server.last_error else {
                continue;
            };
            let mut reason = reasons::plain(error);
            if error.starts_with(&refusal) {
                reason = self.servers.advice_on_login();
            }
            reasons.push((HostPort(&server.addr).to_string(), reason.to_owned()));
        }
        if !reasons.is_empty() {
            self.record_failure(joined(&reasons, servers.len() > 1));
        }
    }
}
