//! Deduplication: the index of stored identities, and the lookup stage before the writer.

pub mod index;
pub mod lookup;

use rusqlite::Row;

use self::fingerprint::Fields;
pub(in crate::store) use crate::store::fingerprint;

impl<'a> Fields<'a> {
    /// Reads a row whose columns, from `first` on, are the fields in this order.
    pub fn of_row(row: &'a Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let text = |field| Ok::<_, rusqlite::Error>(row.get_ref(first + field)?.as_str()?);
        Ok(Self {
            topic: text(0)?,
            event_id: text(1)?,
            timestamp: text(2)?,
            source: text(3)?,
            payload: row.get_ref(first + 4)?.as_bytes()?,
        })
    }
}
