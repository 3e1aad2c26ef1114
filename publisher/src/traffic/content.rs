//! The content of the generated event of an index.

use bytes::{BufMut, BytesMut};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use shared::event::Topic;
use time::OffsetDateTime;

use super::{Purpose, Recipe, below, random};

/// Bytes of a payload: at least what stands around its text, with the longest of numbers; at most what leaves the rest of
/// an event within its 512 KiB.
pub const PAYLOAD_BYTES: std::ops::RangeInclusive<i64> = 80..=523_264;

/// The time of the event of index 0: 2026-01-01T00:00:00Z, in milliseconds since 1970. The others follow, a millisecond
/// each, so that time is a part of the content that the seed decides, not of when it is sent.
const FIRST_MS: u64 = 1_767_225_600_000;

/// Events later than this begin again at the first's time, for RFC 3339 ends with the year 9999.
const SPAN_MS: u64 = 1000 * 365 * 86_400_000;

const LEVELS: [&str; 4] = ["info", "info", "warn", "error"];

/// 64 symbols that JSON does not escape: six random bits each.
const SYMBOLS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";

/// Makes events.
#[derive(Debug)]
pub(super) struct Content {
    topics: Vec<Topic>,
    /// For each topic, the JSON up to the number in the `event_id`.
    heads: Vec<Box<[u8]>>,
    payload_bytes: usize,
    random: ChaCha8Rng,
}

impl Content {
    pub fn new(recipe: &Recipe) -> Self {
        let (run, prefix) = (&recipe.run_id, recipe.topic_prefix());
        let digits = (recipe.topics - 1).max(10).to_string().len();
        let topics: Vec<Topic> = (0..recipe.topics)
            .map(|topic| format!("{prefix}t{topic:0digits$}"))
            .map(|name| {
                Topic::new(&name).expect("a run id has at most 64 bytes, a topic may have 255")
            })
            .collect();
        let head = |topic: &Topic| format!(r#"{{"topic":"{topic}","event_id":"{run}-"#);
        Self {
            heads: topics
                .iter()
                .map(|topic| head(topic).into_bytes().into())
                .collect(),
            topics,
            payload_bytes: recipe.payload_bytes,
            random: random(recipe.seed, Purpose::Content),
        }
    }

    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Writes the event's JSON and returns its topic. Called for every event sent: no allocation, no formatting.
    pub fn write(&self, index: u64, out: &mut BytesMut) -> usize {
        let mut random = self.random.clone();
        random.set_stream(index);
        let bits = random.next_u64();
        let topic =
            usize::try_from(below(random.next_u64(), self.topics.len() as u64)).unwrap_or(0);
        // Each value has bits of its own.
        let part = |place: u32, bound: u64| ((bits >> (16 * place)) & 0xffff) % bound;

        out.put_slice(&self.heads[topic]);
        number(out, index);
        out.put_slice(br#"","timestamp":""#);
        timestamp(out, FIRST_MS + index % SPAN_MS);
        out.put_slice(br#"","source":"host-"#);
        number(out, 10 + part(0, 40));
        out.put_slice(br#"","payload":"#);

        let end = out.len() + self.payload_bytes;
        out.put_slice(br#"{"n":"#);
        number(out, index);
        out.put_slice(br#","level":""#);
        out.put_slice(
            LEVELS[usize::try_from(part(1, LEVELS.len() as u64)).unwrap_or(0)].as_bytes(),
        );
        out.put_slice(br#"","user":"#);
        number(out, part(2, 10_000));
        out.put_slice(br#","took_ms":"#);
        number(out, part(3, 1_000));
        out.put_slice(br#","text":""#);
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

fn number(out: &mut BytesMut, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = digit(value % 10);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
}

fn timestamp(out: &mut BytesMut, ms: u64) {
    let seconds = i64::try_from(ms / 1000).unwrap_or(0);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    padded::<4>(out, u64::from(year.unsigned_abs()));
    out.put_u8(b'-');
    padded::<2>(out, u64::from(u8::from(month)));
    out.put_u8(b'-');
    padded::<2>(out, u64::from(day));
    for (before, value) in [
        (b'T', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ] {
        out.put_u8(before);
        padded::<2>(out, u64::from(value));
    }
    out.put_u8(b'.');
    padded::<3>(out, ms % 1000);
    out.put_u8(b'Z');
}

fn padded<const DIGITS: usize>(out: &mut BytesMut, mut value: u64) {
    let mut digits = [0; DIGITS];
    for place in digits.iter_mut().rev() {
        *place = digit(value % 10);
        value /= 10;
    }
    out.put_slice(&digits);
}

fn digit(value: u64) -> u8 {
    b'0' + u8::try_from(value).expect("one digit")
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
    fn numbers_and_times_are_written_as_everywhere() {
        assert_eq!(written(|out| number(out, 0)), "0");
        assert_eq!(written(|out| number(out, u64::MAX)), u64::MAX.to_string());
        assert_eq!(
            written(|out| timestamp(out, FIRST_MS)),
            "2026-01-01T00:00:00.000Z"
        );
        assert_eq!(
            written(|out| timestamp(out, FIRST_MS + 59 * 86_400_000 + 3_723_045)),
            "2026-03-01T01:02:03.045Z"
        );
    }

    /// The promise that a seed makes the same traffic holds across versions: what is here stays.
    #[test]
    fn the_first_event_of_seed_0_is_what_it_always_was() {
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
