//! Checks the record of repeated events: its rows are well formed, and name events of their topics that are stored, and places of applied
//! messages.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::Client;
use tokio_postgres::{Row, types::ToSql};

use super::{SESSION, connection, lives::Lives, share::answered};
use crate::store::{
    StoreError,
    postgres::{
        connect::{Pool, Transaction},
        lives::{signed, unsigned},
        place,
    },
    ranges::Ranges,
    verify::{Check, Progress},
};

/// Rows per statement.
const ROWS: i64 = if cfg!(test) { 2 } else { 200 };

/// Duplicates of which rows are read at once: those of one row, or of several that have no more of them together.
const AT_ONCE: u64 = if cfg!(test) { 5 } else { 20_000 };

const NUMBERS: &str = "SELECT writer, batch, number FROM repeats WHERE (writer, batch) > ($1, $2) ORDER BY writer, batch LIMIT $3";

/// Rows never change, so each statement may have a snapshot of its own.
const SELECT: &str = "SELECT writer, batch, number, first_stored, last_stored, topics, counts, stored, places, sources FROM repeats \
     WHERE (writer, batch) > ($1, $2) AND (writer, batch) <= ($3, $4) ORDER BY writer, batch";

const EVENTS: &str = "SELECT place, topic FROM events WHERE place = ANY ($1)";

/// A row that is well formed.
struct Repeats {
    topics: Vec<Vec<u8>>,
    counts: Vec<i64>,
    stored: Vec<i64>,
    /// Not known of a copy.
    places: Vec<i64>,
}

/// Checks all rows, of which `duplicates` are expected.
pub(super) async fn check(
    pool: &Pool,
    lives: &Lives,
    check: &mut Check,
    duplicates: u64,
    progress: &dyn Progress,
) -> Result<(), StoreError> {
    let mut after = (i32::MIN, Vec::new());
    let (mut read, mut later) = (0, Ranges::default());
    loop {
        let client = connection(pool).await?;
        let rows = rows_after(&client, &after).await?;
        if rows.is_empty() {
            break;
        }
        // The topic that each event must have, and one of the batches that say so.
        let mut expected: HashMap<i64, (Vec<u8>, i32)> = HashMap::new();
        for row in &rows {
            after = (row.get(0), row.get(1));
            read += unsigned(row.get(2));
            match decoded(row) {
                None => {
                    check.differs(|| {
                        format!("writer {}: a row of repeated events is damaged", after.0)
                    });
                }
                Some(repeats) => take(&repeats, after.0, (lives, &mut later), &mut expected, check),
            }
        }
        compare(&client, expected, check).await?;
        progress.at("duplicates read", read.min(duplicates), duplicates);
    }
    conclude(pool, &later, check).await
}

/// The rows after one, so few that they have a bounded number of duplicates; none if there are no more.
async fn rows_after(client: &Client, after: &(i32, Vec<u8>)) -> Result<Vec<Row>, StoreError> {
    let (writer, batch) = after;
    let numbers =
        answered(async { Ok(client.query(NUMBERS, &[writer, batch, &ROWS]).await?) }).await?;
    let (mut last, mut duplicates) = (None, 0);
    for row in &numbers {
        duplicates += unsigned(row.get(2));
        if last.is_some() && duplicates > AT_ONCE {
            break;
        }
        last = Some((row.get(0), row.get(1)));
    }
    let Some::<(i32, Vec<u8>)>((last_writer, last_batch)) = last else {
        return Ok(Vec::new());
    };
    let select = async {
        let keys: [&(dyn ToSql + Sync); 4] = [writer, batch, &last_writer, &last_batch];
        Ok(client.query(SELECT, &keys).await?)
    };
    answered(select).await
}

