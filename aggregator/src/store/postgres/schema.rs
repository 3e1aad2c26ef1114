//! The tables and their version. One aggregator creates or changes them while others wait.

use tracing::info;

use super::{
    connect::{Pool, Transaction},
    error::DatabaseError,
};
use crate::store::{StoreError, fingerprint::Key};

/// What brings a database from each version to the next, beginning with an empty one.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// The version that this program uses.
const VERSION: i64 = 1;

const _: () = assert!(STEPS.len() as u64 == VERSION.unsigned_abs());

/// The store's own id and the key of its hashes.
pub(super) struct Identity {
    pub store_id: String,
    pub key: Key,
}

/// Brings the tables to the current version.
///
/// The row of `schema_version` is locked until the end of the transaction, so that others wait for it, and then find the work done.
/// Nothing is left of a change that fails: the statements of PostgreSQL that change tables are part of the transaction.
pub(super) async fn ensure(pool: &Pool, now: i64) -> Result<Identity, StoreError> {
    make_version(pool).await?;
    let transaction = Transaction::begin(pool).await?;
    let client = transaction.client();
    // Creating an index on a large table takes longer than any batch.
    let patient = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";
    client.batch_execute(patient).await?;
    let found = client.query_one("SELECT version FROM schema_version FOR UPDATE", &[]);
    let found: i64 = found.await?.get(0);
    if found > VERSION {
        return Err(StoreError::Newer {
            found,
            known: VERSION,
        });
    }
    for (step, sql) in STEPS
        .iter()
        .enumerate()
        .skip(usize::try_from(found).unwrap_or(0))
    {
        info!(version = step + 1, "changing the schema of the database");
        client.batch_execute(sql).await?;
    }
    let identity = identity(&transaction, now).await?;
    client
        .execute("UPDATE schema_version SET version = $1", &[&VERSION])
        .await?;
    transaction.commit().await?;
    Ok(identity)
}

/// Creates the table of the version. Others may do so at the same time, of which all but one fail.
async fn make_version(pool: &Pool) -> Result<(), DatabaseError> {
    let mut failed = None;
    for _ in 0..5 {
        let client = pool.get().await?;
        let made = client
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS schema_version (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), version bigint NOT NULL); \
                 INSERT INTO schema_version (version) VALUES (0) ON CONFLICT DO NOTHING",
            )
            .await;
        match made {
            Ok(()) => return Ok(()),
            Err(err) => failed = Some(DatabaseError::from(err)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Reads the row of the store, or creates it.
async fn identity(transaction: &Transaction, now: i64) -> Result<Identity, StoreError> {
    let store_id = uuid::Uuid::new_v4().to_string();
    let key = uuid::Uuid::new_v4().into_bytes().to_vec();
    let client = transaction.client();
    client
        .execute(
            "INSERT INTO store (store_id, hash_key, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            &[&store_id, &key, &now],
        )
        .await?;
    let row = client.query_one("SELECT store_id, hash_key FROM store", &[]);
    let row = row.await?;
    let key: Vec<u8> = row.get(1);
    let key = key
        .try_into()
        .map_err(|_| StoreError::Foreign("the key of its hashes has another length".to_owned()))?;
    Ok(Identity {
        store_id: row.get(0),
        key: Key(key),
    })
}
