//! The rules for the configuration of a stream, which ensure that no confirmed event is lost or changed.
//!
//! Every field known to the client is listed once, in [`rules`]: either with a rule, or as harmless with the reason. If a
//! later version of the client adds a field, this does not compile until the field is listed.

use std::fmt::Debug;

use async_nats::jetstream::stream::{
    Config, ConsumerLimits, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};

use super::{EARLIER_SUBJECTS, LARGEST_MESSAGE, SUBJECTS, StreamError, UNCONFIRMED_AFTER};

/// A field that breaks its rule.
struct Mismatch {
    field: &'static str,
    found: String,
    wanted: String,
}

type Rule = Result<(), Mismatch>;

/// Checks a configuration field by field: servers fill in some unset fields differently, so comparing whole
/// configurations would fail.
///
/// # Errors
/// [`StreamError::Unusable`], with the first field that breaks a rule, or [`StreamError::Outdated`] if only the subjects are
/// those of an earlier version.
pub(super) fn check(config: &Config) -> Result<(), StreamError> {
    rules(config).map_err(|mismatch| StreamError::Unusable {
        stream: config.name.clone(),
        field: mismatch.field,
        found: mismatch.found,
        wanted: mismatch.wanted,
    })?;
    if config.subjects == EARLIER_SUBJECTS {
        return Err(StreamError::Outdated(config.name.clone()));
    }
    Ok(())
}

fn are_right(subjects: &[String]) -> Rule {
    let has = |wanted: &&str| subjects.iter().any(|found| found == wanted);
    let is_exact = SUBJECTS.iter().all(has) && subjects.len() == SUBJECTS.len();
    let is_right = is_exact || subjects == EARLIER_SUBJECTS;
    holds("subjects", is_right, || {
        (subjects.join(","), SUBJECTS.join(","))
    })
}

fn rules(config: &Config) -> Rule {
    let Config {
        // The stream was requested by name.
        name: _,
        subjects,
        retention,
        storage,
        discard,
        discard_new_per_subject,
        max_age,
        max_messages,
        max_messages_per_subject,
        max_message_size,
        duplicate_window,
        no_ack,
        sealed,
        persist_mode,
        mirror,
        sources,
        allow_rollup,
        deny_purge,
        subject_transform,
        consumer_limits,
        allow_message_ttl,
        subject_delete_marker_ttl,
        allow_message_counter,
        allow_message_schedules,
        // Set by the aggregator, which never lowers it below the current size of the stream.
        max_bytes: _,
        // Set by the aggregator. A message is confirmed once a majority of the replicas has it.
        num_replicas: _,
        // If it is too small, the durable consumer cannot be created, which `/health` reports.
        max_consumers: _,
        // Informational only.
        description: _,
        metadata: _,
        // The stream template that created the stream, if any. It does not affect messages, and nats-server 2.14 has no
        // templates.
        template_owner: _,
        // The services never delete individual messages, and it is safer if no other client can.
        deny_delete: _,
        // Sends copies of stored messages elsewhere; the stored messages do not change.
        republish: _,
        // The services read from the stream's leader, never from a replica that may lag behind.
        allow_direct: _,
        // Applies to mirrors only, and this stream is not one.
        mirror_direct: _,
        // Lossless, and the broker reports sizes before compression.
        compression: _,
        // The sequence of the first message. Lower ones were never assigned, so they do not count as missing.
        first_sequence: _,
        // Selects the servers that keep the replicas.
        placement: _,
        // Applies to consumers only.
        pause_until: _,
        // Opt-in for publishers: their messages are stored and confirmed together or not at all, and are then ordinary
        // messages of the stream.
        allow_atomic_publish: _,
        // Opt-in for publishers: they get fewer PubAcks, but none before the messages are stored.
        allow_batch_publish: _,
    } = config;

    are_right(subjects)?;
    is("retention", retention, &RetentionPolicy::Limits)?;
    is("discard", discard, &DiscardPolicy::New)?;
    is("storage", storage, &StorageType::File)?;
    is("discard_new_per_subject", discard_new_per_subject, &false)?;
    holds("max_age", max_age.is_zero(), || unlimited(max_age))?;
    holds("max_msgs", *max_messages <= 0, || unlimited(max_messages))?;
    holds(
        "max_msgs_per_subject",
        *max_messages_per_subject <= 0,
        || unlimited(max_messages_per_subject),
    )?;
    // With a smaller limit, single events would be accepted, but full batches would be refused on every retry.
    let accepts_all = *max_message_size <= 0
        || usize::try_from(*max_message_size).is_ok_and(|size| size >= LARGEST_MESSAGE);
    holds("max_msg_size", accepts_all, || {
        let wanted = format!("unlimited or at least {LARGEST_MESSAGE}");
        (max_message_size.to_string(), wanted)
    })?;
    // A message sent again after the window would be in the stream twice.
    holds(
        "duplicate_window",
        *duplicate_window >= UNCONFIRMED_AFTER,
        || {
            let wanted = format!("at least {UNCONFIRMED_AFTER:?}");
            (format!("{duplicate_window:?}"), wanted)
        },
    )?;
    is("no_ack", no_ack, &false)?;
    is("sealed", sealed, &false)?;
    // In the asynchronous mode, a message may be confirmed before it is persisted.
    let mode = persist_mode.unwrap_or_default();
    is("persist_mode", &mode, &PersistenceMode::Default)?;
    holds("mirror", mirror.is_none(), || absent("another stream"))?;
    let has_sources = sources.as_ref().is_some_and(|sources| !sources.is_empty());
    holds("sources", !has_sources, || absent("other streams"))?;
    // A message with the header Nats-Rollup would purge earlier messages.
    is("allow_rollup_hdrs", allow_rollup, &false)?;
    // With it, the aggregator could not trim the stream.
    is("deny_purge", deny_purge, &false)?;
    holds("subject_transform", subject_transform.is_none(), || {
        absent("another subject")
    })?;
    // The broker would delete the durable consumer of an aggregator that is stopped for longer than this, and with it the
    // position that holds back trimming. A limit on max_ack_pending is harmless: if it is too small, the durable consumer
    // cannot be created.
    if let Some(ConsumerLimits {
        inactive_threshold,
        max_ack_pending: _,
    }) = consumer_limits
    {
        holds(
            "consumer_limits.inactive_threshold",
            inactive_threshold.is_zero(),
            || unlimited(inactive_threshold),
        )?;
    }
    is("allow_msg_ttl", allow_message_ttl, &false)?;
    let marker = subject_delete_marker_ttl.unwrap_or_default();
    holds("subject_delete_marker_ttl", marker.is_zero(), || {
        absent(&format!("{marker:?}"))
    })?;
    is("allow_msg_counter", allow_message_counter, &false)?;
    is("allow_msg_schedules", allow_message_schedules, &false)
}

fn holds(
    field: &'static str,
    holds: bool,
    found_and_wanted: impl FnOnce() -> (String, String),
) -> Rule {
    if holds {
        return Ok(());
    }
    let (found, wanted) = found_and_wanted();
    Err(Mismatch {
        field,
        found,
        wanted,
    })
}

fn is<T: Debug + PartialEq>(field: &'static str, found: &T, wanted: &T) -> Rule {
    holds(field, found == wanted, || {
        (format!("{found:?}"), format!("{wanted:?}"))
    })
}

fn unlimited(found: &impl Debug) -> (String, String) {
    (format!("{found:?}"), "unlimited".to_owned())
}

fn absent(found: &str) -> (String, String) {
    (found.to_owned(), "absent".to_owned())
}

#[cfg(test)]
mod tests;
