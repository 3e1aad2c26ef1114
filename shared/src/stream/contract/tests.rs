//! Tests of the rules: each field with values that are refused and values that are harmless.

use std::{collections::BTreeSet, time::Duration};

use async_nats::jetstream::stream::{Compression, Placement, Republish, Source, SubjectTransform};

use super::*;
use crate::stream::{DEFAULT_NAME, Settings};

fn usable() -> Config {
    let settings = Settings {
        name: DEFAULT_NAME.to_owned(),
        max_bytes: 1,
        replicas: 1,
    };
    settings.config()
}

#[test]
fn the_subjects_may_be_in_any_order_and_those_of_an_earlier_version_are_recognized() {
    let mut config = usable();
    config.subjects.reverse();
    check(&config).unwrap();
    config.subjects = vec!["events.>".to_owned()];
    assert!(matches!(check(&config), Err(StreamError::Outdated(_))));
    config.discard = DiscardPolicy::Old;
    let refused = check(&config).unwrap_err().to_string();
    assert!(refused.contains("discard"), "{refused}");
    config = usable();
    config.subjects = vec!["events".to_owned()];
    assert!(matches!(check(&config), Err(StreamError::Unusable { .. })));
}

type Change = fn(&mut Config);

/// Changes that could lose, expire, alter or delay messages, weaken their `PubAck` or prevent trimming: the client's name
/// for the field, the broker's name, and the change.
const REFUSED: &[(&str, &str, Change)] = &[
    ("subjects", "subjects", |c| {
        c.subjects.push("more".to_owned());
    }),
    ("subjects", "subjects", |c| c.subjects.clear()),
    ("retention", "retention", |c| {
        c.retention = RetentionPolicy::WorkQueue;
    }),
    ("retention", "retention", |c| {
        c.retention = RetentionPolicy::Interest;
    }),
    ("storage", "storage", |c| c.storage = StorageType::Memory),
    ("discard", "discard", |c| c.discard = DiscardPolicy::Old),
    ("discard_new_per_subject", "discard_new_per_subject", |c| {
        c.discard_new_per_subject = true;
    }),
    ("max_age", "max_age", |c| c.max_age = Duration::from_secs(1)),
    ("max_messages", "max_msgs", |c| c.max_messages = 9),
    ("max_messages_per_subject", "max_msgs_per_subject", |c| {
        c.max_messages_per_subject = 9;
    }),
    ("max_message_size", "max_msg_size", |c| {
        c.max_message_size = 1;
    }),
    ("max_message_size", "max_msg_size", |c| {
        c.max_message_size = 1024 * 1024 - 1;
    }),
    ("duplicate_window", "duplicate_window", |c| {
        c.duplicate_window = Duration::from_secs(89);
    }),
    ("duplicate_window", "duplicate_window", |c| {
        c.duplicate_window = Duration::ZERO;
    }),
    ("no_ack", "no_ack", |c| c.no_ack = true),
    ("sealed", "sealed", |c| c.sealed = true),
    ("persist_mode", "persist_mode", |c| {
        c.persist_mode = Some(PersistenceMode::Async);
    }),
    ("mirror", "mirror", |c| c.mirror = Some(Source::default())),
    ("sources", "sources", |c| {
        c.sources = Some(vec![Source::default()]);
    }),
    ("allow_rollup", "allow_rollup_hdrs", |c| {
        c.allow_rollup = true;
    }),
    ("deny_purge", "deny_purge", |c| c.deny_purge = true),
    ("subject_transform", "subject_transform", |c| {
        c.subject_transform = Some(SubjectTransform {
            source: "events.>".to_owned(),
            destination: "events.all.>".to_owned(),
        });
    }),
    (
        "consumer_limits",
        "consumer_limits.inactive_threshold",
        |c| {
            c.consumer_limits = Some(ConsumerLimits {
                inactive_threshold: Duration::from_mins(5),
                max_ack_pending: 0,
            });
        },
    ),
    ("allow_message_ttl", "allow_msg_ttl", |c| {
        c.allow_message_ttl = true;
    }),
    (
        "subject_delete_marker_ttl",
        "subject_delete_marker_ttl",
        |c| c.subject_delete_marker_ttl = Some(Duration::from_mins(1)),
    ),
    ("allow_message_counter", "allow_msg_counter", |c| {
        c.allow_message_counter = true;
    }),
    ("allow_message_schedules", "allow_msg_schedules", |c| {
        c.allow_message_schedules = true;
    }),
];

