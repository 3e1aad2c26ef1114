//! The broker, the stream and the durable.

use serde::Serialize;
use serde_json::Value;

use super::{finding::Finding, number};
use crate::{consumer::survey::Survey, store::Record};

/// Percent of its maximum size at which a stream is nearly full, as in the alerts.
const NEARLY_FULL_PERCENT: u64 = 90;

/// What the report contains of the broker.
#[derive(Debug, Serialize)]
pub(super) struct BrokerReport {
    /// Its addresses, without credentials.
    pub servers: String,
    pub server: Value,
    /// The stream as the broker describes it; `None` if it does not exist or could not be read.
    pub stream: Option<Value>,
    /// The durable consumer, likewise.
    pub durable: Option<Value>,
}

impl From<Survey> for BrokerReport {
    fn from(survey: Survey) -> Self {
        Self {
            servers: survey.servers,
            server: survey.server,
            stream: survey.stream.ok(),
            durable: survey.durable.ok(),
        }
    }
}

/// What needs attention. `store` is the record of the store, if it was read, and whether an aggregator is running on it.
pub(super) fn findings(
    survey: &Survey,
    stream: &str,
    durable: &str,
    store: Option<(&Record, bool)>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |problem: String, remedy: &str| {
        findings.push(Finding::new("broker", problem, remedy));
    };
    if !survey.accepts_all_sizes() {
        add(
            "the broker accepts only messages of less than 1 MB".to_owned(),
            "set max_payload of nats-server to 1MB or more",
        );
    }
    let found = match &survey.stream {
        Ok(found) => found,
        Err(reason) => {
            add(
                format!("stream {stream} cannot be read: {reason}"),
                "if it does not exist, start the aggregator, which creates it; otherwise give its name with --stream, or credentials that may read it",
            );
            return findings;
        }
    };
    if let Some(mismatch) = &survey.mismatch {
        add(
            mismatch.clone(),
            "change that field of the stream (nats stream edit), or use another stream",
        );
    }
    if let Some(problem) = survey.missing_replicas.clone() {
        add(problem, "start those servers of the broker's cluster");
    }
    let durable_found = match &survey.durable {
        Ok(found) => found,
        Err(reason) => {
            add(
                format!("durable consumer {durable} cannot be read: {reason}"),
                "if it does not exist, start the aggregator, which creates it; otherwise give its name with --durable",
            );
            &Value::Null
        }
    };
    if let Some((percent, waiting)) = nearly_full(found, durable_found) {
        add(
            format!(
                "stream {stream} is {percent} % full, and {waiting} of its messages are not applied"
            ),
            "find out why the aggregator falls behind, or raise --stream-max-bytes; a full stream refuses publishing",
        );
    }
    if let Some((store, is_in_use)) = store {
        match survey.owner() {
            Some(owner) if owner != store.store_id => add(
                format!("durable consumer {durable} belongs to another store ({owner})"),
                "give the directory of that store with --data-dir or its database with --store, or the durable of this one with --durable",
            ),
            _ => {}
        }
        let acked = number(&durable_found["ack_floor"], "stream_seq").unwrap_or(0);
        let is_of_store = survey.owner() == Some(&store.store_id);
        // The durable is read after the store, so while an aggregator is running it may be slightly ahead.
        if is_of_store && acked > store.applied_floor && !is_in_use {
            add(
                format!(
                    "the broker has acks up to sequence {acked}, and the store has applied up to {}",
                    store.applied_floor
                ),
                "if the store was restored from a backup, start the aggregator: it applies those messages again, as far as the stream has them",
            );
        }
    }
    findings
}

/// How full a stream is in percent, and how many of its messages are not applied, if both are too high: applied messages are
/// kept for replay, and trimmed when space is needed.
fn nearly_full(stream: &Value, durable: &Value) -> Option<(u64, u64)> {
    let state = &stream["state"];
    let max = number(&stream["config"], "max_bytes").filter(|max| *max > 0)?;
    let percent = number(state, "bytes")?.saturating_mul(100) / max;
    let messages = number(state, "messages")?;
    let waiting = match number(durable, "num_pending") {
        Some(pending) => pending + number(durable, "num_ack_pending").unwrap_or(0),
        None => messages,
    };
    (percent >= NEARLY_FULL_PERCENT && waiting > messages / 2).then_some((percent, waiting))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_is_nearly_full_only_of_messages_that_are_not_applied() {
        let stream = |bytes: u64| json!({"config": {"max_bytes": 1_000}, "state": {"bytes": bytes, "messages": 10}});
        let durable = |pending: u64| json!({"num_pending": pending, "num_ack_pending": 1});
        assert_eq!(nearly_full(&stream(899), &durable(9)), None);
        assert_eq!(nearly_full(&stream(900), &durable(4)), None);
        assert_eq!(nearly_full(&stream(900), &durable(5)), Some((90, 6)));
        assert_eq!(nearly_full(&stream(1_000), &Value::Null), Some((100, 10)));
        let unlimited =
            json!({"config": {"max_bytes": -1}, "state": {"bytes": 900, "messages": 10}});
        assert_eq!(nearly_full(&unlimited, &durable(9)), None);
    }
}
