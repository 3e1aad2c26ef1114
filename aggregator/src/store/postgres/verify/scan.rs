//! Reads the events once, in the order of their places, in short statements.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
};

use futures::TryStreamExt;
use shared::message::MAX_ELEMENTS;
use tokio_postgres::{Row, types::ToSql};

use super::{
    SESSION, connection,
    lives::Lives,
    over_time::OverTime,
    record::{Minute, Record, Topic},
    share::{Share, answered},
};
use crate::store::{
    StoreError,
    digest::Digest,
    fingerprint::{Fields, Key},
    postgres::{
        connect::{Pool, Transaction},
        lives::unsigned,
        place,
        writer::{bytes_of, number_of},
    },
    query::MICROS_PER_MINUTE,
    ranges::Ranges,
    verify::{Check, Progress, topics::TopicChecks},
};

/// Rows per statement. They are read as they arrive, so a page of large events is never whole in memory.
const ROWS: i64 = if cfg!(test) { 3 } else { 5_000 };

/// Topics without a record that are counted by name.
const UNKNOWN: usize = 10_000;

const SELECT: &str = "SELECT place, fingerprint, content, topic, event_id, \"timestamp\", timestamp_filled, source, payload, processed_at \
     FROM events WHERE place >= $1 AND (place, fingerprint) > ($1, $2) AND place <= $3 ORDER BY place, fingerprint LIMIT $4";

/// A scan in progress, with the checks of the rows.
pub(super) struct Scan<'a> {
    key: &'a Key,
    share: Share,
    lives: Lives,
    unique: u64,
    processed_at: i64,
    topics: HashMap<Box<[u8]>, Compared>,
    /// The number of topics that are not recorded, and the events of those beyond [`UNKNOWN`].
    unknown: (usize, u64),
    /// Recorded and found.
    minutes: BTreeMap<i64, (Minute, Minute)>,
    over_time: OverTime,
    rows: u64,
    /// Rows of messages that the record does not have as applied, and these messages.
    later_rows: u64,
    later: Ranges,
    before: Option<i64>,
    readable: Check,
    prints: Check,
    places: Check,
    origins: Check,
}

/// A topic as recorded and as counted.
struct Compared {
    recorded: Option<Topic>,
    unique: u64,
    digest: Digest,
    last_at: i64,
}

/// A scan that has read all rows.
pub(super) struct Scanned {
    topics: HashMap<Box<[u8]>, Compared>,
    unknown_events: u64,
    minutes: BTreeMap<i64, (Minute, Minute)>,
    over_time: Option<OverTime>,
    /// All rows that were read.
    pub rows: u64,
    /// The checks of the rows, of which those of the topics come after the first.
    pub checks: Vec<Check>,
}

impl<'a> Scan<'a> {
    pub fn new(key: &'a Key, record: Record, share: Share) -> Self {
        let topics = record.topics.into_iter().map(|(name, recorded)| {
            let compared = Compared {
                recorded: Some(recorded),
                ..Compared::unknown()
            };
            (name, compared)
        });
        let minutes = record.minutes.into_iter();
        Self {
            key,
            share,
            lives: record.lives,
            unique: record.counts.unique,
            processed_at: record.processed_at,
            topics: topics.collect(),
            unknown: (0, 0),
            minutes: minutes
                .map(|(minute, recorded)| (minute, (recorded, Minute::default())))
                .collect(),
            over_time: record.over_time,
            rows: 0,
            later_rows: 0,
            later: Ranges::default(),
            before: None,
            readable: Check::new("events"),
            prints: Check::new("fingerprints of the events"),
            places: Check::new("places and times of the events"),
            origins: Check::new("events of applied messages"),
        }
    }

