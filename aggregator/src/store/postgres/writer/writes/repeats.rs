//! Which events a batch repeated: one row, however many duplicates.
//!
//! A counter for each event would change a random page for every duplicate. Rows of the table `repeats` never change, and take some
//! 16 bytes for each duplicate of a large batch.

use super::Parameter;
use crate::store::postgres::{lives::signed, writer::plan::Outcomes};

pub(super) const INSERT: &str = "INSERT INTO repeats (writer, batch, processed_at, number, first_stored, last_stored, topics, counts, stored, places, sources) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// The columns of the row.
#[derive(Default)]
pub(super) struct Repeats<'a> {
    number: i64,
    first: i64,
    last: i64,
    topics: Vec<&'a [u8]>,
    counts: Vec<i64>,
    stored: Vec<i64>,
    places: Vec<i64>,
    sources: Vec<Option<&'a [u8]>>,
}

impl<'a> Repeats<'a> {
    pub fn of(outcomes: &Outcomes<'a>) -> Self {
        let mut repeats: Vec<_> = outcomes.repeats.iter().collect();
        repeats.sort_by_key(|repeat| repeat.topic);
        let mut columns = Self {
            number: signed(repeats.len() as u64),
            ..Self::default()
        };
        for repeat in repeats {
            let topic = repeat.topic.as_bytes();
            match (columns.topics.last(), columns.counts.last_mut()) {
                (Some(last), Some(count)) if *last == topic => *count += 1,
                _ => {
                    columns.topics.push(topic);
                    columns.counts.push(1);
                }
            }
            columns.stored.push(repeat.stored);
            columns.places.push(repeat.place);
            columns.sources.push(repeat.source.map(str::as_bytes));
        }
        columns.first = columns.stored.iter().copied().min().unwrap_or(0);
        columns.last = columns.stored.iter().copied().max().unwrap_or(0);
        columns
    }

    pub fn parameters(
        &'a self,
        writer: &'a i32,
        batch: &'a &'a [u8],
        now: &'a i64,
    ) -> [Parameter<'a>; 11] {
        [
            writer,
            batch,
            now,
            &self.number,
            &self.first,
            &self.last,
            &self.topics,
            &self.counts,
            &self.stored,
            &self.places,
            &self.sources,
        ]
    }
}
