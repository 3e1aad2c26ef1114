//! Generated traffic: which event is at which position, and which positions are duplicates.
//!
//! It is a pure function of the settings and the position. A duplicate is regenerated from the index of the event that it
//! repeats, so sent events are not kept in memory, and the same settings produce the same traffic, byte for byte.

mod content;
mod generator;

use std::fmt;

use bytes::BytesMut;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::event::Topic;

use self::content::Content;
pub use self::{content::PAYLOAD_BYTES, generator::Generator};

/// A near duplicate repeats one of this many most recent events.
const NEAR: u64 = 48;

/// 100 %, in millionths.
const WHOLE: u32 = 1_000_000;

/// The share of duplicates, in millionths, so that arithmetic with it is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// No duplicates.
    pub const NONE: Self = Self(0);

    /// Parses a number from 0 to 1 with at most six decimals.
    ///
    /// # Errors
    /// A message for the user if it is not such a number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scaled = text.parse::<f64>().unwrap_or(f64::NAN) * f64::from(WHOLE);
        let rounded = scaled.round();
        if !(0.0..=f64::from(WHOLE)).contains(&rounded) {
            return Err("must be a share from 0 to 1, such as 0.3 for 30 %".to_owned());
        }
        if (scaled - rounded).abs() > 1e-3 {
            return Err("must have at most six decimals".to_owned());
        }
        // In range, by the check above.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let share = rounded as u32;
        Ok(Self(share))
    }

    /// How many of the first `events` are duplicates: this share of them, rounded half up. The first event is never a
    /// duplicate.
    fn of(self, events: u64) -> u64 {
        let product = u128::from(events) * u128::from(self.0);
        let rounded = (product + u128::from(WHOLE / 2)) / u128::from(WHOLE);
        u64::try_from(rounded)
            .unwrap_or(u64::MAX)
            .min(events.saturating_sub(1))
    }
}

/// The event at a position of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The event of this index, for the first time.
    New(u64),
    /// The event of this index, which was sent before.
    Duplicate(u64),
}

/// An endless sequence of events.
#[derive(Debug)]
pub struct Traffic {
    share: Share,
    content: Content,
    /// Chooses the event that a duplicate repeats.
    choices: ChaCha8Rng,
}

/// The parameters that determine the traffic.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The seed of all random choices.
    pub seed: u64,
    /// Part of every topic and `event_id`; letters, digits, `-` and `_`.
    pub run_id: String,
    /// How many topics, at least one.
    pub topics: u32,
    /// The share of duplicates.
    pub share: Share,
    /// Bytes of a payload, within [`PAYLOAD_BYTES`].
    pub payload_bytes: usize,
}

impl Recipe {
    /// The common prefix of all its topics.
    #[must_use]
    pub fn topic_prefix(&self) -> String {
        format!("demo.{}.", self.run_id)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            topics,
            share: Share(share),
            payload_bytes,
            ..
        } = self;
        let percent = f64::from(*share) / f64::from(WHOLE / 100);
        write!(
            f,
            "seed {seed}, {topics} topics, {percent} % duplicates, payloads of {payload_bytes} bytes"
        )
    }
}

impl Traffic {
    /// The traffic of a recipe.
    #[must_use]
    pub fn new(recipe: &Recipe) -> Self {
        Self {
            share: recipe.share,
            content: Content::new(recipe),
            choices: random(recipe.seed, Purpose::Choices),
        }
    }

    /// All topics; events refer to them by index.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        self.content.topics()
    }

    /// Bytes of each event's payload.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.content.payload_bytes()
    }

    /// The event at a position, counted from 0.
    #[must_use]
    pub fn at(&self, position: u64) -> Position {
        let before = self.share.of(position);
        let new = position - before;
        if self.share.of(position + 1) == before {
            return Position::New(new);
        }
        let mut choice = self.choices.clone();
        choice.set_stream(position);
        let bits = choice.next_u64();
        let earlier = if bits & 1 == 0 { new } else { new.min(NEAR) };
        Position::Duplicate(new - 1 - below(choice.next_u64(), earlier))
    }

    /// Appends the JSON of the event with this index to `out`, and returns the index of its topic.
    pub fn write(&self, index: u64, out: &mut BytesMut) -> usize {
        self.content.write(index, out)
    }
}

/// Eight random characters: two runs get the same id with a probability below 10^-12.
#[must_use]
pub fn new_run_id() -> String {
    let symbols = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..8)
        .map(|_| char::from(symbols[rand::random_range(0..symbols.len())]))
        .collect()
}

/// What random numbers are used for; those of different purposes are independent.
#[derive(Clone, Copy)]
enum Purpose {
    Content,
    Choices,
}

/// A random number generator that is stable across versions of its crate and has a separate stream for each index.
fn random(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = purpose as u8;
    ChaCha8Rng::from_seed(key)
}

