//! How tables are spread over the nodes of a database that has the extension Citus.
//!
//! # Which column
//!
//! Citus enforces a unique key only within a shard, so each unique key contains the column by which its table is distributed:
//!
//! | table | by | its unique key | |
//! |---|---|---|---|
//! | `events` | `fingerprint` | `fingerprint` | an identity is stored once, by the key of one shard |
//! | `conflicts` | `fingerprint` | `place, fingerprint` | in the shards of `events`: a page of conflicts joins the stored events |
//! | `applied` | `sequence` | `incarnation, sequence` | the messages of a batch are spread over all nodes |
//! | `topics` | `topic` | `topic, writer` | |
//! | `rejected` | `place` | `place` | |
//! | `counters` | `writer` | `writer` | |
//! | `minutes` | `writer` | `minute, writer` | in the shards of `counters`: each batch changes both for one writer |
//! | `topic_minutes` | `topic` | `topic, minute, writer` | in the shards of `topics`: each batch changes both for one topic |
//! | `repeats` | `writer` | `writer, batch` | in the shards of `counters`, likewise |
//!
//! Tables that a transaction joins, or changes for the same key, are in the same shards; all others are in groups of their own, so that
//! the shards of one can be moved without those of the others.
//!
//! `store`, `incarnations`, `passed` and `missing` are small and rarely changed: each node has all of them. `schema_version`, `aggregators`
//! and `leases` stay on the coordinator, because they are compared with the database's clock, and Citus does not accept
//! `clock_timestamp()` where a table of all nodes is changed. So all aggregators connect to the coordinator. `counted_topics`, `topic_counting`
//! and `seen_marks` are small; of an append, only a topic that is new to the store changes the first two.

use std::borrow::Cow;

use deadpool_postgres::Client;

use crate::store::postgres::error::DatabaseError;

/// The tables that are distributed, each with the statements that do it. A table comes after the one in whose shards it is.
const DISTRIBUTED: [(&str, &[&str]); 13] = [
    ("store", &["SELECT create_reference_table('store')"]),
    (
        "incarnations",
        &["SELECT create_reference_table('incarnations')"],
    ),
    ("passed", &["SELECT create_reference_table('passed')"]),
    ("missing", &["SELECT create_reference_table('missing')"]),
    (
        "events",
        &["SELECT create_distributed_table('events', 'fingerprint', colocate_with => 'none')"],
    ),
    (
        "conflicts",
        &[
            "ALTER TABLE conflicts DROP CONSTRAINT conflicts_pkey, ADD PRIMARY KEY (place, fingerprint)",
            "SELECT create_distributed_table('conflicts', 'fingerprint', colocate_with => 'events')",
        ],
    ),
    (
        "applied",
        &["SELECT create_distributed_table('applied', 'sequence', colocate_with => 'none')"],
    ),
    (
        "rejected",
        &["SELECT create_distributed_table('rejected', 'place', colocate_with => 'none')"],
    ),
    (
        "topics",
        &["SELECT create_distributed_table('topics', 'topic', colocate_with => 'none')"],
    ),
    (
        "counters",
        &["SELECT create_distributed_table('counters', 'writer', colocate_with => 'none')"],
    ),
    (
        "minutes",
        &["SELECT create_distributed_table('minutes', 'writer', colocate_with => 'counters')"],
    ),
    (
        "topic_minutes",
        &["SELECT create_distributed_table('topic_minutes', 'topic', colocate_with => 'topics')"],
    ),
    (
        "repeats",
        &["SELECT create_distributed_table('repeats', 'writer', colocate_with => 'counters')"],
    ),
];

/// The tables that stay on the coordinator.
const LOCAL: [&str; 7] = [
    "schema_version",
    "aggregators",
    "leases",
    "copy_progress",
    "counted_topics",
    "topic_counting",
    "seen_marks",
];

/// All tables.
pub(in crate::store::postgres) fn tables() -> impl Iterator<Item = &'static str> {
    DISTRIBUTED.iter().map(|(name, _)| *name).chain(LOCAL)
}

/// Whether the extension is installed in the database.
pub(in crate::store::postgres) async fn is_installed(
    client: &Client,
) -> Result<bool, DatabaseError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// What distributes the tables that are not distributed yet; nothing without the extension.
pub(super) async fn missing(client: &Client) -> Result<Vec<Cow<'static, str>>, DatabaseError> {
    if !is_installed(client).await? {
        return Ok(Vec::new());
    }
    let names = DISTRIBUTED.map(|(name, _)| name);
    let names = names.as_slice();
    let sql = "SELECT t FROM unnest($1::text[]) AS t WHERE EXISTS \
         (SELECT 1 FROM pg_dist_partition WHERE logicalrel = to_regclass(t))";
    let rows = client.query(sql, &[&names]).await?;
    let done: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let left = DISTRIBUTED
        .iter()
        .filter(|(name, _)| !done.iter().any(|done| done == name));
    let statements = left.flat_map(|(_, statements)| statements.iter().copied());
    Ok(statements.map(Cow::from).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::postgres::schema::STEPS;

    #[test]
    fn each_table_is_distributed_or_stays_on_the_coordinator() {
        let made = STEPS.iter().flat_map(|step| step.split("CREATE TABLE "));
        let names = made.filter_map(|rest| {
            let (name, _) = rest.split_once(" (\n")?;
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c == '_')
                .then_some(name)
        });
        let mut expected: BTreeSet<_> = names.collect();
        expected.insert("schema_version");
        let decided: BTreeSet<_> = tables().collect();
        assert_eq!(decided, expected);
    }

    #[test]
    fn a_table_follows_the_one_in_whose_shards_it_is() {
        for (at, (_, statements)) in DISTRIBUTED.iter().enumerate() {
            for statement in *statements {
                let Some((_, group)) = statement.split_once("colocate_with => '") else {
                    continue;
                };
                let group = group.trim_end_matches("')");
                let mut earlier = DISTRIBUTED[..at].iter();
                assert!(group == "none" || earlier.any(|(name, _)| *name == group));
            }
        }
    }
}
