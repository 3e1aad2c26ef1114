//! The traffic: messages of events with random identities, a given share of which repeat earlier ones.
//!
//! An event is a function of its topic and its number within it, so a repetition is generated again, byte for byte, and
//! no table of sent events is needed.

use bytes::Bytes;
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};
use shared::{
    event::{Event, EventId, Payload, Source, Timestamp, Topic},
    subject,
};

/// Events per message.
const MESSAGE_EVENTS: std::ops::RangeInclusive<u64> = 100..=250;

/// The rare topic; each of its events is a message of its own.
pub const RARE: &str = "rare";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// 64 symbols that JSON does not escape.
const TEXT: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";

/// The template in which digits and symbols are overwritten.
const PAYLOAD: &[u8] =
    br#"{"level":"info","user":000000,"took_ms":000,"text":"0000000000000000000000000000000000000000"}"#;

/// The parameters of the traffic.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// The seed of all random choices; events of two seeds have no identity in common.
    pub seed: u8,
    /// The number of topics, below 2^24.
    pub topics: u32,
    /// Whether each event belongs to one of them, chosen uniformly at random, rather than each message.
    pub is_mixed: bool,
    /// The share of events that repeat one chosen uniformly among the earlier events of the topic.
    pub duplicates: f64,
    /// If there is a rare topic: one message in this many belongs to it.
    pub rare_in: Option<u64>,
    /// The stream sequence of its first message.
    pub first_sequence: u64,
    /// Messages that begin after this many events contain only conflicts: earlier identities from another source.
    pub conflicts_after: Option<u64>,
}

/// An endless sequence of messages.
#[derive(Debug)]
pub struct Traffic {
    recipe: Recipe,
    /// The rare topic is the last one.
    topics: Vec<Series>,
    choices: SmallRng,
    sequence: u64,
    /// Events generated so far.
    made: u64,
}

/// A message, and which of its events are repeats.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The subject of its topic, or that of messages of several topics.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its events, parsed.
    pub events: Vec<Event>,
    /// For each event, whether it repeats an earlier one.
    pub repeats: Vec<bool>,
}

/// A topic, and how many distinct events of it were generated.
#[derive(Debug)]
struct Series {
    topic: Topic,
    events: u64,
}

/// An event without its payload.
struct Head {
    event_id: EventId,
    timestamp: Timestamp,
    source: Source,
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
            made: 0,
        }
    }

    /// The next message, of at most `room` events.
    pub fn message(&mut self, room: u64) -> Message {
        let Recipe {
            topics,
            is_mixed,
            duplicates,
            rare_in,
            conflicts_after,
            ..
        } = self.recipe;
        let are_conflicts = conflicts_after.is_some_and(|after| self.made >= after);
        let duplicates = if are_conflicts { 1.0 } else { duplicates };
        let other = are_conflicts.then(|| Source::new("another").expect("a word is a source"));
        let is_rare = rare_in.is_some_and(|rare_in| self.sequence.is_multiple_of(rare_in));
        let (first, events) = if is_rare {
            (topics, 1)
        } else {
            let events = self.choices.random_range(MESSAGE_EVENTS);
            (self.choices.random_range(0..topics), events.min(room))
        };
        self.made += events;
        let mut message = Message {
            subject: if is_mixed && !is_rare {
                subject::MIXED.to_owned()
            } else {
                subject::of(&self.topics[first as usize].topic)
            },
            sequence: self.sequence,
            events: Vec::new(),
            repeats: Vec::new(),
        };
        self.sequence += 1;
        let (mut heads, mut payloads) = (Vec::new(), Vec::new());
        for event in 0..events {
            let topic = if event == 0 || is_rare || !is_mixed {
                first
            } else {
                self.choices.random_range(0..topics)
            };
            let series = &mut self.topics[topic as usize];
            let repeats = series.events > 0 && self.choices.random_bool(duplicates);
            let number = if repeats {
                self.choices.random_range(0..series.events)
            } else {
                series.events += 1;
                series.events - 1
            };
            let head = Head::new(self.recipe.seed, topic, number, &mut payloads);
            heads.push((topic, head));
            message.repeats.push(repeats);
        }
        // As in a message from the broker, whose events share the message's bytes.
        let mut payloads = Bytes::from(payloads);
        message.events = heads
            .into_iter()
            .map(|(topic, head)| Event {
                topic: self.topics[topic as usize].topic.clone(),
                event_id: head.event_id,
                timestamp: head.timestamp,
                source: other.clone().unwrap_or(head.source),
                payload: Payload::parse(&payloads.split_to(PAYLOAD.len()))
                    .expect("the template is a JSON object"),
            })
            .collect();
        message
    }
}

impl Series {
    fn new(name: &str) -> Self {
        let topic = Topic::new(name).expect("a name of a few letters is a topic");
        Self { topic, events: 0 }
    }
}

impl Head {
    /// The event of this number without its payload, which is appended to `payloads`. The event has about 230 bytes of JSON.
    fn new(seed: u8, topic: u32, number: u64, payloads: &mut Vec<u8>) -> Self {
        // No topic reaches 2^32 events.
        let unique = (u64::from(seed) << 56) | (u64::from(topic) << 32) | number;
        let mut random = SmallRng::seed_from_u64(unique);
        let mut event_id = [0; 32];
        symbols(&mut event_id, &mut random, HEX);
        let mut timestamp = *b"2026-01-31T12:00:00.000Z";
        digits(&mut timestamp[14..16], number / 60_000 % 60);
        digits(&mut timestamp[17..19], number / 1_000 % 60);
        digits(&mut timestamp[20..23], number % 1_000);
        let bits = random.next_u64();
        let mut source = *b"host-00";
        digits(&mut source[5..], bits % 100);
        let start = payloads.len();
        payloads.extend_from_slice(PAYLOAD);
        let payload = &mut payloads[start..];
        digits(&mut payload[23..29], 100_000 + (bits >> 8) % 900_000);
        digits(&mut payload[40..43], 100 + (bits >> 32) % 900);
        symbols(&mut payload[52..92], &mut random, TEXT);
        Self {
            event_id: EventId::new(text(&event_id)).expect("32 letters are an event_id"),
            timestamp: Timestamp::new(text(&timestamp)).expect("the digits form a time"),
            source: Source::new(text(&source)).expect("seven letters are a source"),
        }
    }
}

/// The names of the topics that are not rare.
pub fn topic_names(topics: u32) -> Vec<String> {
    (0..topics)
        .map(|topic| format!("app.t{topic:07}"))
        .collect()
}

fn symbols<const N: usize>(out: &mut [u8], random: &mut SmallRng, alphabet: &[u8; N]) {
    random.fill_bytes(out);
    for byte in out {
        *byte = alphabet[usize::from(*byte) % N];
    }
}

fn digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).expect("a digit is below ten");
        value /= 10;
    }
}

fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).expect("ASCII is UTF-8")
}
