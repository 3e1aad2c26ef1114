//! Marks up to which rejected arrivals and conflicts were seen by an operator.
//!
//! The rows of other aggregators' batches come in any order of their places, which are their ids. So a mark ends at the last place
//! that no row can precede any more: the rows up to it are the same for ever, and so is their number, by every count of them.
//! Of two marks at once the higher one therefore has the higher number, and both are kept as the greater of the two.

use deadpool_postgres::Client;
use tokio_postgres::Row;

use super::{
    Shared,
    connect::Transaction,
    error::DatabaseError,
    lives::{signed, unsigned},
    upkeep,
};
use crate::store::{
    StoreError,
    query::{Review, Seen},
};

/// The statements of a kind of rows.
struct Kept {
    /// As in the table of the marks.
    name: &'static str,
    /// The latest row is never evicted.
    latest: &'static str,
    up_to: &'static str,
    evicted: &'static str,
}

const REJECTED: Kept = Kept {
    name: "rejected",
    latest: "SELECT max(place) FROM rejected",
    up_to: "SELECT max(place), count(*) FROM rejected WHERE place <= $1",
    evicted: "SELECT coalesce(sum(rejected_evicted), 0)::bigint FROM counters",
};

const CONFLICTS: Kept = Kept {
    name: "conflicts",
    latest: "SELECT max(place) FROM conflicts",
    up_to: "SELECT max(place), count(*) FROM conflicts WHERE place <= $1",
    evicted: "SELECT coalesce(sum(conflicts_evicted), 0)::bigint FROM counters",
};

const MARK: &str = "INSERT INTO seen_marks AS m (kept, up_to, number) VALUES ($1, $2, $3) ON CONFLICT (kept) DO UPDATE SET \
     up_to = greatest(m.up_to, excluded.up_to), number = greatest(m.number, excluded.number) RETURNING up_to, number";

const MARKED: &str = "SELECT up_to, number FROM seen_marks WHERE kept = $1";

/// Marks rows up to a place, as far as no row can come between them; returns what is marked then. `None` if it is beyond the latest
/// row.
pub(super) async fn mark(
    shared: &Shared,
    rows: Review,
    upto: u64,
) -> Result<Option<Seen>, StoreError> {
    let kept = match rows {
        Review::Rejected => REJECTED,
        Review::Conflicts => CONFLICTS,
    };
    // What was read of the floor may be from before the rows that the operator sees.
    upkeep::refresh(shared).await?;
    let last = *shared.last_event.borrow();
    let transaction = Transaction::snapshot(&shared.pool).await?;
    let client = transaction.client();
    let latest: Option<i64> = client.query_one(kept.latest, &[]).await?.get(0);
    let is_there = latest.is_some_and(|latest| upto <= unsigned(latest));
    if !is_there {
        transaction.commit().await?;
        return Ok(None);
    }
    let row = client
        .query_one(kept.up_to, &[&signed(upto).min(last)])
        .await?;
    let (place, number): (Option<i64>, i64) = (row.get(0), row.get(1));
    // The oldest rows are evicted first, and none above the floor: all of them precede one that is kept.
    let evicted: i64 = client.query_one(kept.evicted, &[]).await?.get(0);
    transaction.commit().await?;
    let client = shared.pool.get().await?;
    let Some(place) = place else {
        return Ok(Some(marked(&client, kept.name).await?));
    };
    let row = client
        .query_one(MARK, &[&kept.name, &place, &(evicted + number)])
        .await?;
    Ok(Some(seen(&row)))
}

/// What is marked of rejected arrivals or of conflicts.
async fn marked(client: &Client, kept: &str) -> Result<Seen, DatabaseError> {
    let row = client.query_opt(MARKED, &[&kept]).await?;
    Ok(row.as_ref().map(seen).unwrap_or_default())
}

/// What is marked of rejected arrivals, and of conflicts.
pub(super) async fn all(client: &Client) -> Result<(Seen, Seen), DatabaseError> {
    let rejected = marked(client, REJECTED.name).await?;
    Ok((rejected, marked(client, CONFLICTS.name).await?))
}

fn seen(row: &Row) -> Seen {
    Seen {
        up_to: unsigned(row.get(0)),
        number: unsigned(row.get(1)),
    }
}
