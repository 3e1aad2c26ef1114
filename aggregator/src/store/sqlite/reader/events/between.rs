//! The number of events between two sequences.

use std::sync::Arc;

use rusqlite::Transaction;

use super::topics::{FEW, Resolved, chains};
use crate::store::{
    query::EventQuery,
    sqlite::{gate::Inside, topics::chain::Back},
};

/// The number of events, if it is known.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::sqlite::reader) enum Count {
    Of(u64),
    /// Too many events would have to be read to count those that are visible.
    Unknown,
}

/// Counts the events of the query's topics, or of all that are visible, after one sequence and up to another.
#[derive(Debug)]
pub(in crate::store::sqlite::reader) struct Between {
    query: Arc<EventQuery>,
    after: i64,
    upto: i64,
    /// For each topic, the walks back to `after` and to `upto`.
    walks: Option<Vec<[Back; 2]>>,
    /// Events counted one by one, up to `after`.
    counted: u64,
}

impl Between {
    pub fn new(query: Arc<EventQuery>, after: i64, upto: i64) -> Self {
        Self {
            query,
            after,
            upto,
            walks: None,
            counted: 0,
        }
    }

    /// Continues counting, which may take several transactions; returns the number when it is complete.
    pub fn go(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
    ) -> rusqlite::Result<Option<Count>> {
        let walks = match &mut self.walks {
            Some(walks) => walks,
            none => {
                let length = self.upto - self.after;
                let of_topics = chains(read, &self.query.topics)?;
                let chains = match (of_topics, self.query.visible.patterns()) {
                    (Some(chains), _) => Some(chains),
                    (None, None) => {
                        return Ok(Some(Count::Of(u64::try_from(length).unwrap_or(0))));
                    }
                    (None, Some(_)) if length <= FEW => return self.each(read, inside),
                    (None, Some(patterns)) => {
                        Resolved::default().chains((read, inside), patterns)?
                    }
                };
                let Some(chains) = chains else {
                    return Ok(Some(Count::Unknown));
                };
                let both = [self.after, self.upto];
                let walks = chains.iter().map(|chain| both.map(|to| chain.back_to(to)));
                none.insert(walks.collect())
            }
        };
        for walk in walks.iter_mut().flatten() {
            if !walk.go(read, inside)? {
                return Ok(None);
            }
        }
        let counts = walks
            .iter()
            .map(|[after, upto]| upto.count().saturating_sub(after.count()));
        Ok(Some(Count::Of(counts.sum())))
    }

    /// Continues counting the visible ones by reading all, which are few.
    fn each(&mut self, read: &Transaction<'_>, inside: &Inside) -> rusqlite::Result<Option<Count>> {
        let sql = "SELECT e.sequence, t.name FROM events e JOIN topics t ON t.id = e.topic_id \
                   WHERE e.sequence > ?1 AND e.sequence <= ?2 ORDER BY e.sequence";
        let mut statement = read.prepare_cached(sql)?;
        let mut rows = statement.query([self.after, self.upto])?;
        while let Some(row) = rows.next()? {
            if !inside.has_time() {
                return Ok(None);
            }
            let is_visible = self.query.visible.includes(row.get_ref(1)?.as_str()?);
            self.counted += u64::from(is_visible);
            self.after = row.get(0)?;
        }
        Ok(Some(Count::Of(self.counted)))
    }
}
