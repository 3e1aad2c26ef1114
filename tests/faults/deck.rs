//! Which faults come when: all of them in turn, in an order that a seed decides.

use std::time::Duration;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::fault::Fault;

/// Faults of a round.
const HAND: usize = 5;

/// The faults, shuffled anew whenever all were dealt.
pub struct Deck {
    random: ChaCha8Rng,
    all: Vec<Fault>,
    left: Vec<Fault>,
}

/// What happens in one round.
pub struct Hand {
    /// Decides what else there is to decide.
    pub seed: u64,
    /// The faults, each with the time that it lasts.
    pub faults: Vec<(Fault, Duration)>,
}

impl Deck {
    /// All faults, or those with a name that has `only` in it.
    pub fn new(seed: u64, only: Option<&str>) -> Self {
        let is_wanted = |fault: &Fault| only.is_none_or(|only| fault.name().contains(only));
        let all: Vec<_> = Fault::all().into_iter().filter(is_wanted).collect();
        assert!(!all.is_empty(), "no fault has that in its name");
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            all,
            left: Vec::new(),
        }
    }

    /// The faults of the next round, whose number it is.
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
    pub fn told(&self) -> String {
        let told = |(fault, lasts): &(Fault, Duration)| {
            format!("{} {:.1} s", fault.name(), lasts.as_secs_f32())
        };
        let faults: Vec<_> = self.faults.iter().map(told).collect();
        faults.join(", ")
    }
}