/// `None` if it is damaged. One that has only a number is well formed.
fn decoded(row: &Row) -> Option<Repeats> {
    let (number, first, last): (i64, i64, i64) = (row.get(2), row.get(3), row.get(4));
    let topics: Option<Vec<Vec<u8>>> = row.get(5);
    let (counts, stored): (Option<Vec<i64>>, Option<Vec<i64>>) = (row.get(6), row.get(7));
    let places: Option<Vec<i64>> = row.get(8);
    let sources: Option<Vec<Option<Vec<u8>>>> = row.get(9);
    let (topics, counts, stored) = match (topics, counts, stored) {
        (None, None, None) => (Vec::new(), Vec::new(), Vec::new()),
        (topics, counts, stored) => {
            let (topics, counts, stored) = (topics?, counts?, stored?);
            let is_whole = signed(stored.len() as u64) == number
                && topics.len() == counts.len()
                && counts.iter().all(|count| *count > 0)
                && counts
                    .iter()
                    .try_fold(0, |sum: i64, count| sum.checked_add(*count))
                    == Some(number)
                && stored.iter().min() == Some(&first)
                && stored.iter().max() == Some(&last);
            is_whole.then_some((topics, counts, stored))?
        }
    };
    let is_placed = match (&places, &sources) {
        (Some(places), Some(sources)) => {
            places.len() == stored.len() && sources.len() == stored.len()
        }
        (None, None) => true,
        _ => false,
    };
    (number > 0 && is_placed).then(|| Repeats {
        topics,
        counts,
        stored,
        places: places.unwrap_or_default(),
    })
}

fn take(
    repeats: &Repeats,
    writer: i32,
    (lives, later): (&Lives, &mut Ranges),
    expected: &mut HashMap<i64, (Vec<u8>, i32)>,
    check: &mut Check,
) {
    let mut stored = repeats.stored.iter();
    for (topic, count) in repeats.topics.iter().zip(&repeats.counts) {
        let count = usize::try_from(*count).unwrap_or(usize::MAX);
        for place in stored.by_ref().take(count) {
            let (of, _) = expected
                .entry(*place)
                .or_insert_with(|| (topic.clone(), writer));
            if of != topic {
                check.differs(|| {
                    format!(
                        "writer {writer}: event {place} is recorded as repeated under two topics"
                    )
                });
            }
        }
    }
    for place in &repeats.places {
        let (message, _) = place::parts(*place);
        if !lives.has_applied(message) {
            match u64::try_from(message) {
                Ok(message) => later.insert(message, message),
                Err(_) => check.differs(|| {
                    format!("writer {writer}: place {place} of a repeated event is not valid")
                }),
            }
        }
    }
}

/// Compares the topics with those of the events.
async fn compare(
    client: &Client,
    expected: HashMap<i64, (Vec<u8>, i32)>,
    check: &mut Check,
) -> Result<(), StoreError> {
    let places: Vec<i64> = expected.keys().copied().collect();
    let events = answered(async { Ok(client.query(EVENTS, &[&places]).await?) }).await?;
    let events: BTreeMap<i64, &[u8]> = events.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut expected: Vec<_> = expected.into_iter().collect();
    expected.sort_unstable_by_key(|(place, _)| *place);
    for (place, (topic, writer)) in expected {
        match events.get(&place) {
            None => check.differs(|| {
                format!("writer {writer}: event {place} is recorded as repeated, and is not stored")
            }),
            Some(of) if **of != *topic => {
                check.differs(|| {
                    format!(
                        "writer {writer}: event {place} is recorded as repeated under another topic"
                    )
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Checks that the messages are applied by now that were not when the record was read.
async fn conclude(pool: &Pool, later: &Ranges, check: &mut Check) -> Result<(), StoreError> {
    let transaction = Transaction::snapshot(pool).await?;
    transaction.client().batch_execute(SESSION).await?;
    let lives = Lives::read(transaction.client()).await?;
    transaction.commit().await?;
    for message in later.iter().flat_map(|(first, last)| first..=last) {
        if !lives.has_applied(signed(message)) {
            check.differs(|| {
                format!(
                    "message {message} has duplicates by the record of repeated events, and is not recorded as applied"
                )
            });
        }
    }
    Ok(())
}
