//! Checks of the rows kept for review: they add up to their counters, and each is an arrival of an applied message.

use std::collections::HashSet;

use deadpool_postgres::Client;

use super::lives::Lives;
use crate::store::{
    StoreError,
    postgres::{lives::unsigned, place},
    verify::{
        Check,
        balance::{Recorded, ReviewRows, review_rows},
    },
};

/// Rows per statement; their texts are not read.
const ROWS: i64 = if cfg!(test) { 2 } else { 10_000 };

/// The bytes of a row are those that the append counts, see `kept::row_bytes`.
const REJECTED: &str = "SELECT place, incarnation, stream_sequence, position, \
     (200 + octet_length(detail) + octet_length(subject) + octet_length(body))::bigint, NULL::bytea \
     FROM rejected WHERE place > $1 ORDER BY place LIMIT $2";

const CONFLICTS: &str = "SELECT place, incarnation, stream_sequence, position, \
     (200 + octet_length(\"timestamp\") + octet_length(source) + octet_length(payload) + octet_length(subject))::bigint, fingerprint \
     FROM conflicts WHERE place > $1 ORDER BY place LIMIT $2";

/// Checks the rejected arrivals.
pub(super) async fn rejected(
    client: &Client,
    lives: &Lives,
    recorded: Recorded,
) -> Result<Check, StoreError> {
    check(
        client,
        lives,
        ("rejected rows and evicted", REJECTED),
        recorded,
    )
    .await
}

/// Checks the conflicts, each of which has the identity of a stored event.
pub(super) async fn conflicts(
    client: &Client,
    lives: &Lives,
    recorded: Recorded,
) -> Result<Check, StoreError> {
    check(
        client,
        lives,
        ("conflict rows and evicted", CONFLICTS),
        recorded,
    )
    .await
}

async fn check(
    client: &Client,
    lives: &Lives,
    (name, sql): (&'static str, &str),
    recorded: Recorded,
) -> Result<Check, StoreError> {
    let mut sum = ReviewRows::default();
    let mut of_rows = Check::new(name);
    let mut after = i64::MIN;
    loop {
        let rows = client.query(sql, &[&after, &ROWS]).await?;
        let mut places = Vec::with_capacity(rows.len());
        let mut identities = Vec::new();
        for row in &rows {
            let (place, life, sequence): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let position: i64 = row.get(3);
            after = place;
            places.push(place);
            sum.rows += 1;
            sum.bytes = sum.bytes.saturating_add(unsigned(row.get(4)));
            let identity: Option<Vec<u8>> = row.get(5);
            identities.extend(identity.map(|identity| (place, identity)));
            let life = lives.life(life);
            if life.and_then(|life| life.place(sequence, position)) != Some(place) {
                of_rows.differs(|| {
                    format!(
                        "{name}: row {place} is not at the place of message {sequence}, position {position}, of its incarnation"
                    )
                });
            }
            if !lives.has_applied(place::parts(place).0) {
                sum.stray += 1;
                sum.first_stray = sum.first_stray.or(Some(unsigned(place)));
            }
        }
        for place in events_at(client, &places).await? {
            of_rows.differs(|| {
                format!("{name}: row {place} is the arrival that is stored as an event, too")
            });
        }
        for place in without_event(client, identities).await? {
            of_rows.differs(|| {
                format!("{name}: row {place} conflicts with an event that is not stored")
            });
        }
        if rows.len() < usize::try_from(ROWS).unwrap_or(usize::MAX) {
            break;
        }
    }
    let mut check = review_rows(name, recorded, sum);
    check.append(of_rows);
    Ok(check)
}

/// Those of the places that an event has.
async fn events_at(client: &Client, places: &[i64]) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT place FROM events WHERE place = ANY ($1)";
    let rows = client.query(sql, &[&places]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The places of conflicts whose identity is not that of a stored event.
async fn without_event(
    client: &Client,
    conflicts: Vec<(i64, Vec<u8>)>,
) -> Result<Vec<i64>, StoreError> {
    if conflicts.is_empty() {
        return Ok(Vec::new());
    }
    let identities: Vec<&[u8]> = conflicts
        .iter()
        .map(|(_, identity)| identity.as_slice())
        .collect();
    let sql = "SELECT fingerprint FROM events WHERE fingerprint = ANY ($1)";
    let rows = client.query(sql, &[&identities]).await?;
    let stored: HashSet<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    let without = conflicts
        .into_iter()
        .filter(|(_, identity)| !stored.contains(identity));
    Ok(without.map(|(place, _)| place).collect())
}