/// Scales 64 random bits to a number below `bound`, uniformly for the bounds used here.
fn below(bits: u64, bound: u64) -> u64 {
    let scaled = (u128::from(bits) * u128::from(bound)) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytes::Bytes;
    use proptest::prelude::*;
    use shared::event::Event;

    use super::*;

    fn recipe(seed: u64, share: u32, topics: u32) -> Recipe {
        Recipe {
            seed,
            run_id: "run-1".to_owned(),
            topics,
            share: Share(share),
            payload_bytes: 128,
        }
    }

    fn event(traffic: &Traffic, position: u64) -> (usize, Bytes) {
        let (Position::New(index) | Position::Duplicate(index)) = traffic.at(position);
        let mut out = BytesMut::new();
        let topic = traffic.write(index, &mut out);
        (topic, out.freeze())
    }

    #[test]
    fn of_20_000_events_with_30_percent_duplicates_14_000_are_new() {
        let traffic = Traffic::new(&recipe(0, 300_000, 10));
        let new = (0..20_000).filter(|i| matches!(traffic.at(*i), Position::New(_)));
        assert_eq!(new.count(), 14_000);
    }

    #[test]
    fn an_event_with_the_largest_payload_is_valid() {
        let traffic = Traffic::new(&Recipe {
            run_id: "r".repeat(64),
            payload_bytes: usize::try_from(*PAYLOAD_BYTES.end()).unwrap(),
            ..recipe(0, 0, 100_000)
        });
        let mut out = BytesMut::new();
        traffic.write(u64::MAX, &mut out);
        assert!(Event::parse(&out.freeze()).is_ok());
    }

    #[test]
    fn some_duplicates_are_near_and_some_far() {
        let traffic = Traffic::new(&recipe(0, 300_000, 10));
        let mut new = 0;
        let (mut near, mut far) = (0, 0);
        for position in 0..10_000 {
            match traffic.at(position) {
                Position::New(_) => new += 1,
                Position::Duplicate(index) if new - index <= NEAR => near += 1,
                Position::Duplicate(_) => far += 1,
            }
        }
        assert!(near > 1_000 && far > 1_000, "{near} near, {far} far");
    }

    #[test]
    fn a_share_is_parsed_exactly_or_refused() {
        assert_eq!(Share::parse("0.3"), Ok(Share(300_000)));
        assert_eq!(Share::parse("1"), Ok(Share(1_000_000)));
        assert_eq!(Share::parse("0.333333"), Ok(Share(333_333)));
        for wrong in ["1.5", "-0.1", "NaN", "", "0.1234567", "30%"] {
            assert!(Share::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn the_share_is_exact_at_every_prefix(seed: u64, share in 0..=WHOLE) {
            let traffic = Traffic::new(&recipe(seed, share, 3));
            let (mut sent, mut duplicates) = (HashSet::new(), 0);
            for position in 0..2_000 {
                match traffic.at(position) {
                    Position::New(index) => prop_assert!(sent.insert(index)),
                    Position::Duplicate(index) => {
                        duplicates += 1;
                        prop_assert!(sent.contains(&index));
                    }
                }
                let events = f64::from(u32::try_from(position).unwrap() + 1);
                let exact = (f64::from(share) * events / f64::from(WHOLE) + 1e-9).round();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let exact = (exact as u64).min(position);
                prop_assert_eq!(duplicates, exact);
            }
        }

        #[test]
        fn the_same_seed_makes_the_same_traffic(seed: u64, position in 0..10_000_000_u64) {
            let first = Traffic::new(&recipe(seed, 300_000, 7));
            let second = Traffic::new(&recipe(seed, 300_000, 7));
            prop_assert_eq!(event(&first, position), event(&second, position));
            let other = Traffic::new(&recipe(seed ^ 1, 300_000, 7));
            prop_assert_ne!(event(&first, position), event(&other, position));
        }

        #[test]
        fn a_duplicate_equals_what_it_repeats_byte_for_byte(seed: u64) {
            let traffic = Traffic::new(&recipe(seed, 500_000, 3));
            let mut new = Vec::new();
            for position in 0..300 {
                let event = event(&traffic, position);
                match traffic.at(position) {
                    Position::New(_) => new.push(event),
                    Position::Duplicate(index) => {
                        prop_assert_eq!(&new[usize::try_from(index).unwrap()], &event);
                    }
                }
            }
        }

        #[test]
        fn every_event_is_valid_and_has_the_requested_size(
            seed: u64,
            index in prop_oneof![0..2_000_u64, any::<u64>()],
            topics in 1..=100_000_u32,
            payload_bytes in 80..4_000_usize,
        ) {
            let recipe = Recipe { payload_bytes, ..recipe(seed, 0, topics) };
            let traffic = Traffic::new(&recipe);
            let mut out = BytesMut::new();
            let topic = traffic.write(index, &mut out);
            let event = Event::parse(&out.freeze()).unwrap();
            prop_assert_eq!(&event.topic, &traffic.topics()[topic]);
            prop_assert_eq!(event.event_id.as_str(), format!("run-1-{index}"));
            prop_assert_eq!(event.payload.as_str().len(), payload_bytes);
        }
    }
}
