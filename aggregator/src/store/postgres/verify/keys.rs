//! Checks that the primary keys are there: what keeps a message from being applied twice, and an identity from being stored twice.

use deadpool_postgres::Client;

use crate::store::{StoreError, postgres::schema::is_distributed, verify::Check};

/// The tables, each with the columns of its key in the order of their names.
const KEYS: [(&str, &[&str]); 13] = [
    ("events", &["fingerprint"]),
    ("applied", &["incarnation", "sequence"]),
    ("incarnations", &["id"]),
    ("passed", &["first", "incarnation"]),
    ("missing", &["first", "incarnation"]),
    ("counters", &["writer"]),
    ("topics", &["topic", "writer"]),
    ("minutes", &["minute", "writer"]),
    ("rejected", &["place"]),
    ("counted_topics", &["topic"]),
    ("topic_minutes", &["minute", "topic", "writer"]),
    ("repeats", &["batch", "writer"]),
    ("seen_marks", &["kept"]),
];

const SELECT: &str = "SELECT ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
     AND a.attnum = ANY (i.indkey) WHERE i.indrelid = to_regclass($1::text) AND i.indisprimary AND i.indisvalid ORDER BY a.attname::text)";

pub(super) async fn check(client: &Client) -> Result<Check, StoreError> {
    let mut check = Check::new("primary keys");
    for (table, columns) in KEYS {
        let row = client.query_one(SELECT, &[&table]).await?;
        let found: Vec<String> = row.get(0);
        if found != columns {
            check.differs(|| {
                let columns = columns.join(", ");
                match found.as_slice() {
                    [] => format!("{table} has no valid primary key; it must be {columns}"),
                    found => format!(
                        "the primary key of {table} is {}; it must be {columns}",
                        found.join(", ")
                    ),
                }
            });
        }
    }
    check.note("the files of the database are not checked: pg_amcheck does that");
    if is_distributed(client).await? {
        check.note(
            "the database is distributed by Citus, which reads each node at a moment of its own: while aggregators write, differences may be \
             batches that were being committed; verify it without aggregators",
        );
    }
    Ok(check)
}
