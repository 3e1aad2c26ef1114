//! The order of the faults: all of them in turn, shuffled by a seed.

use std::time::Duration;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::fault::Fault;

/// Faults per round.
const HAND: usize = 5;

/// The faults, reshuffled when all have been dealt.
pub struct Deck {
    random: ChaCha8Rng,
    all: Vec<Fault>,
    left: Vec<Fault>,
}

/// The faults of one round.
pub struct Hand {
    /// Seed of all other random choices in the round.
    pub seed: u64,
    /// The faults, each with its duration.
    pub faults: Vec<(Fault, Duration)>,
}

impl Deck {
    /// These faults, or those of them whose name contains `only`.
    pub fn new(seed: u64, faults: Vec<Fault>, only: Option<&str>) -> Self {
        let is_wanted = |fault: &Fault| only.is_none_or(|only| fault.name().contains(only));
        let all: Vec<_> = faults.into_iter().filter(is_wanted).collect();
        assert!(!all.is_empty(), "no fault's name contains that");
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            all,
            left: Vec::new(),
        }
    }

    /// The faults of the round with this number.
    pub fn deal(&mut self, number: u64) -> Hand {
        let mut faults = Vec::new();
        while faults.len() < HAND.min(self.all.len()) {
            if self.left.is_empty() {
                self.left.clone_from(&self.all);
                self.left.shuffle(&mut self.random);
            }
            let lasts = Duration::from_millis(self.random.random_range(1_500..5_000));
            faults.push((self.left.pop().expect("it was filled"), lasts));
        }
        Hand {
            seed: self.random.random::<u64>() ^ number,
            faults,
        }
    }
}

impl Hand {
    /// The schedule, in one line.
    pub fn schedule(&self) -> String {
        let describe = |(fault, lasts): &(Fault, Duration)| {
            format!("{} {:.1} s", fault.name(), lasts.as_secs_f32())
        };
        let faults: Vec<_> = self.faults.iter().map(describe).collect();
        faults.join(", ")
    }
}
