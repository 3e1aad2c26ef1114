//! Verification: waits until the aggregator has applied everything sent, then compares its counts with what was sent.

mod aggregator;
mod compare;
mod table;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use indicatif::HumanCount;
use shared::api::Target;
use tokio::time::{Instant, sleep, timeout};

pub use self::{
    aggregator::TopicSelection,
    compare::{Counts, Rule, Verdict},
    table::table,
};
use self::{
    aggregator::{Aggregator, QueryError, Stats},
    compare::compare,
};
use crate::{progress::WaitNotice, send_stats::Tally};

/// How long the aggregator may make no progress, or be unreachable, before the verification gives up.
const STALL_TIMEOUT: Duration = Duration::from_mins(3);

/// How long counts may lag after the aggregator reports that nothing is pending.
const SETTLE: Duration = Duration::from_secs(2);

/// Time limit of a query that only helps to explain a difference.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Shortest and longest pause between two polls. Within these limits the pause is 2 % of the elapsed time, so the time
/// until everything is applied is accurate to 2 %.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There was no progress for too long.
    #[error("gave up waiting for the aggregator: no progress for {} s: {state}", STALL_TIMEOUT.as_secs())]
    NoProgress {
        /// The aggregator's last known state, in human-readable form.
        state: String,
    },
    /// The answers are refusals, or not from an aggregator.
    #[error(transparent)]
    Refused(#[from] QueryError),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Http(#[from] reqwest::Error),
}

/// The result of a verification.
#[derive(Debug)]
pub struct VerificationResult {
    /// The comparison of what was sent and counted.
    pub verdict: Verdict,
    /// When everything was first seen to be applied.
    pub applied_at: Instant,
    /// Events that the aggregator rejected, from any publisher, over the lifetime of its store.
    pub rejected: u64,
}

/// Verifies against one aggregator.
#[derive(Debug)]
pub struct Verifier {
    aggregator: Aggregator,
}

impl Verifier {
    /// A verifier for this aggregator, which need not be running yet.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up.
    pub fn new(target: &Target) -> Result<Self, VerifyError> {
        let aggregator = Aggregator::new(target)?;
        Ok(Self { aggregator })
    }

    /// Whether any selected topic already exists; false if the query fails or takes longer than two seconds.
    pub async fn has_topics(&self, selection: &TopicSelection) -> bool {
        let answer = timeout(EXPLAIN_TIMEOUT, self.aggregator.topics(selection)).await;
        answer.is_ok_and(|found| found.is_ok_and(|topics| !topics.is_empty()))
    }

    /// Gets the counts before anything is sent, once everything in the stream is applied.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub async fn baseline(
        &self,
        selection: &TopicSelection,
    ) -> Result<HashMap<String, Counts>, VerifyError> {
        self.applied().await?;
        self.counts(selection).await
    }

    /// Waits until everything is applied, then compares what was sent with what was counted since the baseline.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub async fn verify(
        &self,
        sent: &BTreeMap<String, Tally>,
        selection: &TopicSelection,
        baseline: &HashMap<String, Counts>,
        rule: Rule,
    ) -> Result<VerificationResult, VerifyError> {
        let (stats, mut applied_at) = self.applied().await?;
        let settled_by = applied_at + SETTLE;
        loop {
            let mut counted = self.counts(selection).await?;
            for (topic, counts) in &mut counted {
                *counts = counts.since(baseline.get(topic).copied().unwrap_or_default());
            }
            let verdict = compare(sent, &counted, rule);
            if !verdict.is_short || Instant::now() > settled_by {
                return Ok(VerificationResult {
                    verdict,
                    applied_at,
                    rejected: stats.rejected,
                });
            }
            sleep(PAUSE.0).await;
            applied_at = Instant::now();
        }
    }

    /// Waits until nothing is pending; returns the stats and when they were received.
    async fn applied(&self) -> Result<(Stats, Instant), VerifyError> {
        let start = Instant::now();
        let mut detector = StallDetector::new(start);
        let mut notice = WaitNotice::new(start);
        loop {
            let answer = self.aggregator.stats().await;
            let now = Instant::now();
            let (seen, state) = match answer {
                Ok(stats) if stats.pending == Some(0) => return Ok((stats, now)),
                Ok(stats) => (Some(stats), describe(stats)),
                Err(QueryError::Unavailable(reason)) => (None, format!("no answer: {reason}")),
                Err(err @ QueryError::Final(_)) => return Err(err.into()),
            };
            notice.say(format_args!("the aggregator: {state}"), now);
            if detector.has_stalled(seen, now) {
                return Err(VerifyError::NoProgress { state });
            }
            sleep((start.elapsed() / 50).clamp(PAUSE.0, PAUSE.1)).await;
        }
    }

    async fn counts(
        &self,
        selection: &TopicSelection,
    ) -> Result<HashMap<String, Counts>, VerifyError> {
        let start = Instant::now();
        let mut detector = StallDetector::new(start);
        let mut notice = WaitNotice::new(start);
        loop {
            let state = match self.aggregator.topics(selection).await {
                Ok(counts) => return Ok(counts),
                Err(QueryError::Unavailable(reason)) => format!("no answer: {reason}"),
                Err(err @ QueryError::Final(_)) => return Err(err.into()),
            };
            let now = Instant::now();
            notice.say(format_args!("the aggregator: {state}"), now);
            if detector.has_stalled(None, now) {
                return Err(VerifyError::NoProgress { state });
            }
            sleep(PAUSE.1).await;
        }
    }
}

fn describe(stats: Stats) -> String {
    match stats.pending {
        Some(pending) => format!(
            "{} messages in the stream are not applied yet",
            HumanCount(pending)
        ),
        None => "it cannot reach the broker".to_owned(),
    }
}

/// Detects that the aggregator makes no progress.
#[derive(Debug)]
struct StallDetector {
    seen: Option<Stats>,
    since: Instant,
}

impl StallDetector {
    fn new(now: Instant) -> Self {
        Self {
            seen: None,
            since: now,
        }
    }

    /// Records the latest stats, if there was an answer, and returns whether progress has stalled.
    fn has_stalled(&mut self, seen: Option<Stats>, now: Instant) -> bool {
        if seen.is_some() && seen != self.seen {
            self.seen = seen;
            self.since = now;
        }
        now.saturating_duration_since(self.since) >= STALL_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_as_long_as_there_is_progress() {
        let stats = |received| {
            Some(Stats {
                received,
                rejected: 0,
                pending: Some(9),
            })
        };
        let start = Instant::now();
        let mut detector = StallDetector::new(start);
        assert!(!detector.has_stalled(None, start + STALL_TIMEOUT / 2));
        assert!(!detector.has_stalled(stats(1), start + STALL_TIMEOUT / 2));
        // Unreachable, then the same stats again: no progress.
        assert!(!detector.has_stalled(None, start + STALL_TIMEOUT));
        assert!(!detector.has_stalled(stats(1), start + STALL_TIMEOUT));
        assert!(detector.has_stalled(stats(1), start + STALL_TIMEOUT * 3 / 2));
        assert!(!detector.has_stalled(stats(2), start + STALL_TIMEOUT * 3 / 2));
    }
}
