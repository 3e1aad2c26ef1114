//! The summary of what was sent and what the aggregator counted: as text, and as one JSON object for programs.

mod text;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{send_stats::SendStats, verify};

/// The summary of a run. Its field names are a contract with the programs that read it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Part of every generated topic and `event_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The seed of the generated traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Candidates in the input that are not valid events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_invalid: Option<u64>,
    /// Whether everything was sent; otherwise the run was stopped or failed.
    pub complete: bool,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Events confirmed.
    pub sent: u64,
    /// Distinct identities among them.
    pub unique: u64,
    /// Events sent that repeat an identity.
    pub duplicates: u64,
    /// Events without a confirmation: they may or may not be in the stream.
    pub unconfirmed: u64,
    /// Copies of events that may be in the stream in addition to those sent.
    pub possibly_doubled: u64,
    /// Seconds from the first send to the last confirmation.
    pub seconds: f64,
    /// Events sent per second, over `seconds`.
    pub events_per_second: f64,
    /// Over JetStream: the time from sending a message to its `PubAck`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub puback_ms: Option<Percentiles>,
    /// Over HTTP: the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
    /// The verification, if requested.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// Requests that succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Requests {
    /// Number of connections.
    pub connections: u32,
    /// Number of requests.
    pub answered: u64,
    /// Requests per second, over the summary's `seconds`.
    pub per_second: f64,
    /// Time from sending a request to its answer.
    pub answer_ms: Percentiles,
}

/// Percentiles of a latency, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// The result of the verification.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verification {
    /// Whether all counts are as expected.
    pub verified: bool,
    /// The counts; `None` if they could not be read.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub counted: Option<AggregatorCounts>,
    /// The differences, or why the counts could not be compared.
    pub problems: Vec<String>,
}

/// The aggregator's counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AggregatorCounts {
    /// Events received.
    pub received: u64,
    /// Received events that were stored.
    pub unique_processed: u64,
    /// Received events whose identity was stored before.
    pub duplicate_dropped: u64,
    /// Distinct identities sent that had been stored before the run.
    pub stored_before: u64,
    /// Events received per second, from the first send until everything was applied.
    pub processed_per_second: f64,
}

/// Maximum number of problems listed.
const PROBLEMS: usize = 10;

impl Summary {
    /// A summary of what was sent over HTTP.
    #[must_use]
    pub fn of_requests(sent: &SendStats, connections: u32) -> Self {
        let mut summary = Self::new(sent);
        let answered = sent.latency_us.len();
        summary.requests = summary.puback_ms.take().map(|answer_ms| Requests {
            connections,
            answered,
            per_second: per_second(answered, summary.seconds),
            answer_ms,
        });
        summary
    }

    /// A summary of what was sent over JetStream.
    #[must_use]
    pub fn new(sent: &SendStats) -> Self {
        let total = sent.total();
        let seconds = match (sent.first_send, sent.last_confirmed) {
            (Some(first), Some(last)) => (last - first).as_secs_f64(),
            _ => 0.0,
        };
        Self {
            complete: sent.complete,
            sent: total.sent,
            unique: total.unique,
            duplicates: total.sent - total.unique,
            unconfirmed: sent.unconfirmed,
            possibly_doubled: total.possibly_doubled,
            seconds: rounded(seconds),
            events_per_second: per_second(total.sent, seconds),
            puback_ms: Some(Percentiles::of(&sent.latency_us)),
            ..Self::default()
        }
    }

    /// Adds the result of the verification.
    pub fn add(&mut self, verified: &verify::VerificationResult, sent: &SendStats) {
        let verdict = &verified.verdict;
        let counts = verdict.total.counted;
        let first = sent.first_send.unwrap_or(verified.applied_at);
        let seconds = verified
            .applied_at
            .saturating_duration_since(first)
            .as_secs_f64();
        let mut problems = verdict.problems.clone();
        if problems.len() > PROBLEMS {
            let more = problems.len() - PROBLEMS;
            problems.truncate(PROBLEMS);
            problems.push(format!("and {more} more"));
        }
        if verdict.is_short && verified.rejected > 0 {
            problems.push(format!(
                "the aggregator has rejected {} events in total, which may include some of these",
                verified.rejected
            ));
        }
        self.verification = Some(Verification {
            verified: verdict.problems.is_empty(),
            counted: Some(AggregatorCounts {
                received: counts.received,
                unique_processed: counts.unique_processed,
                duplicate_dropped: counts.duplicate_dropped,
                stored_before: self.unique.saturating_sub(counts.unique_processed),
                processed_per_second: per_second(counts.received, seconds),
            }),
            problems,
        });
    }