/// Harmless changes: the client's name for the field, and the change.
const ACCEPTED: &[(&str, Change)] = &[
    ("name", |c| c.name = "OTHER".to_owned()),
    ("max_bytes", |c| c.max_bytes = -1),
    ("max_bytes", |c| c.max_bytes = 1 << 40),
    ("num_replicas", |c| c.num_replicas = 5),
    ("max_consumers", |c| c.max_consumers = 9),
    ("description", |c| c.description = None),
    ("metadata", |c| {
        c.metadata.insert("_nats.level".to_owned(), "1".to_owned());
    }),
    ("template_owner", |c| {
        c.template_owner = "someone".to_owned();
    }),
    ("deny_delete", |c| c.deny_delete = true),
    ("republish", |c| {
        c.republish = Some(Republish {
            source: ">".to_owned(),
            destination: "copies.>".to_owned(),
            headers_only: false,
        });
    }),
    ("allow_direct", |c| c.allow_direct = true),
    ("mirror_direct", |c| c.mirror_direct = true),
    ("compression", |c| c.compression = Some(Compression::S2)),
    ("first_sequence", |c| c.first_sequence = Some(1_000)),
    ("placement", |c| c.placement = Some(Placement::default())),
    ("pause_until", |c| c.pause_until = None),
    ("allow_atomic_publish", |c| c.allow_atomic_publish = true),
    ("allow_batch_publish", |c| c.allow_batch_publish = true),
    // Values that some servers fill in for unset fields, and others that satisfy the rules.
    ("max_messages", |c| c.max_messages = 0),
    ("max_message_size", |c| c.max_message_size = -1),
    ("max_message_size", |c| c.max_message_size = 1024 * 1024),
    ("duplicate_window", |c| {
        c.duplicate_window = Duration::from_secs(90);
    }),
    ("duplicate_window", |c| {
        c.duplicate_window = Duration::from_hours(1);
    }),
    ("persist_mode", |c| {
        c.persist_mode = Some(PersistenceMode::Default);
    }),
    ("sources", |c| c.sources = Some(Vec::new())),
    ("consumer_limits", |c| {
        c.consumer_limits = Some(ConsumerLimits {
            inactive_threshold: Duration::ZERO,
            max_ack_pending: 100_000,
        });
    }),
    ("subject_delete_marker_ttl", |c| {
        c.subject_delete_marker_ttl = Some(Duration::ZERO);
    }),
];

#[test]
fn the_created_configuration_passes_the_check() {
    assert!(check(&usable()).is_ok());
}

#[test]
fn a_configuration_that_would_lose_events_is_refused_with_the_field() {
    for (_, name, change) in REFUSED {
        let mut config = usable();
        change(&mut config);
        match check(&config) {
            Err(StreamError::Unusable { field, .. }) => assert_eq!(field, *name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_harmless_configuration_is_accepted() {
    for (name, change) in ACCEPTED {
        let mut config = usable();
        change(&mut config);
        assert!(check(&config).is_ok(), "{name}: {:?}", check(&config));
    }
}

#[test]
fn every_field_of_a_configuration_is_tested() {
    let debug = format!("{:#?}", Config::default());
    // The fields of the struct itself, not of nested structs.
    let fields = debug.lines().filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        let (field, _) = line.split_once(':')?;
        (!field.starts_with(' ')).then_some(field)
    });
    let fields: BTreeSet<_> = fields.collect();
    assert!(fields.len() > 30, "{fields:?}");
    let refused = REFUSED.iter().map(|(field, ..)| *field);
    let tested: BTreeSet<_> = refused.chain(ACCEPTED.iter().map(|(f, _)| *f)).collect();
    assert_eq!(tested, fields);
}
