//! The durable consumer on the broker: which store owns it, and whether it agrees with the store's position.

mod agreement;

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    consumer::{AckPolicy, Consumer, DeliverPolicy, Info, ReplayPolicy, pull},
    context::{ConsumerInfoError, ConsumerInfoErrorKind},
    stream::{ConsumerCreateStrictErrorKind, ConsumerError, ConsumerErrorKind, Stream},
};
use tokio::time::{Instant, sleep};
use tracing::info;

use self::agreement::{DurableAction, Ownership, owner, required_action, shared_action};
use super::SessionError;
use crate::store::{Position, Writer};

/// How a durable is used: by one aggregator, or by several that share a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Alone,
    Shared,
}

impl Use {
    /// That of a store.
    pub fn of(writer: &Writer) -> Self {
        if writer.is_shared() {
            Self::Shared
        } else {
            Self::Alone
        }
    }

    /// The broker redelivers a message that is not acked within this time. Shared, it is how long the others wait for the messages of
    /// an aggregator that was killed; alone, a new session does not wait, because it makes the durable again.
    pub const fn ack_wait(self) -> Duration {
        match self {
            Self::Alone => Duration::from_mins(1),
            Self::Shared => Duration::from_secs(15),
        }
    }

    /// How often the broker is notified that deliveries are still being processed: well within the ack wait.
    pub const fn progress(self) -> Duration {
        match self {
            Self::Alone => Duration::from_secs(20),
            Self::Shared => Duration::from_secs(5),
        }
    }

    /// Messages per pull request; up to twice as many are ahead. Small messages need many, or each request would return only a few events.
    /// Shared, all of them must be appended within the ack wait, or others receive them, too.
    pub const fn pull_messages(self) -> usize {
        match self {
            Self::Alone => 2_000,
            Self::Shared => 500,
        }
    }

    /// Messages that may be delivered and not acked. For one aggregator more than the byte limits allow at one event per message;
    /// shared, for five of them.
    const fn max_ack_pending(self) -> i64 {
        match self {
            Self::Alone => 20_000,
            Self::Shared => 100_000,
        }
    }
}

const _: () = assert!(Use::Alone.progress().as_secs() * 2 < Use::Alone.ack_wait().as_secs());
const _: () = assert!(Use::Shared.progress().as_secs() * 2 < Use::Shared.ack_wait().as_secs());

/// The lease on making, changing and deleting a shared durable.
const LEASE: &str = "durable";

/// How long it is held at most: longer than the requests to the broker that it covers take until they fail.
const LEASE_SECONDS: f64 = 60.0;

/// How long an aggregator waits for the one that has it before it reports that: making a durable takes milliseconds, and when several
/// aggregators start at once, all but one of them wait.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks whether it need not wait any longer.
const LEASE_PAUSE: Duration = Duration::from_millis(50);

/// Prefix of the store's id in the durable's description; it marks the durable as an aggregator's.
pub(super) const OWNER: &str = "aggregator store ";

/// The consumer that holds a store's position while its durable is deleted and recreated. No durable's name in the
/// settings can contain a `~`.
pub(super) fn guard(durable: &str) -> String {
    format!("{durable}~position")
}

/// What the durable is checked against.
pub(super) struct Claim<'a> {
    pub name: &'a str,
    pub position: &'a Position,
    /// A human-readable description of the store's location.
    pub location: &'a str,
    pub take_over: bool,
    /// The stream's last sequence.
    pub last: u64,
    pub used: Use,
}

impl Claim<'_> {
    fn start(&self) -> u64 {
        self.position.standing.floor.min(self.last) + 1
    }

    /// The configuration with which it is created: starting at the first sequence that the store has not applied, but never beyond
    /// the next one that the stream will assign.
    fn config(&self) -> pull::Config {
        self.config_of(self.name.to_owned())
    }

    fn config_of(&self, name: String) -> pull::Config {
        pull::Config {
            durable_name: Some(name),
            description: Some(format!(
                "{OWNER}{} ({})",
                self.position.store_id, self.location
            )),
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.start(),
            },
            ack_policy: AckPolicy::Explicit,
            replay_policy: ReplayPolicy::Instant,
            ack_wait: self.used.ack_wait(),
            max_deliver: -1,
            max_ack_pending: self.used.max_ack_pending(),
            ..pull::Config::default()
        }
    }
}

/// Ensures a durable that other aggregators use, too. One at a time may change it, by a lease in the database; the others use it as it
/// is, or wait. What it holds as delivered may be in the hands of others, and is left to them.
pub(super) async fn ensure_shared<T>(
    stream: &Stream<T>,
    claim: &Claim<'_>,
    writer: &Writer,
) -> Result<Consumer<pull::Config>, SessionError> {
    let give_up = Instant::now() + LEASE_PATIENCE;
    loop {
        if let Some(durable) = usable(stream, claim, writer).await? {
            return Ok(durable);
        }
        if writer.lease(LEASE, LEASE_SECONDS).await? {
            break;
        }
        if Instant::now() >= give_up {
            return Err(SessionError::Durable(
                "another aggregator is making or changing it".into(),
            ));
        }
        sleep(LEASE_PAUSE).await;
    }
    let ensured = ensure_leased(stream, claim, writer).await;
    // It ends by itself if this fails.
    let _ = writer.lease(LEASE, 0.0).await;
    ensured
}

