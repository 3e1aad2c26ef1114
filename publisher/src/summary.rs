//! The summary of what was sent and of what the aggregator counted: lines for people, one JSON object for programs.

mod text;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{sent::Sent, verify::Verified};

/// What was sent. Its field names are a contract with the programs that read it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Part of every topic and `event_id` of what was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// What decided the traffic that was generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Candidates of the input that are no events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_invalid: Option<u64>,
    /// Whether all was sent that was to be; else it was stopped, or failed.
    pub complete: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Events confirmed.
    pub sent: u64,
    /// Distinct identities among them.
    pub unique: u64,
    /// The others.
    pub duplicates: u64,
    /// Events without a confirmation: they may be in the stream or not.
    pub unconfirmed: u64,
    /// Copies of events that may be in the stream in addition to those sent.
    pub possibly_doubled: u64,
    /// From first send to last confirmation.
    pub seconds: f64,
    /// Over these seconds.
    pub events_per_second: f64,
    /// From sending a message to its `PubAck`, over JetStream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub puback_ms: Option<Percentiles>,
    /// Over HTTP: what carried the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
    /// What the aggregator counted, if it was asked.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// Requests that were answered with success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Requests {
    /// Over so many connections.
    pub connections: u32,
    /// How many.
    pub answered: u64,
    /// Over the summary's seconds.
    pub per_second: f64,
    /// From sending a request to its answer.
    pub answer_ms: Percentiles,
}

/// Milliseconds that this part of what was measured took at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of them.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
}

/// What the aggregator counted of what was sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verification {
    /// Whether all counts are as they must be.
    pub verified: bool,
    /// The counts; none where they could not be had.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// What is not as it must be.
    pub problems: Vec<String>,
}

/// The aggregator's counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counted {
    /// Events that arrived.
    pub received: u64,
    /// Those of them that were stored.
    pub unique_processed: u64,
    /// Those of them whose identity was stored already.
    pub duplicate_dropped: u64,
    /// Distinct identities of what was sent that had been stored before.
    pub stored_before: u64,
    /// From first send until all was applied.
    pub processed_per_second: f64,
}

/// Most problems that are told.
const PROBLEMS: usize = 10;

impl Summary {
    /// Of what was sent over HTTP.
    #[must_use]
    pub fn of_requests(sent: &Sent, connections: u32) -> Self {
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

    /// Of what was sent over JetStream.
    #[must_use]
    pub fn new(sent: &Sent) -> Self {
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

    /// Adds what the aggregator counted.
    pub fn add(&mut self, verified: &Verified, sent: &Sent) {
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
                "the aggregator has rejected {} events in all, perhaps some of these",
                verified.rejected
            ));
        }
        self.verification = Some(Verification {
            verified: verdict.problems.is_empty(),
            counted: Some(Counted {
                received: counts.received,
                unique_processed: counts.unique_processed,
                duplicate_dropped: counts.duplicate_dropped,
                stored_before: self.unique.saturating_sub(counts.unique_processed),
                processed_per_second: per_second(counts.received, seconds),
            }),
            problems,
        });
    }

    /// Adds that the aggregator could not be asked.
    pub fn add_failure(&mut self, reason: String) {
        self.verification = Some(Verification {
            problems: vec![reason],
            ..Verification::default()
        });
    }

    /// Whether all was sent, and the aggregator counted it right, if it was asked.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.complete
            && self
                .verification
                .as_ref()
                .is_none_or(|found| found.verified)
    }
}

impl Percentiles {
    /// Of latencies in microseconds.
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

/// To three decimals: what was measured is not more exact.
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
                counted: Some(Counted {
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
    fn programs_find_every_figure_in_one_object() {
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
    fn requests_are_told_instead_of_messages() {
        let now = Instant::now();
        let mut sent = Sent::nothing(1);
        sent.handed_over(200, now);
        for _ in 0..2 {
            sent.confirmed(100, Duration::from_millis(4), now + Duration::from_secs(1));
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
    fn what_ended_early_is_told_with_what_is_unconfirmed() {
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
        assert!(text.starts_with("stopped: sent 1142 events"), "{text}");
        assert!(text.contains("\n7 more are not confirmed"), "{text}");
        assert!(text.ends_with("\nerror: cannot read f"), "{text}");
        assert!(!summary.is_good());
    }

    #[test]
    fn people_read_the_counts_and_what_is_wrong() {
        let mut summary = summary();
        let text = summary.to_string();
        assert!(
            text.contains("verified: received 1142, unique 0, duplicates 1142 (800 stored before)"),
            "{text}"
        );
        assert!(summary.is_good());
        summary.add_failure("gave up".to_owned());
        assert!(
            summary.to_string().ends_with("NOT VERIFIED\n  gave up"),
            "{summary}"
        );
        assert!(!summary.is_good());
    }
}
