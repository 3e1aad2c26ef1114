//! What is decided about a durable that exists: whose it is, and whether it agrees with the store's position.

use async_nats::jetstream::consumer::{Config, DeliverPolicy, Info, pull};

use super::{Claim, OWNER};
use crate::consumer::SessionError;

/// Who owns the durable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ownership {
    Own,
    TakenOver,
}

/// Determines the owner. Two stores on one durable would each receive only some of the events.
pub(super) fn owner(found: &Info, claim: &Claim<'_>) -> Result<Ownership, SessionError> {
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
pub(super) enum DurableAction {
    Keep,
    Update,
    Recreate(&'static str),
}

/// The same for a durable that others use: deliveries that are not acked are theirs, or come again after the ack wait.
pub(super) fn shared_action(found: &Info, floor: u64, wanted: &pull::Config) -> DurableAction {
    match required_action(found, floor, wanted) {
        DurableAction::Recreate(HOLDS) => updated(&found.config, wanted),
        action => action,
    }
}

/// A session begins without deliveries, so these will not be acked; waiting for their redelivery takes the ack wait.
const HOLDS: &str = "it holds deliveries of an ended session";

/// Whether the durable will soon deliver all messages that the store has not applied. A durable that is behind the
/// store will: messages that were already applied are skipped.
pub(super) fn required_action(found: &Info, floor: u64, wanted: &pull::Config) -> DurableAction {
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
    use async_nats::jetstream::consumer::AckPolicy;

    use super::*;
    use crate::{
        consumer::durable::Use,
        store::{Position, Standing},
    };

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
