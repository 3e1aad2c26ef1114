//! The verification: waits until the aggregator has applied all that was sent, and compares its counts.

mod ask;
mod compare;
mod table;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use reqwest::Url;
use tokio::time::{Instant, sleep, timeout};

pub use self::{
    ask::Wanted,
    compare::{Counts, Rule, Verdict},
    table::table,
};
use self::{
    ask::{Aggregator, AskError, Stats},
    compare::compare,
};
use crate::{progress::Waiting, sent::Tally};

/// How long nothing may change at the aggregator, which includes that it may be away, before it is given up.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long counts may stay behind after the aggregator said that nothing is pending.
const SETTLE: Duration = Duration::from_secs(2);

/// How long a question may take whose answer only helps to explain a difference.
const SOON: Duration = Duration::from_secs(2);

/// Shortest and longest pause between two questions. In between, the longer it takes the less often it is asked: the
/// time until all is applied is known to 2 %.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Nothing changed for too long.
    #[error("gave up on the aggregator: for {} s {state}", PATIENCE.as_secs())]
    NoProgress {
        /// What it was like all the time.
        state: String,
    },
    /// It is no aggregator, or HTTP cannot be used.
    #[error(transparent)]
    Foreign(#[from] AskError),
    /// HTTP cannot be used at all.
    #[error("cannot use HTTP")]
    Http(#[from] reqwest::Error),
}

/// The comparison, and when it could be made.
#[derive(Debug)]
pub struct Verified {
    /// How sent and counted compare.
    pub verdict: Verdict,
    /// When all was seen to be applied.
    pub applied_at: Instant,
    /// Events that the aggregator could not store as events, of whatever origin, since it exists.
    pub rejected: u64,
}

/// Compares with one aggregator.
#[derive(Debug)]
pub struct Verifier {
    aggregator: Aggregator,
}

impl Verifier {
    /// With the one at this address, which need not be there yet.
    ///
    /// # Errors
    /// Where HTTP cannot be used.
    pub fn new(address: &Url) -> Result<Self, VerifyError> {
        let aggregator = Aggregator::new(address)?;
        Ok(Self { aggregator })
    }

    /// Whether topics of this kind are there already, if the aggregator answers soon.
    pub async fn has_now(&self, wanted: &Wanted) -> bool {
        let asked = timeout(SOON, self.aggregator.topics(wanted)).await;
        asked.is_ok_and(|found| found.is_ok_and(|topics| !topics.is_empty()))
    }

    /// What was counted before anything is sent, once what is in the stream already is applied.
    ///
    /// # Errors
    /// As [`VerifyError`] tells.
    pub async fn baseline(&self, wanted: &Wanted) -> Result<HashMap<String, Counts>, VerifyError> {
        self.applied().await?;
        self.counts(wanted).await
    }

    /// Waits until all is applied, and compares what was counted since the baseline.
    ///
    /// # Errors
    /// As [`VerifyError`] tells.
    pub async fn verify(
        &self,
        sent: &BTreeMap<String, Tally>,
        wanted: &Wanted,
        baseline: &HashMap<String, Counts>,
        rule: Rule,
    ) -> Result<Verified, VerifyError> {
        let (stats, mut applied_at) = self.applied().await?;
        let settled_by = applied_at + SETTLE;
        loop {
            let mut counted = self.counts(wanted).await?;
            for (topic, counts) in &mut counted {
                *counts = counts.since(baseline.get(topic).copied().unwrap_or_default());
            }
            let verdict = compare(sent, &counted, rule);
            if !verdict.is_short || Instant::now() > settled_by {
                return Ok(Verified {
                    verdict,
                    applied_at,
                    rejected: stats.rejected,
                });
            }
            sleep(PAUSE.0).await;
            applied_at = Instant::now();
        }
    }

    /// Waits until nothing is pending; returns when that was seen.
    async fn applied(&self) -> Result<(Stats, Instant), VerifyError> {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let mut waiting = Waiting::new(start);
        loop {
            let asked = self.aggregator.stats().await;
            let now = Instant::now();
            let (seen, state) = match asked {
                Ok(stats) if stats.pending == Some(0) => return Ok((stats, now)),
                Ok(stats) => (Some(stats), describe(stats)),
                Err(AskError::Away(reason)) => (None, format!("it does not answer: {reason}")),
                Err(err @ AskError::Foreign { .. }) => return Err(err.into()),
            };
            waiting.say(format_args!("the aggregator: {state}"), now);
            if patience.is_over(seen, now) {
                return Err(VerifyError::NoProgress { state });
            }
            sleep((start.elapsed() / 50).clamp(PAUSE.0, PAUSE.1)).await;
        }
    }

    async fn counts(&self, wanted: &Wanted) -> Result<HashMap<String, Counts>, VerifyError> {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let mut waiting = Waiting::new(start);
        loop {
            let state = match self.aggregator.topics(wanted).await {
                Ok(counts) => return Ok(counts),
                Err(AskError::Away(reason)) => format!("it does not answer: {reason}"),
                Err(err @ AskError::Foreign { .. }) => return Err(err.into()),
            };
            let now = Instant::now();
            waiting.say(format_args!("the aggregator: {state}"), now);
            if patience.is_over(None, now) {
                return Err(VerifyError::NoProgress { state });
            }
            sleep(PAUSE.1).await;
        }
    }
}

fn describe(stats: Stats) -> String {
    match stats.pending {
        Some(pending) => format!("{pending} messages in the stream are not applied yet"),
        None => "it cannot reach the broker".to_owned(),
    }
}

/// How long it is worth to wait: as long as something changes.
#[derive(Debug)]
struct Patience {
    seen: Option<Stats>,
    since: Instant,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self {
            seen: None,
            since: now,
        }
    }

    /// Takes note of what was seen, if anything was.
    fn is_over(&mut self, seen: Option<Stats>, now: Instant) -> bool {
        if seen.is_some() && seen != self.seen {
            self.seen = seen;
            self.since = now;
        }
        now.saturating_duration_since(self.since) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_as_long_as_something_changes() {
        let stats = |received| {
            Some(Stats {
                received,
                rejected: 0,
                pending: Some(9),
            })
        };
        let start = Instant::now();
        let mut patience = Patience::new(start);
        assert!(!patience.is_over(None, start + PATIENCE / 2));
        assert!(!patience.is_over(stats(1), start + PATIENCE / 2));
        // Away, and back as it was: nothing has changed.
        assert!(!patience.is_over(None, start + PATIENCE));
        assert!(!patience.is_over(stats(1), start + PATIENCE));
        assert!(patience.is_over(stats(1), start + PATIENCE * 3 / 2));
        assert!(!patience.is_over(stats(2), start + PATIENCE * 3 / 2));
    }
}
