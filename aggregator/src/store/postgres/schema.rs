//! The tables and their version. One aggregator creates or changes them while others wait; so does `aggregator store init`, which
//! also shows what it does.

mod citus;

pub(super) use self::citus::{is_installed as is_distributed, tables};

use std::borrow::Cow;

use deadpool_postgres::Client;
use tracing::info;

use super::{
    checks,
    connect::{Address, LONGEST, Pool, Transaction, limited},
    error::DatabaseError,
    upkeep::ALIVE_SECONDS,
};
use crate::store::{StoreError, fingerprint::Key};

/// What brings a database from each version to the next, beginning with an empty one.
pub(super) const STEPS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
];

/// The schema version of stores in a database that this program uses.
pub const VERSION: i64 = 4;

/// The version from which on aggregators exclude each other by locks of rows. Those of earlier versions lock a table instead, so both
/// must not append at the same time.
const TOGETHER: i64 = 4;

const _: () = assert!(STEPS.len() as u64 == VERSION.unsigned_abs());

/// The table of the version, with its row.
pub(super) const MAKE_VERSION: &str = "CREATE TABLE IF NOT EXISTS schema_version (\
     only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), version bigint NOT NULL); \
     INSERT INTO schema_version (version) VALUES (0) ON CONFLICT DO NOTHING";

/// The store's own id and the key of its hashes.
pub(super) struct Identity {
    pub store_id: String,
    pub key: Key,
    /// The id of the store of another engine that it was copied from.
    pub copied_from: Option<String>,
}

/// What brings the tables of a database to the version of this program.
#[derive(Debug, PartialEq, Eq)]
pub struct SchemaChange {
    /// The version that was found; 0 for a database without a store.
    pub from: i64,
    /// The version of this program.
    pub to: i64,
    /// The statements in their order. None if there is nothing to change.
    pub statements: Vec<Cow<'static, str>>,
}

impl SchemaChange {
    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// The change as a script for `psql`, in one transaction. Empty if there is nothing to change.
    #[must_use]
    pub fn script(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let Self {
            from,
            to,
            statements,
        } = self;
        let mut script = String::from("BEGIN;\n");
        let mut add = |statement: &str| {
            script += statement.trim_end().trim_end_matches(';');
            script += ";\n";
        };
        if *from == 0 {
            add(MAKE_VERSION);
        }
        for statement in statements {
            add(statement);
        }
        if from != to {
            add(&format!("UPDATE schema_version SET version = {to}"));
        }
        script + "COMMIT;\n"
    }
}