    /// Reads all rows. `part` is the number of this scan, and how many there are.
    pub async fn run(
        mut self,
        pool: &Pool,
        progress: &dyn Progress,
        part: (u64, u64),
    ) -> Result<Scanned, StoreError> {
        let last = self.lives.last_place();
        let all = self.unique * part.1;
        let mut after = (i64::MIN, Vec::new());
        let mut is_end = false;
        while !is_end {
            let client = connection(pool).await?;
            let statement = client.prepare_cached(SELECT).await?;
            let parameters: [&(dyn ToSql + Sync); 4] = [&after.0, &after.1, &last, &ROWS];
            let rows = answered(async { Ok(client.query_raw(&statement, parameters).await?) });
            let mut rows = pin!(rows.await?);
            let mut read = 0;
            while let Some(row) = answered(async { Ok(rows.try_next().await?) }).await? {
                read += 1;
                after = (row.get(0), row.get(1));
                self.take(after.0, &after.1, &row);
            }
            is_end = read < ROWS;
            progress.at("events read", self.unique * part.0 + self.rows, all);
        }
        if self.share.is_first() {
            self.conclude(pool).await?;
        }
        self.readable.compare(self.unique, self.rows);
        Ok(Scanned {
            topics: self.topics,
            unknown_events: self.unknown.1,
            minutes: self.minutes,
            // The first scan reads all of each event.
            over_time: self.share.is_first().then_some(self.over_time),
            rows: self.rows + self.later_rows,
            checks: vec![self.readable, self.prints, self.places, self.origins],
        })
    }

    fn take(&mut self, place: i64, fingerprint: &[u8], row: &Row) {
        let (message, position) = place::parts(place);
        if self.before.replace(place) == Some(place) {
            self.places
                .differs(|| format!("two events have the place {place}"));
        }
        if position >= MAX_ELEMENTS as u64 {
            self.places.differs(|| {
                format!("event {place} has position {position} in its message, which has at most {MAX_ELEMENTS}")
            });
        }
        if !self.lives.has_applied(message) {
            self.later_rows += 1;
            match u64::try_from(message) {
                Ok(message) => self.later.insert(message, message),
                Err(_) => self
                    .origins
                    .differs(|| format!("event {place} has no valid place")),
            }
            return;
        }
        self.rows += 1;
        if let Err(err) = self.event(place, fingerprint, row) {
            self.readable
                .differs(|| format!("event {place} cannot be read: {err}"));
        }
    }

    fn event(
        &mut self,
        place: i64,
        fingerprint: &[u8],
        row: &Row,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let name: &[u8] = row.try_get(3)?;
        let processed_at: i64 = row.try_get(9)?;
        let minute = processed_at.div_euclid(MICROS_PER_MINUTE);
        if self.share.has_minute(minute) {
            let (_, found) = self.minutes.entry(minute).or_default();
            found.unique += 1;
            found.first_place = found.first_place.min(place);
            found.last_place = found.last_place.max(place);
        }
        let has_topic = self.share.has_topic(self.key, name);
        if !has_topic && !self.share.is_first() {
            return Ok(());
        }
        let text = |column: usize| -> Result<&str, Box<dyn std::error::Error + Send + Sync>> {
            Ok(std::str::from_utf8(row.try_get(column)?)?)
        };
        let is_filled: bool = row.try_get(6)?;
        let timestamp: &str = row.try_get(5)?;
        let payload: &str = row.try_get(8)?;
        let found = self.key.fingerprint(&Fields {
            topic: text(3)?,
            event_id: text(4)?,
            timestamp: if is_filled { "" } else { timestamp },
            source: text(7)?,
            payload: payload.as_bytes(),
        });
        let key = self.key;
        if has_topic && let Some(topic) = self.topic(name) {
            topic.unique += 1;
            topic.digest.add(key, found);
            topic.last_at = topic.last_at.max(processed_at);
        }
        if !self.share.is_first() {
            return Ok(());
        }
        self.over_time.take(key, name, processed_at);
        if fingerprint != bytes_of(found.identity) {
            self.prints.differs(|| {
                format!(
                    "event {place} has a fingerprint that is not that of its topic and event_id"
                )
            });
        }
        if row.try_get::<_, i64>(2)? != number_of(found.content) {
            self.prints.differs(|| {
                format!("the timestamp, source or payload of event {place} does not match its hash")
            });
        }
        if processed_at > self.processed_at {
            let recorded = self.processed_at;
            self.places.differs(|| {
                format!("event {place} was stored at {processed_at}, later than the latest recorded, {recorded}")
            });
        }
        Ok(())
    }

