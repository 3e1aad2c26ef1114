//! Controls: with less syncing than the system does, the same cut loses what was promised. They show that the test
//! detects loss.

pub mod stream;
pub mod writer;

use crate::{options::Synchronous, outcome::table};

/// Cuts of each kind.
const CUTS: u64 = 3;

/// What a control promised, and what of it was lost in the cut.
#[derive(Debug)]
pub struct Loss {
    pub promised: usize,
    pub lost: usize,
}

/// What is cut, and how it syncs.
#[derive(Debug, Clone, Copy)]
enum Setting {
    /// The broker, with or without its `sync_interval: always`.
    Broker {
        always: bool,
    },
    Store(Synchronous),
}

impl Setting {
    const ALL: [Self; 4] = [
        Self::Broker { always: true },
        Self::Broker { always: false },
        Self::Store(Synchronous::Full),
        Self::Store(Synchronous::Normal),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Broker { always: true } => "nats, sync_interval: always",
            Self::Broker { always: false } => "nats, sync_interval left out",
            Self::Store(Synchronous::Full) => "store, synchronous=FULL",
            Self::Store(Synchronous::Normal) => "store, synchronous=NORMAL",
        }
    }

    /// Whether it syncs less than the system does.
    fn is_weak(self) -> bool {
        matches!(
            self,
            Self::Broker { always: false } | Self::Store(Synchronous::Normal)
        )
    }

    async fn cut(self, seed: u64) -> Loss {
        match self {
            Self::Broker { always } => stream::cut(always, seed).await,
            Self::Store(synchronous) => writer::cut(synchronous, seed).await,
        }
    }

    /// Whether these losses are as expected. With a weak setting one cut may by chance find everything synced, but
    /// not all cuts.
    fn explains(self, losses: &[Loss]) -> bool {
        let lost = losses.iter().any(|loss| loss.lost > 0);
        losses.iter().all(|loss| loss.promised > 0) && lost == self.is_weak()
    }
}

/// Runs all controls and prints their results. Returns whether they are as expected: with the system's own settings
/// nothing is lost in any cut, with the weaker ones something is.
pub async fn run(seed: u64) -> bool {
    let mut table = table(&["control", "seed", "promised", "lost", ""]);
    let mut good = true;
    for setting in Setting::ALL {
        let mut losses = Vec::new();
        for seed in seed..seed + CUTS {
            let loss = setting.cut(seed).await;
            println!("{}; seed {seed}; {loss:?}", setting.name());
            losses.push(loss);
        }
        let passed = setting.explains(&losses);
        good &= passed;
        let verdict = match (passed, setting.is_weak()) {
            (true, true) => "loses, as expected",
            (true, false) => "loses nothing",
            (false, _) => "FAILED",
        };
        for (seed, loss) in (seed..).zip(losses) {
            let [seed, promised, lost] =
                [seed, loss.promised as u64, loss.lost as u64].map(|number| number.to_string());
            table.add_row([setting.name(), &seed, &promised, &lost, verdict]);
        }
    }
    println!("\n{table}");
    good
}
