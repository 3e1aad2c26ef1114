//! The index as a verification reads it: its entries in order, in a store that no other process has open.

use std::path::Path;

use rusqlite::Connection;

use super::{Entry, IndexError, recovery::is_known, sealed::Sealed};
use crate::memory::OfIndex;

/// The state of the index's folder.
pub(in crate::store) enum Found {
    /// An index of this store, whose sealed entries reach to this sequence.
    Usable(Audit),
    /// Nothing that the store would use at its next start, and why.
    Unusable(String),
}

/// A tree opened for reading.
pub(in crate::store) struct Audit {
    sealed: Sealed,
    /// The sequence up to which every event must be in it.
    pub reach: i64,
}

impl Audit {
    /// Opens the tree, if there is one. Opening removes files that are not part of the tree, such as those of an interrupted merge,
    /// and changes nothing else; the store's next start would do the same.
    pub fn open(
        folder: &Path,
        connection: &Connection,
        last_event: i64,
    ) -> Result<Found, rusqlite::Error> {
        if !folder.join("current").exists() {
            let why = "there is no index; it is rebuilt at the next start";
            return Ok(Found::Unusable(why.to_owned()));
        }
        Ok(match Sealed::open(folder, OfIndex::FOR_SCANS) {
            Ok((sealed, None)) => Found::Usable(Self { sealed, reach: 0 }),
            Ok((sealed, Some(seal))) if is_known(connection, seal, last_event)? => {
                let reach = seal.reach;
                Found::Usable(Self { sealed, reach })
            }
            Ok(_) => Found::Unusable(
                "its newest seal is not registered in this store; it is rebuilt at the next start"
                    .to_owned(),
            ),
            Err(err) => Found::Unusable(format!("{err}; it is rebuilt at the next start")),
        })
    }

    /// All entries, in the order of their fingerprints.
    pub fn entries(&self) -> impl Iterator<Item = Result<(u128, Entry), IndexError>> + use<> {
        self.sealed.entries()
    }
}
