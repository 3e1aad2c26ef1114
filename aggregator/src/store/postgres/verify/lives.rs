//! The lives of streams as recorded, with their applied and missing messages.

use std::collections::HashMap;

use deadpool_postgres::Client;

use crate::store::{
    StoreError,
    postgres::{
        lives::{ranges_of, signed, unsigned},
        place,
    },
    ranges::Ranges,
    verify::{
        Check, Report,
        applied::{note_gaps, note_missing},
    },
};

/// A row of `incarnations`, with its rows of other tables.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub id: i64,
    stream: (String, i64),
    epoch: i64,
    pub base: i64,
    floor: i64,
    /// The latest time among the messages up to the floor, and among all that are applied.
    latest_time: i64,
    pub latest: i64,
    witness: i64,
    witness_time: i64,
    evicted_to: i64,
    /// Of `applied`, neighbours in one range; of `passed`; and of `missing`, with whether they are acknowledged.
    applied: Vec<(i64, i64)>,
    passed: Vec<(i64, i64)>,
    missing: Vec<(i64, i64, bool)>,
    /// Above the floor, without rows in `applied`: applied or missing for good in the store that this one was copied from.
    copied: Ranges,
    /// `applied` and `missing` as sets.
    in_applied: Ranges,
    in_missing: Ranges,
}

/// All lives, in the order of their ids, which is that of their bases.
#[derive(Debug)]
pub(super) struct Lives {
    all: Vec<Life>,
    /// Rows of other tables that name no life.
    strays: Vec<(&'static str, i64)>,
}

const LIVES: &str = "SELECT id, stream, created, epoch, base, floor, latest_time, witness, witness_time, evicted_to, copied \
     FROM incarnations ORDER BY id";

const APPLIED: &str = "SELECT incarnation, min(sequence), max(sequence), max(time) FROM (SELECT incarnation, sequence, time, \
     sequence - row_number() OVER (PARTITION BY incarnation ORDER BY sequence) AS island FROM applied) numbered \
     GROUP BY incarnation, island ORDER BY 1, 2";

const PASSED: &str = "SELECT incarnation, first, last FROM passed ORDER BY 1, 2";

const MISSING: &str =
    "SELECT incarnation, first, last, acknowledged_at IS NOT NULL FROM missing ORDER BY 1, 2";

impl Lives {
    /// Reads them, in a transaction of one snapshot: its statements must be of one moment.
    pub async fn read(client: &Client) -> Result<Self, StoreError> {
        let rows = client.query(LIVES, &[]).await?;
        let all = rows.iter().map(|row| Life {
            id: row.get(0),
            stream: (row.get(1), row.get(2)),
            epoch: row.get(3),
            base: row.get(4),
            floor: row.get(5),
            latest_time: row.get(6),
            latest: row.get(6),
            witness: row.get(7),
            witness_time: row.get(8),
            evicted_to: row.get(9),
            copied: ranges_of(row.get(10)),
            ..Life::default()
        });
        let mut lives = Self {
            all: all.collect(),
            strays: Vec::new(),
        };
        for row in client.query(APPLIED, &[]).await? {
            if let Some(life) = lives.of_row("applied", row.get(0)) {
                let (first, last) = (row.get(1), row.get(2));
                life.applied.push((first, last));
                life.in_applied.insert(unsigned(first), unsigned(last));
                life.latest = life.latest.max(row.get(3));
            }
        }
        for row in client.query(PASSED, &[]).await? {
            if let Some(life) = lives.of_row("passed", row.get(0)) {
                life.passed.push((row.get(1), row.get(2)));
            }
        }
        for row in client.query(MISSING, &[]).await? {
            if let Some(life) = lives.of_row("missing", row.get(0)) {
                let (first, last) = (row.get(1), row.get(2));
                life.missing.push((first, last, row.get(3)));
                life.in_missing.insert(unsigned(first), unsigned(last));
            }
        }
        Ok(lives)
    }

    /// The life that a row names. Notes the row if there is none.
    fn of_row(&mut self, table: &'static str, id: i64) -> Option<&mut Life> {
        let found = self.all.iter_mut().find(|life| life.id == id);
        if found.is_none() {
            self.strays.push((table, id));
        }
        found
    }

