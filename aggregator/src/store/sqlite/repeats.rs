//! Which stored events were repeated: each batch with duplicates appends one row, with the sequences of the events that they repeat,
//! in the transaction that counts them.
//!
//! A counter for each event would change a random page for every duplicate; this costs two to four bytes, appended. The duplicates of
//! one event are counted by reading the rows of the batches since it was stored, the newest first. All rows together count as many
//! duplicates as the store.

use prost::encoding::{decode_varint, encode_varint};
use rusqlite::{Connection, OptionalExtension, params};

use super::gate::Inside;

/// What one count reads at most, in duplicates; a row costs as much as [`ROW`] of them. Reading that much takes about a second.
const READ: u64 = 200_000_000;
const ROW: u64 = 50;

const INSERT: &str =
    "INSERT INTO repeats (reach, first, last, number, events) VALUES (?1, ?2, ?3, ?4, ?5)";

const SELECT: &str = "SELECT id, reach, first, last, number, events FROM repeats \
     WHERE id < ?1 ORDER BY id DESC LIMIT 1";

/// A row of `repeats`.
#[derive(Debug)]
pub(in crate::store) struct Repeats {
    pub id: i64,
    /// The sequence of the last event as of its batch.
    pub reach: i64,
    /// The lowest and the highest sequence in it.
    pub first: i64,
    pub last: i64,
    /// The number of duplicates.
    pub number: u64,
    /// The sequences of the repeated events, in ascending order; `None` if they are not known.
    events: Option<Vec<u8>>,
}

/// Appends the row of a batch with at least one duplicate. `events` are the sequences of the events that they repeat.
pub(in crate::store) fn append(
    transaction: &Connection,
    mut events: Vec<i64>,
    reach: i64,
) -> rusqlite::Result<()> {
    events.sort_unstable();
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Ok(());
    };
    let mut bytes = Vec::with_capacity(4 * events.len());
    let mut before = *first;
    for event in &events {
        encode_varint(event.abs_diff(before), &mut bytes);
        before = *event;
    }
    transaction.prepare_cached(INSERT)?.execute(params![
        reach,
        first,
        last,
        events.len(),
        bytes
    ])?;
    Ok(())
}

/// The newest row before an id.
pub(in crate::store) fn newest_before(
    read: &Connection,
    id: i64,
) -> rusqlite::Result<Option<Repeats>> {
    read.prepare_cached(SELECT)?
        .query_row([id], |row| {
            Ok(Repeats {
                id: row.get(0)?,
                reach: row.get(1)?,
                first: row.get(2)?,
                last: row.get(3)?,
                number: row.get(4)?,
                events: row.get(5)?,
            })
        })
        .optional()
}

impl Repeats {
    /// The sequences of the repeated events, one for each duplicate; `None` if they are not known.
    pub fn events(&self) -> Option<impl Iterator<Item = i64>> {
        let mut bytes = self.events.as_deref()?;
        let mut event = self.first;
        Some(std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            // Damage is found by a verification; here it only ends the row.
            event = event.checked_add_unsigned(decode_varint(&mut bytes).ok()?)?;
            Some(event)
        }))
    }
}

/// A count of the duplicates of one event, which may take several transactions: rows never change.
#[derive(Debug)]
pub(in crate::store) struct Count {
    event: i64,
    /// The next row to read is the newest before this one.
    before: i64,
    left: u64,
    known: u64,
    /// The duplicates in rows that do not tell which events they repeat, of which any may be this one.
    unknown: u64,
}

impl Count {
    /// Begins to count the duplicates of the event with this sequence.
    pub fn of(event: i64) -> Self {
        Self {
            event,
            before: i64::MAX,
            left: READ,
            known: 0,
            unknown: 0,
        }
    }

    /// Continues to count; the result is at least and at most how often the event was repeated.
    pub fn go(
        &mut self,
        read: &Connection,
        inside: &Inside,
    ) -> rusqlite::Result<Option<(u64, u64)>> {
        while inside.has_time() {
            let row = newest_before(read, self.before)?;
            let Some(row) = row.filter(|row| row.reach >= self.event) else {
                return Ok(Some((self.known, self.known + self.unknown)));
            };
            self.before = row.id;
            if (row.first..=row.last).contains(&self.event) {
                let same = |events| Iterator::filter(events, |event| *event == self.event).count();
                match row.events().map(same) {
                    Some(same) => self.known += same as u64,
                    None => self.unknown += row.number,
                }
            }
            let Some(left) = self.left.checked_sub(row.number + ROW) else {
                return Ok(Some((self.known, u64::MAX)));
            };
            self.left = left;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::gate::Gate;

    fn file(batches: &[(&[i64], i64)]) -> Connection {
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch(include_str!("file/schema.sql")).unwrap();
        for (events, reach) in batches {
            append(&file, events.to_vec(), *reach).unwrap();
        }
        file
    }

    fn count(file: &Connection, mut count: Count) -> (u64, u64) {
        let gate = Gate::default();
        loop {
            if let Some(found) = count.go(file, &gate.enter()).unwrap() {
                return found;
            }
        }
    }

    #[test]
    fn a_row_has_the_events_in_order_however_far_apart() {
        let far = i64::MAX / 2;
        let file = file(&[(&[far, 7, 7, 1, 300], far)]);
        let row = newest_before(&file, i64::MAX).unwrap().unwrap();
        assert_eq!((row.first, row.last, row.number), (1, far, 5));
        let events: Vec<_> = row.events().unwrap().collect();
        assert_eq!(events, [1, 7, 7, 300, far]);
    }

    #[test]
    fn a_batch_without_duplicates_has_no_row() {
        assert!(
            newest_before(&file(&[(&[], 3)]), i64::MAX)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn only_rows_since_the_event_are_counted() {
        let file = file(&[(&[1], 1), (&[2, 1, 2], 2), (&[], 5), (&[6, 2], 7)]);
        let counts = [1, 2, 5, 6, 7].map(|event| count(&file, Count::of(event)));
        assert_eq!(counts, [(2, 2), (3, 3), (0, 0), (1, 1), (0, 0)]);
    }

    #[test]
    fn what_is_unknown_or_too_much_to_read_gives_bounds() {
        let file = file(&[(&[1, 1], 4)]);
        file.execute_batch("INSERT INTO repeats (reach, first, last, number) VALUES (4, 1, 4, 9)")
            .unwrap();
        append(&file, vec![1, 3], 5).unwrap();
        assert_eq!(count(&file, Count::of(1)), (3, 12));
        assert_eq!(count(&file, Count::of(5)), (0, 0));
        let spent = Count {
            left: ROW + 1,
            ..Count::of(1)
        };
        assert_eq!(count(&file, spent), (1, u64::MAX));
    }
}