    /// The counts of a topic; `None` if too many are not recorded.
    fn topic(&mut self, name: &[u8]) -> Option<&mut Compared> {
        if !self.topics.contains_key(name) {
            if self.unknown.0 == UNKNOWN {
                self.unknown.1 += 1;
                return None;
            }
            self.unknown.0 += 1;
            self.topics.insert(name.into(), Compared::unknown());
        }
        self.topics.get_mut(name)
    }

    /// Checks that the messages whose events were left out are applied by now, and that no event is beyond the applied messages.
    async fn conclude(&mut self, pool: &Pool) -> Result<(), StoreError> {
        let client = connection(pool).await?;
        let row = client.query_one("SELECT max(place) FROM events", &[]);
        let last: Option<i64> = row.await?.get(0);
        drop(client);
        // After it, and of one moment: a fold moves applied messages from their rows to the floor.
        let transaction = Transaction::snapshot(pool).await?;
        transaction.client().batch_execute(SESSION).await?;
        let lives = Lives::read(transaction.client()).await?;
        transaction.commit().await?;
        let messages = self.later.iter().flat_map(|(first, last)| first..=last);
        let last = last.map(|last| unsigned(place::parts(last).0));
        let beyond = last.filter(|last| !self.later.contains(*last));
        for message in messages.chain(beyond) {
            let number = i64::try_from(message).unwrap_or(i64::MAX);
            if lives.has_applied(number) {
                continue;
            }
            let origin = lives.origin(number);
            self.origins.differs(|| match origin {
                Some((life, sequence)) => format!(
                    "events are from message {sequence} of incarnation {}, which is not recorded as applied; their places begin at {}",
                    life.id,
                    place::of(number.min(place::MAX_MESSAGE), 0)
                ),
                None => format!("events are at places of message {number}, which belongs to no incarnation"),
            });
        }
        Ok(())
    }
}

impl Compared {
    fn unknown() -> Self {
        Self {
            recorded: None,
            unique: 0,
            digest: Digest::default(),
            last_at: i64::MIN,
        }
    }
}

impl Scanned {
    /// Compares the topics and minutes of this part.
    pub fn compare(&self, topics: &mut TopicChecks, over_time: &mut Check) {
        let mut names: Vec<_> = self.topics.keys().collect();
        names.sort_unstable();
        for key in names {
            let name = String::from_utf8_lossy(key);
            let found = &self.topics[key];
            let Some(recorded) = &found.recorded else {
                topics.absent(&format!("{name:?}"), found.unique);
                continue;
            };
            let expected = (recorded.unique, recorded.digest);
            topics.topic(&name, expected, (found.unique, found.digest));
            if found.last_at > recorded.last_at {
                over_time.differs(|| {
                    format!(
                        "topic {name:?}: an event was stored at {}, later than the latest recorded, {}",
                        found.last_at, recorded.last_at
                    )
                });
            }
        }
        if self.unknown_events > 0 {
            topics.absent("of other names", self.unknown_events);
        }
        if let Some(of_topics) = &self.over_time {
            of_topics.check_hours(over_time);
        }
        for (minute, (recorded, found)) in &self.minutes {
            if recorded.unique != found.unique {
                over_time.differs(|| {
                    format!(
                        "{}: {} unique events are recorded, found {}",
                        minute_of(*minute),
                        recorded.unique,
                        found.unique
                    )
                });
            } else if recorded != found {
                over_time.differs(|| {
                    format!(
                        "{}: places {} to {} are recorded, found {} to {}",
                        minute_of(*minute),
                        recorded.first_place,
                        recorded.last_place,
                        found.first_place,
                        found.last_place
                    )
                });
            }
        }
    }
}

/// For display.
fn minute_of(minute: i64) -> String {
    let begin = minute.saturating_mul(MICROS_PER_MINUTE);
    format!("the minute from {}", crate::clock::rfc3339(begin))
}
