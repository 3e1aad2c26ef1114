//! The examples in the help of the commands.

/// Of `query`.
pub const QUERY: &str = "\
Examples:
  aggregator query --topic orders --limit 10
  aggregator query --since 1h --payload user.name=ann | jq -r .event_id
  aggregator query --topic orders --order asc >orders.ndjson

Exit code 1 means that the output is incomplete.";

/// Of `tail`.
pub const TAIL: &str = "\
Examples:
  aggregator tail
  aggregator tail -t orders -t refunds --contains '\"ann\"' -o json | jq .payload

It reconnects after a lost connection and continues after the last event printed.";

/// Of `event`.
pub(super) const EVENT: &str = "\
Example:
  aggregator event orders 1

Without the topic: aggregator query --event-id 1";

/// Of `topics`.
pub(super) const TOPICS: &str = "\
Examples:
  aggregator topics --contains order
  aggregator topics --sort duplicate_share --limit 10";

/// Of `stats`.
pub const STATS: &str = "\
Example:
  aggregator stats -o json | jq '{received, unique_processed, pending}'";