    /// Adds why the counts could not be verified.
    pub fn add_failure(&mut self, reason: String) {
        self.verification = Some(Verification {
            problems: vec![reason],
            ..Verification::default()
        });
    }

    /// Whether everything was sent and, if verification was requested, counted correctly.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.complete
            && self
                .verification
                .as_ref()
                .is_none_or(|found| found.verified)
    }
}

impl Percentiles {
    /// The percentiles of latencies in microseconds.
    #[must_use]
    pub fn of(latencies_us: &Histogram<u64>) -> Self {
        Self {
            p50: milliseconds(latencies_us.value_at_quantile(0.5)),
            p99: milliseconds(latencies_us.value_at_quantile(0.99)),
        }
    }
}

#[expect(clippy::cast_precision_loss)]
fn per_second(events: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        rounded(events as f64 / seconds)
    } else {
        0.0
    }
}

#[expect(clippy::cast_precision_loss)]
fn milliseconds(us: u64) -> f64 {
    rounded(us as f64 / 1_000.0)
}

/// Rounds to three decimals; the measurements are not more precise.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn summary() -> Summary {
        Summary {
            run_id: Some("r".to_owned()),
            seed: Some(0),
            complete: true,
            sent: 1_142,
            unique: 800,
            duplicates: 342,
            seconds: 0.5,
            events_per_second: 2_284.0,
            puback_ms: Some(Percentiles { p50: 1.5, p99: 2.5 }),
            verification: Some(Verification {
                verified: true,
                counted: Some(AggregatorCounts {
                    received: 1_142,
                    unique_processed: 0,
                    duplicate_dropped: 1_142,
                    stored_before: 800,
                    processed_per_second: 1_000.0,
                }),
                problems: Vec::new(),
            }),
            ..Summary::default()
        }
    }

    #[test]
    fn the_json_object_has_every_figure() {
        let json = serde_json::to_value(summary()).unwrap();
        for (name, value) in [
            ("sent", 1_142),
            ("unique", 800),
            ("duplicates", 342),
            ("received", 1_142),
            ("unique_processed", 0),
            ("duplicate_dropped", 1_142),
            ("stored_before", 800),
            ("possibly_doubled", 0),
        ] {
            assert_eq!(json[name], value, "{name}");
        }
        assert_eq!(json["verified"], true);
        assert_eq!(json["puback_ms"]["p99"], 2.5);
        assert_eq!(json["processed_per_second"], 1_000.0);
        let unverified = Summary {
            verification: None,
            ..summary()
        };
        assert_eq!(
            serde_json::to_value(unverified).unwrap().get("verified"),
            None
        );
    }

    #[test]
    fn over_http_requests_are_reported_instead_of_pubacks() {
        let now = Instant::now();
        let mut sent = SendStats::new(1);
        sent.record_send(200, now);
        for _ in 0..2 {
            sent.record_confirmation(100, Duration::from_millis(4), now + Duration::from_secs(1));
        }
        let summary = Summary::of_requests(&sent, 8);
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["requests"]["answered"], 2);
        assert_eq!(json["requests"]["per_second"], 2.0);
        assert_eq!(json.get("puback_ms"), None);
        let text = summary.to_string();
        assert!(
            text.contains("2 requests/s over 8 connections, answers p50 4.0 ms"),
            "{text}"
        );
        assert!(!text.contains("PubAck"), "{text}");
    }

    #[test]
    fn an_incomplete_run_reports_its_error_and_unconfirmed_events() {
        let summary = Summary {
            complete: false,
            error: Some("cannot read f".to_owned()),
            unconfirmed: 7,
            verification: None,
            ..summary()
        };
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(json["error"], "cannot read f");
        assert_eq!(
            (&json["sent"], &json["unconfirmed"]),
            (&1_142.into(), &7.into())
        );
        let text = summary.to_string();
        assert!(text.starts_with("stopped: sent 1,142 events"), "{text}");
        assert!(text.contains("\n7 more events are not confirmed"), "{text}");
        assert!(text.ends_with("\nerror: cannot read f"), "{text}");
        assert!(!summary.is_success());
    }

    #[test]
    fn the_text_has_the_counts_and_the_problems() {
        let mut summary = summary();
        let text = summary.to_string();
        assert!(
            text.contains(
                "verified: received 1,142, unique 0, duplicates 1,142 (800 stored before)"
            ),
            "{text}"
        );
        assert!(summary.is_success());
        summary.add_failure("gave up".to_owned());
        assert!(
            summary.to_string().ends_with("NOT VERIFIED\n  gave up"),
            "{summary}"
        );
        assert!(!summary.is_success());
    }
}
