//! Parts of the topics and minutes, each of which fits into memory.

use deadpool_postgres::Client;

use crate::store::{
    StoreError,
    fingerprint::Key,
    postgres::{connect::LONGEST, error::DatabaseError, lives::unsigned},
};

/// What a topic takes in addition to its name, and a minute, approximately.
const ENTRY: u64 = 150;

/// One of several parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub nth: u64,
    of: u64,
}

impl Share {
    /// All of them, in their order.
    pub fn all(of: u64) -> impl Iterator<Item = Self> {
        (0..of).map(move |nth| Self { nth, of })
    }

    /// Everything, without the checks of the rows kept for review; or else only what is not of a topic or minute, in memory that does
    /// not grow with them.
    pub fn whole(has_topics: bool) -> Self {
        let of = if has_topics { 1 } else { u64::MAX };
        Self { nth: 1, of }
    }

    pub fn is_first(self) -> bool {
        self.nth == 0
    }

    pub fn has_topic(self, key: &Key, topic: &[u8]) -> bool {
        // A keyed hash, so that no sender can choose names that all are in one part.
        self.of == 1 || {
            let name = String::from_utf8_lossy(topic);
            key.identity(&name, "") % u128::from(self.of) == u128::from(self.nth)
        }
    }

    pub fn has_minute(self, minute: i64) -> bool {
        unsigned(minute) % self.of == self.nth
    }
}

/// How many parts of this size there are.
pub(super) async fn shares(client: &Client, budget: u64) -> Result<u64, StoreError> {
    let entry = i64::try_from(ENTRY).unwrap_or(i64::MAX);
    let mut bytes = 0_u64;
    for sql in [
        "SELECT coalesce(sum(octet_length(topic) + $1::bigint), 0)::bigint FROM (SELECT DISTINCT topic FROM topics) t",
        "SELECT count(DISTINCT minute) * $1::bigint FROM minutes",
    ] {
        let row = client.query_one(sql, &[&entry]).await?;
        bytes = bytes.saturating_add(unsigned(row.get(0)));
    }
    Ok(bytes / budget + 1)
}

/// Waits for an answer for as long as a read may take.
pub(super) async fn answered<T>(
    read: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let done = tokio::time::timeout(LONGEST, read).await;
    done.unwrap_or_else(|_| Err(DatabaseError::Silent(LONGEST).into()))
}