/// Reads the version of the tables; `None` if there is no store in the database.
pub(super) async fn version(client: &Client) -> Result<Option<i64>, DatabaseError> {
    let is_there = "SELECT to_regclass('schema_version') IS NOT NULL";
    if !client.query_one(is_there, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_opt("SELECT version FROM schema_version", &[]);
    Ok(row.await?.map(|row| row.get(0)))
}

/// Brings the tables to the current version. If they have it, nothing is locked, and no right to create tables is needed.
pub(super) async fn ensure(pool: &Pool, now: i64) -> Result<Identity, StoreError> {
    let client = pool.get().await?;
    if version(&client).await? == Some(VERSION) {
        return identity(&client, now).await;
    }
    drop(client);
    apply(pool, now, false, &mut log).await
}

/// Logs a change.
pub(super) fn log(change: &SchemaChange) {
    let (from, to) = (change.from, change.to);
    // Another one may have been faster.
    if !change.is_empty() {
        info!(from, to, "changing the schema of the database");
    }
}

/// Shows what brings the tables at an address to the current version, and applies it unless `is_dry`. Tables that are not distributed
/// yet, though Citus is installed, are distributed.
///
/// # Errors
/// [`StoreError`]; also for settings of the database with which it could lose what was acked.
pub async fn init(
    address: &Address,
    now: i64,
    is_dry: bool,
    show: &mut (dyn FnMut(&SchemaChange) + Send),
) -> Result<(), StoreError> {
    let pool = Pool::of(address);
    limited(LONGEST, checks::run(&pool)).await?;
    if is_dry {
        let client = pool.get().await?;
        let found = version(&client).await?.unwrap_or(0);
        show(&change(&client, found, true).await?);
        return Ok(());
    }
    apply(&pool, now, true, show).await.map(|_| ())
}

/// Applies what is to be changed.
///
/// The row of `schema_version` is locked until the end of the transaction, so that others wait for it, and then find the work done.
/// Nothing is left of a change that fails: the statements of PostgreSQL that change tables are part of the transaction.
async fn apply(
    pool: &Pool,
    now: i64,
    distributes: bool,
    show: &mut (dyn FnMut(&SchemaChange) + Send),
) -> Result<Identity, StoreError> {
    make_version(pool).await?;
    let transaction = Transaction::begin(pool).await?;
    let client = transaction.client();
    // Creating an index on a large table takes longer than any batch.
    let patient = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = 0";
    client.batch_execute(patient).await?;
    update(client, distributes, show).await?;
    let identity = identity(client, now).await?;
    transaction.commit().await?;
    Ok(identity)
}

/// Locks the row of the version until the end of the transaction, and brings the tables to the current one. Returns whether there were
/// none.
pub(super) async fn update(
    client: &Client,
    distributes: bool,
    show: &mut (dyn FnMut(&SchemaChange) + Send),
) -> Result<bool, StoreError> {
    let found = client.query_one("SELECT version FROM schema_version FOR UPDATE", &[]);
    let found: i64 = found.await?.get(0);
    let change = change(client, found, distributes).await?;
    if (1..TOGETHER).contains(&found) {
        refuse_while_used(client).await?;
    }
    show(&change);
    for statement in &change.statements {
        client.batch_execute(statement).await?;
    }
    client
        .execute("UPDATE schema_version SET version = $1", &[&VERSION])
        .await?;
    Ok(found == 0)
}

/// Fails while aggregators use the store: those of an earlier version would not wait for appends of this one when a new life begins.
async fn refuse_while_used(client: &Client) -> Result<(), StoreError> {
    let sql = "SELECT count(*) FROM aggregators WHERE alive_until > clock_timestamp()";
    let alive: i64 = client.query_one(sql, &[]).await?.get(0);
    if alive == 0 {
        return Ok(());
    }
    Err(StoreError::Foreign(format!(
        "{alive} aggregators of an earlier version use this store: stop all of them, then start this version; one that was killed counts for \
         {ALIVE_SECONDS} s"
    )))
}

/// What brings the tables from a version to the current one.
async fn change(
    client: &Client,
    found: i64,
    distributes: bool,
) -> Result<SchemaChange, StoreError> {
    if found > VERSION {
        return Err(StoreError::Newer {
            found,
            known: VERSION,
        });
    }
    let done = usize::try_from(found).unwrap_or(0);
    let mut statements: Vec<_> = STEPS.iter().skip(done).copied().map(Cow::from).collect();
    if distributes || !statements.is_empty() {
        statements.extend(citus::missing(client).await?);
    }
    Ok(SchemaChange {
        from: found,
        to: VERSION,
        statements,
    })
}

/// Creates the table of the version. Others may do so at the same time, of which all but one fail.
pub(super) async fn make_version(pool: &Pool) -> Result<(), DatabaseError> {
    let mut failed = None;
    for _ in 0..5 {
        let client = pool.get().await?;
        match client.batch_execute(MAKE_VERSION).await {
            Ok(()) => return Ok(()),
            Err(err) => failed = Some(DatabaseError::from(err)),
        }
    }
    failed.map_or(Ok(()), Err)
}

const IDENTITY: &str = "SELECT store_id, hash_key, copied_from, copied_at FROM store";

/// Reads the row of the store, or creates it.
async fn identity(client: &Client, now: i64) -> Result<Identity, StoreError> {
    if let Some(identity) = stored_identity(client).await? {
        return Ok(identity);
    }
    let store_id = uuid::Uuid::new_v4().to_string();
    let key = uuid::Uuid::new_v4().into_bytes().to_vec();
    client
        .execute(
            "INSERT INTO store (store_id, hash_key, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            &[&store_id, &key, &now],
        )
        .await?;
    read_identity(client).await
}

/// Reads the row of the store, which exists.
pub(super) async fn read_identity(client: &Client) -> Result<Identity, StoreError> {
    let identity = stored_identity(client).await?;
    identity.ok_or_else(|| StoreError::Foreign("its table store stays empty".to_owned()))
}

/// Reads the row of the store.
///
/// # Errors
/// Also if it is a copy that is not complete: its rows are not those of the counts.
pub(super) async fn stored_identity(client: &Client) -> Result<Option<Identity>, StoreError> {
    let Some(row) = client.query_opt(IDENTITY, &[]).await? else {
        return Ok(None);
    };
    let (copied_from, copied_at): (Option<String>, Option<i64>) = (row.get(2), row.get(3));
    if let (Some(from), None) = (&copied_from, copied_at) {
        return Err(StoreError::Foreign(format!(
            "it is a copy of the store {from} that is not complete; run aggregator store copy again"
        )));
    }
    let key: Vec<u8> = row.get(1);
    let key = key
        .try_into()
        .map_err(|_| StoreError::Foreign("the key of its hashes has another length".to_owned()))?;
    Ok(Some(Identity {
        store_id: row.get(0),
        key: Key(key),
        copied_from,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_one_transaction_that_sets_the_version() {
        let mut change = SchemaChange {
            from: 0,
            to: 2,
            statements: vec!["CREATE TABLE a ();\n".into(), "CREATE TABLE b ()".into()],
        };
        let script = change.script();
        assert!(script.starts_with("BEGIN;\nCREATE TABLE IF NOT EXISTS schema_version"));
        let end = "CREATE TABLE a ();\nCREATE TABLE b ();\nUPDATE schema_version SET version = 2;\nCOMMIT;\n";
        assert!(script.ends_with(end), "{script}");
        change.from = 1;
        assert!(!change.script().contains("schema_version ("), "{script}");
        change.statements.clear();
        assert_eq!(change.script(), "");
    }
}
