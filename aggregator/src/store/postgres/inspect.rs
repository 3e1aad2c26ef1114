//! What a database says about the store in it, read without changing it: for `aggregator doctor`.

use deadpool_postgres::Client;
use serde::Serialize;

use super::{
    Address,
    connect::{LONGEST, Pool, limited},
    error::DatabaseError,
    reader,
    schema::{self, tables},
};
use crate::store::{StoreError, record::Record};

/// A database that can be used, and the store in it.
#[derive(Debug, Serialize)]
pub struct DatabaseInspection {
    /// The version of the server, as it names it.
    pub server_version: Option<String>,
    /// The schema version of the tables; `None` if there is no store.
    pub schema_version: Option<i64>,
    /// Whether the extension Citus is installed.
    pub is_distributed: bool,
    /// The tables that the user may not read or change; empty if the schema version is not that of this program.
    pub forbidden: Vec<String>,
    /// What the store has recorded; `None` if the schema version is not that of this program, or the user may not read it.
    pub record: Option<Record>,
    /// The id of the store that it was copied from.
    pub copied_from: Option<String>,
    /// The names of the aggregators that are alive.
    pub aggregators: Vec<String>,
}

/// The tables that exist and for which the user lacks a right that an aggregator needs.
const FORBIDDEN: &str = "SELECT t FROM unnest($1::text[]) AS t WHERE NOT (has_table_privilege(t, 'SELECT') AND has_table_privilege(t, 'INSERT') \
     AND has_table_privilege(t, 'UPDATE') AND has_table_privilege(t, 'DELETE')) ORDER BY t";

/// Reads the store in a database. The settings of the server are checked as an aggregator does.
///
/// # Errors
/// [`StoreError`]: the database cannot be reached or used, or has a part of a copy.
pub async fn inspect(address: &Address) -> Result<DatabaseInspection, StoreError> {
    limited(LONGEST, read(address)).await
}

async fn read(address: &Address) -> Result<DatabaseInspection, StoreError> {
    let pool = Pool::of(address);
    let client = pool.get().await?;
    let sql = "SELECT current_setting('server_version', true)";
    let mut found = DatabaseInspection {
        server_version: client.query_one(sql, &[]).await?.get(0),
        // Its table is made a moment before the others.
        schema_version: schema::version(&client)
            .await?
            .filter(|version| *version > 0),
        is_distributed: schema::is_distributed(&client).await?,
        forbidden: Vec::new(),
        record: None,
        copied_from: None,
        aggregators: Vec::new(),
    };
    if found.schema_version != Some(schema::VERSION) {
        return Ok(found);
    }
    found.forbidden = forbidden(&client).await?;
    if !found.forbidden.is_empty() {
        return Ok(found);
    }
    let identity = schema::read_identity(&client).await?;
    drop(client);
    let stats = reader::stats(&pool, "", 0).await?;
    found.record = Some(Record::of(identity.store_id, &stats));
    found.copied_from = identity.copied_from;
    let alive = stats.aggregators.into_iter();
    found.aggregators = alive.map(|aggregator| aggregator.name).collect();
    Ok(found)
}

async fn forbidden(client: &Client) -> Result<Vec<String>, DatabaseError> {
    let names: Vec<&str> = tables().collect();
    let rows = client.query(FORBIDDEN, &[&names]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
