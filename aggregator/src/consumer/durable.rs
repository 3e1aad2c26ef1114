//! The durable consumer on the broker: which store owns it, and whether it agrees with the store's position.

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    consumer::{AckPolicy, Config, Consumer, DeliverPolicy, Info, ReplayPolicy, pull},
    context::{ConsumerInfoError, ConsumerInfoErrorKind},
    stream::{ConsumerCreateStrictErrorKind, ConsumerError, ConsumerErrorKind, Stream},
};
use tracing::info;

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
/// is, or come back later. What it holds as delivered may be in the hands of others, and is left to them.
pub(super) async fn ensure_shared<T>(
    stream: &Stream<T>,
    claim: &Claim<'_>,
    writer: &Writer,
) -> Result<Consumer<pull::Config>, SessionError> {
    if let Some(found) = find(stream, claim.name).await? {
        // Read after the durable: others apply messages and ack them meanwhile.
        let floor = writer.floor().await?;
        let is_own = owner(&found, claim)? == Ownership::Own;
        let is_kept = shared_action(&found, floor, &claim.config()) == DurableAction::Keep;
        // An aggregator that ended while it made the durable may have left its guard.
        if is_own && is_kept && find(stream, &guard(claim.name)).await?.is_none() {
            let durable = stream.get_consumer(claim.name).await;
            return durable.map_err(SessionError::Durable);
        }
    }
    if !writer.lease(LEASE, LEASE_SECONDS).await? {
        return Err(SessionError::Durable(
            "another aggregator is making or changing it".into(),
        ));
    }
    let ensured = ensure_leased(stream, claim, writer).await;
    // It ends by itself if this fails.
    let _ = writer.lease(LEASE, 0.0).await;
    ensured
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

/// Who owns the durable.
#[derive(Debug, PartialEq, Eq)]
enum Ownership {
    Own,
    TakenOver,
}

/// Determines the owner. Two stores on one durable would each receive only some of the events.
fn owner(found: &Info, claim: &Claim<'_>) -> Result<Ownership, SessionError> {
    let description = found.config.description.as_deref().unwrap_or("");
    let owner = description.strip_prefix(OWNER);
    let is_own = owner.is_some_and(|owner| owner.starts_with(&claim.position.store_id));
    if is_own {
        return Ok(Ownership::Own);
    }
    let copied_from = claim.position.copied_from.as_deref();
    let is_of_original = owner
        .zip(copied_from)
        .is_some_and(|(owner, original)| owner.starts_with(original));
    if claim.take_over || is_of_original {
        return Ok(Ownership::TakenOver);
    }
    Err(SessionError::Owned {
        durable: claim.name.to_owned(),
        owner: match owner {
            Some(owner) => format!("store {owner}"),
            None => "a program that wrote no store id into its description".to_owned(),
        },
    })
}

#[derive(Debug, PartialEq, Eq)]
enum DurableAction {
    Keep,
    Update,
    Recreate(&'static str),
}

/// The same for a durable that others use: deliveries that are not acked are theirs, or come again after the ack wait.
fn shared_action(found: &Info, floor: u64, wanted: &pull::Config) -> DurableAction {
    match required_action(found, floor, wanted) {
        DurableAction::Recreate(HOLDS) => updated(&found.config, wanted),
        action => action,
    }
}

/// A session begins without deliveries, so these will not be acked; waiting for their redelivery takes the ack wait.
const HOLDS: &str = "it holds deliveries of an ended session";

/// Whether the durable will soon deliver all messages that the store has not applied. A durable that is behind the
/// store will: messages that were already applied are skipped.
fn required_action(found: &Info, floor: u64, wanted: &pull::Config) -> DurableAction {
    let config = &found.config;
    let starts_by_sequence = matches!(
        config.deliver_policy,
        DeliverPolicy::All | DeliverPolicy::ByStartSequence { .. }
    );
    if config.ack_policy != wanted.ack_policy
        || config.replay_policy != wanted.replay_policy
        || config.deliver_subject.is_some()
        || !config.filter_subject.is_empty()
        || !config.filter_subjects.is_empty()
        || config.headers_only
        || !starts_by_sequence
    {
        return DurableAction::Recreate("its configuration cannot be updated");
    }
    if found.ack_floor.stream_sequence > floor {
        return DurableAction::Recreate("it is ahead of the store");
    }
    if found.num_ack_pending > 0
        || found.delivered.stream_sequence > found.ack_floor.stream_sequence
    {
        return DurableAction::Recreate(HOLDS);
    }
    updated(config, wanted)
}

/// Whether a durable's configuration must be updated.
fn updated(config: &Config, wanted: &pull::Config) -> DurableAction {
    if config.ack_wait != wanted.ack_wait
        || config.max_deliver != wanted.max_deliver
        || config.max_ack_pending != wanted.max_ack_pending
        || config.description != wanted.description
        || config.max_batch != wanted.max_batch
        || config.max_bytes != wanted.max_bytes
        || config.max_expires != wanted.max_expires
        || config.inactive_threshold != wanted.inactive_threshold
        || config.backoff != wanted.backoff
        || config.rate_limit != wanted.rate_limit
        || config.pause_until != wanted.pause_until
    {
        return DurableAction::Update;
    }
    DurableAction::Keep
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Standing;

    fn claim(position: &Position) -> Claim<'_> {
        Claim {
            name: "aggregator",
            position,
            location: "here:/data",
            take_over: false,
            last: 100,
            used: Use::Alone,
        }
    }

    fn position(floor: u64) -> Position {
        Position {
            store_id: "our-store".to_owned(),
            copied_from: None,
            standing: Standing {
                floor,
                witness: None,
            },
            missing: 0,
        }
    }

    /// The broker's report of a durable that was created with `config`.
    fn reported(config: &pull::Config, delivered: u64, ack_floor: u64, pending: u64) -> Info {
        serde_json::from_value(serde_json::json!({
            "stream_name": "EVENTS",
            "name": "aggregator",
            "created": "2026-01-31T12:00:00Z",
            "config": {
                "durable_name": "aggregator",
                "description": config.description,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": 1,
                "ack_policy": "explicit",
                "ack_wait": 60_000_000_000_u64,
                "max_deliver": -1,
                "max_ack_pending": config.max_ack_pending,
                "replay_policy": "instant",
            },
            "delivered": { "consumer_seq": delivered, "stream_seq": delivered },
            "ack_floor": { "consumer_seq": ack_floor, "stream_seq": ack_floor },
            "num_ack_pending": pending,
            "num_redelivered": 0,
            "num_waiting": 0,
            "num_pending": 0,
        }))
        .unwrap()
    }

    #[test]
    fn a_durable_level_with_the_store_or_behind_it_is_kept() {
        let position = position(50);
        let wanted = claim(&position).config();
        assert_eq!(
            required_action(&reported(&wanted, 50, 50, 0), 50, &wanted),
            DurableAction::Keep
        );
        assert_eq!(
            required_action(&reported(&wanted, 20, 20, 0), 50, &wanted),
            DurableAction::Keep
        );
    }

    #[test]
    fn a_durable_ahead_of_the_store_is_recreated() {
        let position = position(50);
        let wanted = claim(&position).config();
        let action = required_action(&reported(&wanted, 60, 60, 0), 50, &wanted);
        assert!(matches!(action, DurableAction::Recreate(_)), "{action:?}");
    }

    #[test]
    fn deliveries_of_an_ended_session_are_not_waited_for() {
        let position = position(50);
        let wanted = claim(&position).config();
        let action = required_action(&reported(&wanted, 60, 40, 20), 50, &wanted);
        assert!(matches!(action, DurableAction::Recreate(_)), "{action:?}");
    }

    #[test]
    fn deliveries_that_other_aggregators_may_have_are_left_to_them() {
        let position = position(50);
        let claim = Claim {
            used: Use::Shared,
            ..claim(&position)
        };
        let wanted = claim.config();
        let mut found = reported(&wanted, 60, 40, 20);
        found.config.ack_wait = wanted.ack_wait;
        assert_eq!(shared_action(&found, 50, &wanted), DurableAction::Keep);
        found.config.max_ack_pending = 7;
        assert_eq!(shared_action(&found, 50, &wanted), DurableAction::Update);
        let ahead = shared_action(&reported(&wanted, 60, 60, 0), 50, &wanted);
        assert!(matches!(ahead, DurableAction::Recreate(_)), "{ahead:?}");
    }

    #[test]
    fn what_can_be_updated_is_updated() {
        let position = position(50);
        let wanted = claim(&position).config();
        let mut found = reported(&wanted, 50, 50, 0);
        found.config.max_ack_pending = 7;
        assert_eq!(required_action(&found, 50, &wanted), DurableAction::Update);
        found = reported(&wanted, 50, 50, 0);
        found.config.max_batch = 100;
        assert_eq!(required_action(&found, 50, &wanted), DurableAction::Update);
        found.config.ack_policy = AckPolicy::All;
        assert!(matches!(
            required_action(&found, 50, &wanted),
            DurableAction::Recreate(_)
        ));
    }

    #[test]
    fn a_new_durable_never_starts_beyond_the_stream() {
        let start = |floor| match claim(&position(floor)).config().deliver_policy {
            DeliverPolicy::ByStartSequence { start_sequence } => start_sequence,
            other => panic!("{other:?}"),
        };
        assert_eq!(start(0), 1);
        assert_eq!(start(50), 51);
        assert_eq!(start(200), 101);
    }

    #[test]
    fn another_stores_durable_is_refused_by_name_until_taken_over() {
        let ours = position(50);
        let mut theirs = reported(&claim(&ours).config(), 50, 50, 0);
        assert_eq!(owner(&theirs, &claim(&ours)).unwrap(), Ownership::Own);
        theirs.config.description = Some(format!("{OWNER}their-store (there:/data)"));
        let refused = owner(&theirs, &claim(&ours)).unwrap_err().to_string();
        assert!(refused.contains("their-store (there:/data)"), "{refused}");
        let mut taking = claim(&ours);
        taking.take_over = true;
        assert_eq!(owner(&theirs, &taking).unwrap(), Ownership::TakenOver);
        let copy = |of: &str| Position {
            copied_from: Some(of.to_owned()),
            ..ours.clone()
        };
        owner(&theirs, &claim(&copy("another-store"))).unwrap_err();
        let copied = copy("their-store");
        assert_eq!(
            owner(&theirs, &claim(&copied)).unwrap(),
            Ownership::TakenOver
        );
    }
}