    /// Those of a stream with this name and creation time.
    pub fn of_stream<'a>(&'a self, stream: &'a (String, i64)) -> impl Iterator<Item = &'a Life> {
        self.all.iter().filter(move |life| life.stream == *stream)
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn life(&self, id: i64) -> Option<&Life> {
        self.all.iter().find(|life| life.id == id)
    }

    /// The life and the sequence of the message with this sum of base and sequence.
    pub fn origin(&self, message: i64) -> Option<(&Life, i64)> {
        let after = self.all.partition_point(|life| life.base < message);
        let life = self.all[..after].last()?;
        Some((life, message - life.base))
    }

    /// Whether the message at a place is recorded as applied.
    pub fn has_applied(&self, message: i64) -> bool {
        let origin = self.origin(message);
        origin.is_some_and(|(life, sequence)| life.has_applied(sequence))
    }

    /// The last place that an applied message can have.
    pub fn last_place(&self) -> i64 {
        let ends = self.all.iter().map(|life| life.base + life.highest());
        place::last_of(ends.max().unwrap_or(0).clamp(0, place::MAX_MESSAGE))
    }

    /// Adds the checks of the lives and their messages.
    pub fn check(&self, report: &mut Report) {
        report.add(self.check_lives());
        report.add(self.check_applied());
        report.add(self.check_missing());
    }

    fn check_lives(&self) -> Check {
        let mut check = Check::new("lives of the stream, and their places");
        let mut epochs: HashMap<&(String, i64), i64> = HashMap::new();
        let mut end = 0;
        for (number, life) in (1..).zip(&self.all) {
            let id = life.id;
            if id != number {
                check.differs(|| format!("incarnation {number} is missing; the next is {id}"));
            }
            let epoch = epochs.entry(&life.stream).or_default();
            *epoch += 1;
            if life.epoch != *epoch {
                let (found, expected) = (life.epoch, *epoch);
                check.differs(|| {
                    format!(
                        "incarnation {id} has epoch {found} of its stream; it must be {expected}"
                    )
                });
            }
            if life.base < end {
                let base = life.base;
                check.differs(|| {
                    format!("the places of incarnation {id} begin at message {base}, within those of the one before it, which end at {end}")
                });
            }
            end = life.base + life.highest() + 1;
            if end - 1 > place::MAX_MESSAGE {
                check.differs(|| format!("the places of incarnation {id} are not valid"));
            }
        }
        for (table, id) in &self.strays {
            check.differs(|| {
                format!("a row of {table} belongs to incarnation {id}, which does not exist")
            });
        }
        check
    }

    fn check_applied(&self) -> Check {
        let mut check = Check::new("applied sequences");
        for life in &self.all {
            let id = life.id;
            for (table, ranges) in [("applied", &life.applied), ("passed", &life.passed)] {
                for (first, last) in ranges {
                    if first > last || *first < 1 {
                        check.differs(|| {
                            format!("incarnation {id}: {first} to {last} of {table} is not a valid range of sequences")
                        });
                    }
                }
            }
            // In a copy, it may also be the last one that the other store had applied: there are no times of the others above the floor.
            if life.witness > life.floor && !life.copied.contains(unsigned(life.witness)) {
                check.differs(|| {
                    format!(
                        "incarnation {id}: message {} is recorded as the last one up to the floor, which is {}",
                        life.witness, life.floor
                    )
                });
            }
            if life.witness_time > life.latest_time {
                check.differs(|| {
                    format!("incarnation {id}: the last message up to the floor is later than the latest")
                });
            }
            if life.evicted_to > life.highest() {
                check.differs(|| {
                    format!(
                        "incarnation {id}: arrivals up to message {} were evicted, but none is applied beyond {}",
                        life.evicted_to,
                        life.highest()
                    )
                });
            }
        }
        if let Some(life) = self.all.last() {
            let why = "an aggregator has them in hand, or the broker will redeliver them";
            note_gaps(&life.done(), why, &mut check);
        }
        check
    }

    /// Checks that the floor can advance past missing sequences.
    fn check_missing(&self) -> Check {
        let mut check = Check::new("missing sequences");
        let (mut missing, mut unacknowledged) = (0, 0);
        for life in &self.all {
            let done = life.done();
            let mut end = 0;
            for (first, last, is_acknowledged) in &life.missing {
                let count = unsigned(last.saturating_add(1).saturating_sub(*first));
                missing += count;
                unacknowledged += if *is_acknowledged { 0 } else { count };
                let is_valid = 1 <= *first && first <= last && end < *first;
                end = *last;
                if !is_valid || done.absent_within(unsigned(*first), unsigned(*last)) > 0 {
                    check.differs(|| {
                        format!(
                            "incarnation {}: {first} to {last} are missing, but not in the applied or passed ranges",
                            life.id
                        )
                    });
                }
            }
        }
        note_missing(missing, unacknowledged, &mut check);
        check
    }
}

impl Life {
    /// Whether a message is recorded as applied: it has a row, or the floor or a copy includes it, and it is not missing. A missing one that
    /// has a row was applied after the stream lost it.
    pub fn has_applied(&self, sequence: i64) -> bool {
        let number = unsigned(sequence);
        number > 0
            && (self.in_applied.contains(number)
                || (sequence <= self.floor || self.copied.contains(number))
                    && !self.in_missing.contains(number))
    }

    /// The highest sequence that is applied or passed.
    fn highest(&self) -> i64 {
        let ranges = self.applied.iter().chain(&self.passed);
        let last = ranges.map(|(_, last)| *last).max().unwrap_or(0);
        last.max(self.floor)
            .max(self.witness)
            .max(signed(self.copied.highest()))
    }

    /// The highest sequence that is applied, or that the floor includes.
    pub fn highest_applied(&self) -> u64 {
        let highest = self.in_applied.highest().max(self.copied.highest());
        highest.max(unsigned(self.floor))
    }

    /// What is applied or passed.
    fn done(&self) -> Ranges {
        let mut done = Ranges::default();
        done.insert(1, unsigned(self.floor));
        for (first, last) in self.copied.iter() {
            done.insert(first, last);
        }
        for (first, last) in self.applied.iter().chain(&self.passed) {
            done.insert(unsigned(*first), unsigned(*last));
        }
        done
    }

    /// The place of an arrival; `None` if it cannot have one.
    pub fn place(&self, sequence: i64, position: i64) -> Option<i64> {
        let message = self.base.checked_add(sequence)?;
        let is_valid = sequence > 0 && message <= place::MAX_MESSAGE;
        let position = usize::try_from(position).ok()?;
        let is_valid = is_valid && signed(position as u64) < place::POSITIONS;
        is_valid.then(|| place::of(message, position))
    }
}
