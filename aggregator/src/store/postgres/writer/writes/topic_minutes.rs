//! What a batch adds to the counts over time of its topics.

use super::Parameter;
use crate::store::postgres::{lives::signed, writer::plan::Outcomes};

pub(super) const INSERT: &str = "INSERT INTO topic_minutes AS m (topic, minute, writer, unique_processed, duplicate_dropped) \
     SELECT n, $5::bigint, $4::int4, u, d FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS c (n, u, d) \
     ON CONFLICT (topic, minute, writer) DO UPDATE SET \
     unique_processed = m.unique_processed + excluded.unique_processed, \
     duplicate_dropped = m.duplicate_dropped + excluded.duplicate_dropped";

/// The rows of those topics that are counted over time, in the order of names.
#[derive(Default)]
pub(super) struct TopicMinutes<'a> {
    names: Vec<&'a [u8]>,
    unique: Vec<i64>,
    duplicates: Vec<i64>,
}

impl<'a> TopicMinutes<'a> {
    /// `counted` says for each topic whether it is.
    pub fn of(outcomes: &Outcomes<'a>, counted: &[bool]) -> Self {
        let mut columns = Self::default();
        let counted = outcomes.topics.iter().zip(counted).filter(|(_, is)| **is);
        for ((name, delta), _) in counted {
            columns.names.push(name.as_bytes());
            columns.unique.push(signed(delta.unique));
            columns.duplicates.push(signed(delta.duplicates));
        }
        columns
    }

    pub fn parameters(&'a self, writer: &'a i32, minute: &'a i64) -> [Parameter<'a>; 5] {
        [&self.names, &self.unique, &self.duplicates, writer, minute]
    }
}