/// The shared durable, if it can be used as it is.
async fn usable<T>(
    stream: &Stream<T>,
    claim: &Claim<'_>,
    writer: &Writer,
) -> Result<Option<Consumer<pull::Config>>, SessionError> {
    let Some(found) = find(stream, claim.name).await? else {
        return Ok(None);
    };
    // Read after the durable: others apply messages and ack them meanwhile.
    let floor = writer.floor().await?;
    let is_own = owner(&found, claim)? == Ownership::Own;
    let is_kept = shared_action(&found, floor, &claim.config()) == DurableAction::Keep;
    // An aggregator that ended while it made the durable may have left its guard.
    if !is_own || !is_kept || find(stream, &guard(claim.name)).await?.is_some() {
        return Ok(None);
    }
    let durable = stream.get_consumer(claim.name).await;
    durable.map(Some).map_err(SessionError::Durable)
}

async fn ensure_leased<T>(
    stream: &Stream<T>,
    claim: &Claim<'_>,
    writer: &Writer,
) -> Result<Consumer<pull::Config>, SessionError> {
    let found = find(stream, claim.name).await?;
    let mut standing = claim.position.clone();
    // Read after the durable, which would otherwise seem to be ahead of the store.
    standing.standing.floor = writer.floor().await?;
    let claim = Claim {
        position: &standing,
        ..*claim
    };
    ensure_found(stream, &claim, found).await
}

/// The durable with a name; `None` if there is none.
async fn find<T>(stream: &Stream<T>, name: &str) -> Result<Option<Info>, SessionError> {
    match stream.consumer_info(name).await {
        Ok(found) => Ok(Some(found)),
        Err(err) if is_missing(&err) => Ok(None),
        Err(err) => Err(SessionError::Durable(err.into())),
    }
}

/// Creates, updates or recreates the durable so that every message which the store has not applied will be delivered.
pub(super) async fn ensure<T>(
    stream: &Stream<T>,
    claim: &Claim<'_>,
) -> Result<Consumer<pull::Config>, SessionError> {
    let found = find(stream, claim.name).await?;
    ensure_found(stream, claim, found).await
}

async fn ensure_found<T>(
    stream: &Stream<T>,
    claim: &Claim<'_>,
    found: Option<Info>,
) -> Result<Consumer<pull::Config>, SessionError> {
    let durable = ensure_durable(stream, claim, found).await?;
    // From now on the durable itself holds the position. A session that was interrupted may have left a guard.
    match stream.delete_consumer(&guard(claim.name)).await {
        Ok(_) => Ok(durable),
        Err(err) if is_gone(&err) => Ok(durable),
        Err(err) => Err(SessionError::Durable(err.into())),
    }
}

async fn ensure_durable<T>(
    stream: &Stream<T>,
    claim: &Claim<'_>,
    found: Option<Info>,
) -> Result<Consumer<pull::Config>, SessionError> {
    let wanted = claim.config();
    let Some(found) = found else {
        return create(stream, wanted).await;
    };
    let action = match owner(&found, claim)? {
        // Deleting it ends the other store's pull; its next session finds the new owner.
        Ownership::TakenOver => DurableAction::Recreate("it is taken over from another store"),
        Ownership::Own => {
            let floor = claim.position.standing.floor;
            match claim.used {
                Use::Alone => required_action(&found, floor, &wanted),
                Use::Shared => shared_action(&found, floor, &wanted),
            }
        }
    };
    match action {
        DurableAction::Keep => stream
            .get_consumer(claim.name)
            .await
            .map_err(SessionError::Durable),
        DurableAction::Update => {
            let deliver_policy = found.config.deliver_policy;
            let config = pull::Config {
                deliver_policy,
                ..wanted
            };
            stream
                .update_consumer(config)
                .await
                .map_err(|err| SessionError::Durable(err.into()))
        }
        DurableAction::Recreate(reason) => {
            info!(
                durable = claim.name,
                reason,
                start = claim.start(),
                "recreating the durable"
            );
            // Other stores trim messages that no durable holds, and this process may end between the two steps.
            hold_position(stream, claim).await?;
            stream
                .delete_consumer(claim.name)
                .await
                .map_err(|err| SessionError::Durable(err.into()))?;
            create(stream, wanted).await
        }
    }
}

/// Creates the guard. An existing one holds an earlier position, which serves as well.
async fn hold_position<T>(stream: &Stream<T>, claim: &Claim<'_>) -> Result<(), SessionError> {
    let config = claim.config_of(guard(claim.name));
    match stream.create_consumer_strict(config).await {
        Ok(_) => Ok(()),
        Err(err) if err.kind() == ConsumerCreateStrictErrorKind::AlreadyExists => Ok(()),
        Err(err) => Err(SessionError::Durable(err.into())),
    }
}

async fn create<T>(
    stream: &Stream<T>,
    config: pull::Config,
) -> Result<Consumer<pull::Config>, SessionError> {
    // Strict: if another store was faster, the next session finds its durable.
    stream
        .create_consumer_strict(config)
        .await
        .map_err(|err| SessionError::Durable(err.into()))
}

pub(super) fn is_missing(err: &ConsumerInfoError) -> bool {
    match err.kind() {
        ConsumerInfoErrorKind::NotFound => true,
        ConsumerInfoErrorKind::JetStream(err) => err.error_code() == ErrorCode::CONSUMER_NOT_FOUND,
        _ => false,
    }
}

fn is_gone(err: &ConsumerError) -> bool {
    let ConsumerErrorKind::JetStream(err) = err.kind() else {
        return false;
    };
    err.error_code() == ErrorCode::CONSUMER_NOT_FOUND
}
