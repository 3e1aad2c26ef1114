//! The content of a generated event, from its index.

use std::{
    fmt::{self, Write},
    num::NonZero,
};

use bytes::{BufMut, BytesMut};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use shared::event::Topic;
use time::{
    OffsetDateTime,
    format_description::well_known::{
        Iso8601,
        iso8601::{Config, EncodedConfig, TimePrecision},
    },
};

use super::{Purpose, Recipe, below, random};

/// Bytes of a payload: at least its fields other than the text, with the longest numbers; at most what keeps an event
/// within 512 KiB.
pub const PAYLOAD_BYTES: std::ops::RangeInclusive<u64> = 80..=523_264;

/// The timestamp of the event with index 0: 2026-01-01T00:00:00Z, in milliseconds since 1970. Each further event is one
/// millisecond later, so timestamps are determined by the index, not by when the event is sent.
const FIRST_MS: u64 = 1_767_225_600_000;

/// After this many milliseconds the timestamps start over, because RFC 3339 ends with the year 9999.
const SPAN_MS: u64 = 1000 * 365 * 86_400_000;

/// Timestamps always have milliseconds, even if these are 0.
const TIME: Iso8601<TIME_CONFIG> = Iso8601;
const TIME_CONFIG: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second {
        decimal_digits: NonZero::new(3),
    })
    .encode();

const LEVELS: [&str; 4] = ["info", "info", "warn", "error"];

/// 64 symbols that JSON does not escape: six random bits each.
const SYMBOLS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";

/// Generates the content of events.
#[derive(Debug)]
pub(super) struct Content {
    topics: Vec<Topic>,
    run_id: String,
    payload_bytes: usize,
    random: ChaCha8Rng,
}

impl Content {
    pub fn new(recipe: &Recipe) -> Self {
        let prefix = recipe.topic_prefix();
        let digits = (recipe.topics - 1).max(10).to_string().len();
        let topics = (0..recipe.topics)
            .map(|topic| format!("{prefix}t{topic:0digits$}"))
            .map(|name| {
                Topic::new(&name).expect("a run id has at most 64 bytes, a topic may have 255")
            })
            .collect();
        Self {
            topics,
            run_id: recipe.run_id.clone(),
            payload_bytes: recipe.payload_bytes,
            random: random(recipe.seed, Purpose::Content),
        }
    }

    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Appends the event's JSON and returns the index of its topic.
    pub fn write(&self, index: u64, out: &mut BytesMut) -> usize {
        let mut random = self.random.clone();
        random.set_stream(index);
        let bits = random.next_u64();
        let topic =
            usize::try_from(below(random.next_u64(), self.topics.len() as u64)).unwrap_or(0);
        // Each value uses separate bits.
        let value = |slot: u32, bound: u64| ((bits >> (16 * slot)) & 0xffff) % bound;

        let level = LEVELS[usize::try_from(value(1, LEVELS.len() as u64)).unwrap_or(0)];
        let (host, user, took_ms) = (10 + value(0, 40), value(2, 10_000), value(3, 1_000));

        // The names need no escapes. Copying them is faster than formatting.
        for part in [
            r#"{"topic":""#,
            self.topics[topic].as_str(),
            r#"","event_id":""#,
            &self.run_id,
        ] {
            out.put_slice(part.as_bytes());
        }
        put(out, format_args!(r#"-{index}","timestamp":""#));
        timestamp(out, FIRST_MS + index % SPAN_MS);
        put(out, format_args!(r#"","source":"host-{host}","payload":"#));

        let end = out.len() + self.payload_bytes;
        put(
            out,
            format_args!(
                r#"{{"n":{index},"level":"{level}","user":{user},"took_ms":{took_ms},"text":""#
            ),
        );
        let start = out.len();
        out.resize(end - 2, 0);
        random.fill_bytes(&mut out[start..]);
        for byte in &mut out[start..] {
            *byte = SYMBOLS[usize::from(*byte & 63)];
        }
        out.put_slice(br#""}}"#);
        topic
    }
}

fn put(out: &mut BytesMut, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a buffer grows as needed");
}

fn timestamp(out: &mut BytesMut, ms: u64) {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    let time = time.expect("the span ends before the year 9999");
    let written = time.format_into(&mut out.writer(), &TIME);
    written.expect("a buffer grows as needed, and the offset is UTC");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn times_have_milliseconds_and_end_before_the_year_10000() {
        assert_eq!(
            written(|out| timestamp(out, FIRST_MS)),
            "2026-01-01T00:00:00.000Z"
        );
        assert_eq!(
            written(|out| timestamp(out, FIRST_MS + 59 * 86_400_000 + 3_723_045)),
            "2026-03-01T01:02:03.045Z"
        );
        let last = written(|out| timestamp(out, FIRST_MS + SPAN_MS - 1));
        assert_eq!(last, "3025-05-03T23:59:59.999Z");
    }

    /// A seed produces the same traffic in every version: this expected value must never change.
    #[test]
    fn the_first_event_of_seed_0_never_changes() {
        let recipe = Recipe {
            seed: 0,
            run_id: "r".to_owned(),
            topics: 10,
            share: super::super::Share::parse("0.3").unwrap(),
            payload_bytes: 100,
        };
        let event = written(|out| {
            Content::new(&recipe).write(0, out);
        });
        assert_eq!(
            event,
            concat!(
                r#"{"topic":"demo.r.t06","event_id":"r-0","timestamp":"2026-01-01T00:00:00.000Z","source":"host-32","#,
                r#""payload":{"n":0,"level":"error","user":4457,"took_ms":848,"#,
                r#""text":"SeodoA.7yBHiVXAEymHY5HVbFetNfTwzXkcJAgWb4"}}"#
            )
        );
    }
}
