//! Metrics of the running service, for `GET /metrics`. Totals that the store keeps are read from the store on each request.

pub mod commits;

use std::{sync::Arc, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::Collector, proto::MetricFamily,
};
use shared::publish::Observer;

use self::commits::Commits;
use crate::store::Appended;

/// The status label of requests that ended without a response.
pub const ABORTED: &str = "aborted";

/// From half a millisecond, which no synced write undercuts, to the length of a stall.
const SECONDS: [f64; 15] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Up to the largest batch that can be configured.
const EVENTS: [f64; 13] = [
    1.0, 5.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 20_000.0,
    100_000.0,
];

const MESSAGES: [f64; 11] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0,
];

/// All metrics. Cheap to clone; clones share one registry.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Measured>);

#[derive(Debug)]
struct Measured {
    registry: Registry,
    commits: Commits,
    applied: IntCounter,
    commit_seconds: Histogram,
    commit_failures: IntCounter,
    batch_events: Histogram,
    batch_messages: Histogram,
    puback_seconds: Histogram,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    otlp_members_ignored: IntCounter,
    authentication_failures: IntCounter,
    connections_refused: IntCounter,
    trimming_held: IntGaugeVec,
}

/// A batch that was committed.
#[derive(Debug, Clone, Copy)]
pub struct Committed<'a> {
    /// The time from handing it to the store's writer until it was on disk.
    pub took: Duration,
    /// Its messages.
    pub messages: usize,
    /// Its events.
    pub events: usize,
    /// What the store did with it.
    pub appended: &'a Appended,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Panics
    /// Never: the names are legal, and each is registered once.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let measured = Measured {
            applied: counter(
                &registry,
                "aggregator_messages_applied_total",
                "Messages whose transaction has committed, without redeliveries, since the start",
            ),
            commit_seconds: histogram(
                &registry,
                "aggregator_commit_duration_seconds",
                "Time of an append as the consumer measures it: from handing the batch to the store until it is committed and on disk, including the lookup in the dedup index and the wait for the previous batch",
                &SECONDS,
            ),
            commit_failures: counter(
                &registry,
                "aggregator_commit_failures_total",
                "Appends that failed; each is retried, after checking whether a failed COMMIT took effect",
            ),
            batch_events: histogram(
                &registry,
                "aggregator_batch_events",
                "Events committed in one transaction",
                &EVENTS,
            ),
            batch_messages: histogram(
                &registry,
                "aggregator_batch_messages",
                "Messages committed in one transaction",
                &MESSAGES,
            ),
            puback_seconds: histogram(
                &registry,
                "aggregator_puback_duration_seconds",
                "Time from first sending a message to its PubAck, for messages published by the HTTP API",
                &SECONDS,
            ),
            requests: registered(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "aggregator_http_requests_total",
                        "HTTP requests by route and status; the status is aborted if a request was abandoned before its response",
                    ),
                    &["route", "status"],
                ),
            ),
            request_seconds: registered(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "aggregator_http_request_duration_seconds",
                        "Time from the head of a request to the head of its response, by route",
                    )
                    .buckets(SECONDS.to_vec()),
                    &["route"],
                ),
            ),
            otlp_members_ignored: counter(
                &registry,
                "aggregator_otlp_requests_with_unknown_members_total",
                "OTLP/JSON requests with members that OTLP does not define, which were ignored, since the start",
            ),
            authentication_failures: counter(
                &registry,
                "aggregator_http_authentication_failures_total",
                "HTTP requests with a token that is not valid, since the start; the log has their addresses",
            ),
            connections_refused: counter(
                &registry,
                "aggregator_http_connections_refused_total",
                "Connections that were closed at once because their address holds as many as are left for all others, since the start; the log has an address",
            ),
            trimming_held: registered(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "aggregator_trimming_held_messages",
                        "Messages that would be trimmed but that the durable of another store has not acked; absent if there are none",
                    ),
                    &["durable"],
                ),
            ),
            registry,
            commits: Commits::default(),
        };
        Self(Arc::new(measured))
    }

    /// Records a committed batch.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a batch has far fewer than 2^52 events"
    )]
    pub fn committed(&self, committed: &Committed<'_>) {
        let Committed {
            took,
            messages,
            events,
            appended,
        } = *committed;
        let applied = (messages as u64).saturating_sub(appended.redelivered);
        self.0.applied.inc_by(applied);
        self.0.commits.add(took);
        self.0.commit_seconds.observe(took.as_secs_f64());
        self.0.batch_events.observe(events as f64);
        self.0.batch_messages.observe(messages as f64);
    }

    /// The appends since the last reading, with the slowest one, which a histogram does not record.
    pub(crate) fn commits(&self) -> &Commits {
        &self.0.commits
    }

    /// Counts an append that failed.
    pub fn commit_failed(&self) {
        self.0.commit_failures.inc();
    }

    /// Records a response. Routes and statuses are few, whatever is requested.
    pub fn answered(&self, route: &str, status: &str, took: Duration) {
        let measured = &self.0;
        measured.requests.with_label_values(&[route, status]).inc();
        let seconds = measured.request_seconds.with_label_values(&[route]);
        seconds.observe(took.as_secs_f64());
    }

    /// Sets which durable of another store keeps how many messages from being trimmed, if any.
    pub fn trimming_held(&self, held: Option<(&str, u64)>) {
        let gauge = &self.0.trimming_held;
        gauge.reset();
        if let Some((durable, messages)) = held {
            let messages = i64::try_from(messages).unwrap_or(i64::MAX);
            gauge.with_label_values(&[durable]).set(messages);
        }
    }

    /// Counts a request that was abandoned before its response.
    pub fn aborted(&self, route: &str) {
        let requests = &self.0.requests;
        requests.with_label_values(&[route, ABORTED]).inc();
    }

    /// Counts an OTLP request with members that OTLP does not define.
    pub fn otlp_members_ignored(&self) {
        self.0.otlp_members_ignored.inc();
    }

    /// Counts a request with a token that is not valid.
    pub fn authentication_failed(&self) {
        self.0.authentication_failures.inc();
    }

    /// Counts a connection that was closed because its address holds too many.
    pub fn connection_refused(&self) {
        self.0.connections_refused.inc();
    }

    /// The current values of all metrics.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.0.registry.gather()
    }
}

impl Observer for Metrics {
    fn confirmed(&self, latency: Duration) {
        self.0.puback_seconds.observe(latency.as_secs_f64());
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::new(name, help))
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    registered(registry, Histogram::with_opts(options))
}

fn registered<T: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<T>,
) -> T {
    let metric = metric.expect("names and labels are legal");
    registry
        .register(Box::new(metric.clone()))
        .expect("each name is registered once");
    metric
}
