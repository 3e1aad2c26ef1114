//! Checks what is marked as seen.

use deadpool_postgres::Client;

use crate::store::{
    StoreError,
    postgres::{
        lives::{signed, unsigned},
        seen,
    },
    query::Seen,
    verify::{Check, balance::Counts},
};

const REJECTED: &str = "SELECT count(*) FROM rejected WHERE place <= $1";
const CONFLICTS: &str = "SELECT count(*) FROM conflicts WHERE place <= $1";

/// At least the rows up to the mark are seen, and at most all. Which of the evicted rows were is not known.
pub(super) async fn check(client: &Client, counts: &Counts) -> Result<Check, StoreError> {
    let mut check = Check::new("rows marked as seen");
    let (rejected, conflicts) = seen::all(client).await?;
    for (name, sql, seen, all) in [
        ("rejected arrivals", REJECTED, rejected, counts.rejected),
        ("conflicts", CONFLICTS, conflicts, counts.conflicts),
    ] {
        let Seen { up_to, number } = seen;
        let row = client.query_one(sql, &[&signed(up_to)]).await?;
        let kept = unsigned(row.get(0));
        if !(kept..=all).contains(&number) {
            check.differs(|| {
                format!("{number} {name} are marked as seen; it must be from {kept}, which have ids up to {up_to}, to {all}, which were counted")
            });
        }
    }
    Ok(check)
}
