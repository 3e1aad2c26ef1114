//! The database with the store: whether an aggregator can use it, and what the store has recorded.

use serde::Serialize;

use super::finding::Finding;
use crate::store::{Address, DATABASE_SCHEMA_VERSION, DatabaseInspection, Record, inspect_shared};

/// What was found in the database.
#[derive(Debug, Serialize)]
pub(super) struct Database {
    /// Its address, without credentials.
    pub address: String,
    /// What is in it; `None` if an aggregator could not use it either.
    pub store: Option<DatabaseInspection>,
    /// Why not.
    pub error: Option<String>,
}

impl Database {
    /// Reads the store in a database, and changes nothing.
    pub async fn read(address: &Address) -> Self {
        let (store, error) = match inspect_shared(address).await {
            Ok(store) => (Some(store), None),
            Err(err) => (None, Some(err.to_string())),
        };
        Self {
            address: address.to_string(),
            store,
            error,
        }
    }

    /// The record of the store.
    pub fn record(&self) -> Option<&Record> {
        self.store.as_ref()?.record.as_ref()
    }

    /// Whether the store takes over a durable that names this owner: it is a copy of that store, and no aggregator has used it yet.
    pub fn replaces(&self, owner: Option<&str>) -> bool {
        let copied_from = self
            .store
            .as_ref()
            .and_then(|found| found.copied_from.as_deref());
        copied_from.is_some() && copied_from == owner
    }

    /// What needs attention.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |problem: String, remedy: &str| {
            findings.push(Finding::new("database", problem, remedy));
        };
        let address = &self.address;
        if let Some(error) = &self.error {
            // The store's errors say after a semicolon what to do.
            let (reason, remedy) = error
                .split_once("; ")
                .unwrap_or((error, "correct --store, or read the log of the server"));
            add(format!("{address}: {reason}"), remedy);
        }
        let Some(store) = &self.store else {
            return findings;
        };
        match store.schema_version {
            None => add(
                format!("there is no store in {address}"),
                "run aggregator store init or start an aggregator, which create it; if there should be one, correct the database in --store, or the \
                 search_path of its user",
            ),
            Some(found) if found != DATABASE_SCHEMA_VERSION => add(
                format!(
                    "the store has schema version {found}, and this program {DATABASE_SCHEMA_VERSION}"
                ),
                if found < DATABASE_SCHEMA_VERSION {
                    "back up the database, then start the aggregators of this version, the first of which changes it"
                } else {
                    "use the program of the version that changed it"
                },
            ),
            Some(_) => {}
        }
        if !store.forbidden.is_empty() {
            add(
                format!(
                    "the user may not read and change {}",
                    store.forbidden.join(", ")
                ),
                "grant it SELECT, INSERT, UPDATE and DELETE on the tables",
            );
        }
        if self.record().is_some_and(|record| !record.consistent) {
            add(
                "the counters of the store do not add up".to_owned(),
                "run aggregator verify, and attach its output to an issue",
            );
        }
        findings
    }
}
