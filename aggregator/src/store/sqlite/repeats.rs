//! Which stored events were repeated: each batch with duplicates appends one row, with the sequences of the events that they repeat,
//! in the transaction that counts them.
//!
//! A counter for each event would change a random page for every duplicate; this appends two to four bytes for each in a large batch,
//! and some 25 for one alone. The duplicates of one event are counted by reading the rows of the batches since it was stored, the
//! newest first. The numbers of all rows add up to `duplicate_dropped`.

use prost::encoding::{decode_varint, encode_varint};
use rusqlite::{Connection, Row, params};

use super::gate::Inside;

/// What one count reads at most, in duplicates; a row costs as much as [`ROW`] of them.
const READ: u64 = 200_000_000;
const ROW: u64 = 200;

const INSERT: &str =
    "INSERT INTO repeats (reach, first, last, number, events) VALUES (?1, ?2, ?3, ?4, ?5)";

/// The rows before an id, the newest first. Without reading their pages, the events are left out of those that cannot include the
/// one with sequence `?2`, if that is not NULL.
const SELECT: &str = "SELECT id, reach, first, last, number, \
     iif(?2 IS NULL OR ?2 BETWEEN first AND last, events, NULL) FROM repeats \
     WHERE id < ?1 ORDER BY id DESC";

const OLDEST_FIRST: &str =
    "SELECT id, reach, first, last, number, events FROM repeats WHERE id > ?1 ORDER BY id";

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

/// Calls `each` with the rows before an id, the newest first, until it returns false; with `of`, those that cannot include the event
/// with this sequence are without events. Returns whether there are no more.
pub(in crate::store) fn newest_first(
    read: &Connection,
    (before, of): (i64, Option<i64>),
    mut each: impl FnMut(Repeats) -> bool,
) -> rusqlite::Result<bool> {
    let mut statement = read.prepare_cached(SELECT)?;
    let mut rows = statement.query(params![before, of])?;
    while let Some(row) = rows.next()? {
        if !each(repeats(row)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Calls `each` with the rows after an id, the oldest first, until it returns false.
pub(in crate::store) fn oldest_first(
    read: &Connection,
    after: i64,
    mut each: impl FnMut(Repeats) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = read.prepare_cached(OLDEST_FIRST)?;
    let mut rows = statement.query([after])?;
    while let Some(row) = rows.next()? {
        if !each(repeats(row)?) {
            break;
        }
    }
    Ok(())
}

fn repeats(row: &Row<'_>) -> rusqlite::Result<Repeats> {
    Ok(Repeats {
        id: row.get(0)?,
        reach: row.get(1)?,
        first: row.get(2)?,
        last: row.get(3)?,
        number: row.get(4)?,
        events: row.get(5)?,
    })
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
            // Damage ends the row; whoever reads it compares the number.
            event = event.checked_add_unsigned(decode_varint(&mut bytes).ok()?)?;
            Some(event)
        }))
    }
}

/// A count of the duplicates of one event, which may take several transactions: rows never change.
#[derive(Debug)]
pub(in crate::store) struct Count {
    event: i64,
    /// The duplicates of its topic. No event of it has more.
    most: u64,
    /// Rows before this one are still to be read.
    before: i64,
    left: u64,
    known: u64,
    /// The duplicates in rows that do not say which events they repeat, of which any may be this one.
    unknown: u64,
}

impl Count {
    /// Begins to count the duplicates of the event with this sequence, whose topic has `most`.
    pub fn of(event: i64, most: u64) -> Self {
        Self {
            event,
            most,
            before: i64::MAX,
            left: READ,
            known: 0,
            unknown: 0,
        }
    }

    /// Continues to count while there is time, the first time in the transaction that read the topic. Returns a lower and an upper
    /// bound once it is complete.
    pub fn go(
        &mut self,
        read: &Connection,
        inside: &Inside,
    ) -> rusqlite::Result<Option<(u64, u64)>> {
        let mut is_complete = self.known >= self.most;
        let is_read = is_complete
            || newest_first(read, (self.before, Some(self.event)), |row| {
                if !inside.has_time() {
                    return false;
                }
                is_complete = row.reach < self.event || !self.add(&row);
                !is_complete
            })?;
        let most = self.known.saturating_add(self.unknown).min(self.most);
        Ok((is_read || is_complete).then_some((self.known, most)))
    }

    /// Adds a row, and returns whether to read on.
    fn add(&mut self, row: &Repeats) -> bool {
        self.before = row.id;
        let is_in_range = (row.first..=row.last).contains(&self.event);
        let mut cost = ROW;
        if is_in_range {
            let (mut same, mut read) = (0, 0);
            for event in row.events().into_iter().flatten() {
                same += u64::from(event == self.event);
                read += 1;
            }
            self.known += same;
            self.unknown = self.unknown.saturating_add(row.number.saturating_sub(read));
            cost += read;
        }
        // No more can be found, because the topic was read with the newest row.
        if self.known >= self.most {
            return false;
        }
        match self.left.checked_sub(cost) {
            Some(left) => self.left = left,
            None => self.unknown = u64::MAX,
        }
        self.unknown < u64::MAX
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

    fn newest(file: &Connection) -> Option<Repeats> {
        let mut newest = None;
        newest_first(file, (i64::MAX, None), |row| {
            newest = Some(row);
            false
        })
        .unwrap();
        newest
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
        let row = newest(&file).unwrap();
        assert_eq!((row.first, row.last, row.number), (1, far, 5));
        let events: Vec<_> = row.events().unwrap().collect();
        assert_eq!(events, [1, 7, 7, 300, far]);
    }

    #[test]
    fn a_batch_without_duplicates_has_no_row() {
        assert!(newest(&file(&[(&[], 3)])).is_none());
    }

    #[test]
    fn only_rows_since_the_event_are_counted() {
        let file = file(&[(&[1], 1), (&[2, 1, 2], 2), (&[], 5), (&[6, 2], 7)]);
        let counts = [1, 2, 5, 6, 7].map(|event| count(&file, Count::of(event, 9)));
        assert_eq!(counts, [(2, 2), (3, 3), (0, 0), (1, 1), (0, 0)]);
    }

    #[test]
    fn what_is_unknown_or_too_much_to_read_gives_bounds() {
        let file = file(&[(&[1, 1], 4)]);
        file.execute_batch("INSERT INTO repeats (reach, first, last, number) VALUES (4, 1, 4, 9)")
            .unwrap();
        append(&file, vec![1, 3], 5).unwrap();
        let of = |event, most| count(&file, Count::of(event, most));
        assert_eq!(of(1, 50), (3, 12));
        // Not more than the topic has.
        assert_eq!((of(1, 4), of(1, 3)), ((3, 4), (3, 3)));
        assert_eq!(of(5, 50), (0, 0));
        let spent = |left| Count {
            left,
            ..Count::of(1, 50)
        };
        assert_eq!(count(&file, spent(ROW)), (1, 50));
        assert_eq!(count(&file, spent(3 * ROW + 4)), (3, 12));
        file.execute_batch("UPDATE repeats SET events = x'00' WHERE id = 1")
            .unwrap();
        assert_eq!(of(1, 50), (2, 12), "what a damaged row lacks is not known");
    }
}
