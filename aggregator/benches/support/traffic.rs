//! The traffic: messages of events with random identities, of which a known share repeats earlier ones.
//!
//! An event is made from its topic and its number within it, so a repetition is made anew, byte for byte, and
//! no table of what was sent is kept.

use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};
use shared::{event::Topic, subject};

/// Events of a message.
const MESSAGE_EVENTS: std::ops::RangeInclusive<u64> = 100..=250;

/// The rare topic; each of its events comes as a message of its own.
pub const RARE: &str = "rare";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// 64 symbols that JSON does not escape.
const TEXT: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";

/// What decides the traffic.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// Decides all that is random; events of two seeds have no identity in common.
    pub seed: u8,
    /// How many topics; each message is of one of them, evenly at random.
    pub topics: u16,
    /// Which part of the events repeats one chosen evenly among all earlier events of its topic.
    pub duplicates: f64,
    /// Where there is a rare topic: one message in so many is of it.
    pub rare_in: Option<u64>,
    /// The stream sequence of its first message.
    pub first_sequence: u64,
}

/// An endless sequence of messages.
#[derive(Debug)]
pub struct Traffic {
    recipe: Recipe,
    /// The rare topic is the last one.
    topics: Vec<Series>,
    choices: SmallRng,
    sequence: u64,
}

/// A message, and what is known of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// As its topic maps to.
    pub subject: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// A JSON array of events.
    pub body: Vec<u8>,
    /// For each event, whether it repeats an earlier one.
    pub repeats: Vec<bool>,
}

/// A topic and how many different events of it were sent.
#[derive(Debug)]
struct Series {
    subject: String,
    /// The JSON of its events up to the `event_id`.
    head: String,
    events: u64,
}

impl Traffic {
    /// The traffic of a recipe.
    pub fn new(recipe: Recipe) -> Self {
        let mut names = topic_names(recipe.topics);
        names.push(RARE.to_owned());
        Self {
            recipe,
            topics: names.iter().map(|name| Series::new(name)).collect(),
            choices: SmallRng::seed_from_u64(u64::from(recipe.seed)),
            sequence: recipe.first_sequence,
        }
    }

    /// The next message, of at most `room` events.
    pub fn message(&mut self, room: u64) -> Message {
        let Recipe {
            topics,
            duplicates,
            rare_in,
            ..
        } = self.recipe;
        let is_rare = rare_in.is_some_and(|rare_in| self.sequence.is_multiple_of(rare_in));
        let (topic, events) = if is_rare {
            (topics, 1)
        } else {
            let events = self.choices.random_range(MESSAGE_EVENTS);
            (self.choices.random_range(0..topics), events.min(room))
        };
        let series = &mut self.topics[usize::from(topic)];
        let mut message = Message {
            subject: series.subject.clone(),
            sequence: self.sequence,
            body: Vec::with_capacity(64 * 1024),
            repeats: Vec::new(),
        };
        self.sequence += 1;
        for position in 0..events {
            let repeats = series.events > 0 && self.choices.random_bool(duplicates);
            let number = if repeats {
                self.choices.random_range(0..series.events)
            } else {
                series.events += 1;
                series.events - 1
            };
            message.body.push(if position == 0 { b'[' } else { b',' });
            series.write(self.recipe.seed, topic, number, &mut message.body);
            message.repeats.push(repeats);
        }
        message.body.push(b']');
        message
    }
}

impl Series {
    fn new(name: &str) -> Self {
        let topic = Topic::new(name).expect("a name of a few letters is a topic");
        Self {
            subject: subject::of(&topic),
            head: format!(r#"{{"topic":"{name}","event_id":""#),
            events: 0,
        }
    }

    /// Writes the event of this number: about 230 bytes.
    fn write(&self, seed: u8, topic: u16, number: u64, out: &mut Vec<u8>) {
        // No topic gets to 2^40 events.
        let place = (u64::from(seed) << 56) | (u64::from(topic) << 40) | number;
        let mut random = SmallRng::seed_from_u64(place);
        out.extend_from_slice(self.head.as_bytes());
        symbols(out, &mut random, HEX, 32);
        out.extend_from_slice(br#"","timestamp":"2026-01-31T12:"#);
        let bits = random.next_u64();
        digits(out, number / 60_000 % 60, 2);
        out.push(b':');
        digits(out, number / 1_000 % 60, 2);
        out.push(b'.');
        digits(out, number % 1_000, 3);
        out.extend_from_slice(br#"Z","source":"host-"#);
        digits(out, bits % 100, 2);
        out.extend_from_slice(br#"","payload":{"level":"info","user":"#);
        digits(out, 100_000 + (bits >> 8) % 900_000, 6);
        out.extend_from_slice(br#","took_ms":"#);
        digits(out, 100 + (bits >> 32) % 900, 3);
        out.extend_from_slice(br#","text":""#);
        symbols(out, &mut random, TEXT, 40);
        out.extend_from_slice(br#""}}"#);
    }
}

/// The names of the topics that are not rare.
pub fn topic_names(topics: u16) -> Vec<String> {
    (0..topics)
        .map(|topic| format!("app.t{topic:05}"))
        .collect()
}

fn symbols<const N: usize>(
    out: &mut Vec<u8>,
    random: &mut SmallRng,
    alphabet: &[u8; N],
    count: usize,
) {
    let start = out.len();
    out.resize(start + count, 0);
    random.fill_bytes(&mut out[start..]);
    for byte in &mut out[start..] {
        *byte = alphabet[usize::from(*byte) % N];
    }
}

fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit += u8::try_from(value % 10).expect("a digit is below ten");
        value /= 10;
    }
}
