//! What the service looks like in one second.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use shared::stream::{self, StreamState};
use tokio::time::timeout;

use crate::{
    clock,
    http::{
        api::Api,
        counts::{health, stats},
    },
    metrics::commits::CommitTimes,
    store::query,
};

/// How long the broker is waited for; then the sample goes without what it knows.
const BROKER: Duration = Duration::from_millis(500);

/// How long the store is waited for: that reading is slow is told, too.
const STORE: Duration = Duration::from_secs(1);

/// Samples without the broker's answer, one after the other, after which people are told.
const SILENT: u32 = 3;

/// One second.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// Milliseconds since 1970.
    at: i64,
    /// None while the store cannot be read.
    #[serde(flatten)]
    counts: Option<Counts>,
    /// Messages in the stream that are not applied; none while the broker cannot be asked.
    pending: Option<u64>,
    stream_messages: Option<u64>,
    stream_bytes: Option<u64>,
    /// At which it is full.
    stream_max_bytes: u64,
    /// Batches that were committed since the sample before.
    commits: u64,
    commit_ms: Option<f64>,
    commit_slowest_ms: Option<f64>,
    /// The parts that do not work, each with its reason.
    checks: BTreeMap<&'static str, String>,
    /// That the clock is behind the latest event.
    clock: Option<String>,
    stalls: u64,
    uptime_seconds: u64,
}

#[derive(Debug, Serialize)]
struct Counts {
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    rejected: u64,
    conflicts: u64,
    redelivered: u64,
    missing: u64,
    topics_total: u64,
}

/// Takes one sample after the other.
#[derive(Debug, Default)]
pub struct Sampler {
    /// Samples in a row in which the broker was connected and did not answer.
    silent: u32,
}

impl Sampler {
    pub async fn take(&mut self, api: &Api) -> Sample {
        let now = clock::now_micros();
        let mut checks = health::failing(api);
        let stream = self.stream(api, &mut checks).await;
        let stats = match timeout(STORE, api.reader.stats(0)).await {
            Ok(Ok(stats)) => Some(stats),
            Ok(Err(err)) => {
                checks.insert("store", err.to_string());
                None
            }
            Err(_) => {
                let slow = "the store does not answer within 1 s: many ask it, or its disk is slow";
                checks.insert("reading", slow.to_owned());
                None
            }
        };
        let commits = api.process.metrics.commits().take();
        let milliseconds = |of: fn(&CommitTimes) -> Duration| {
            commits.map(|times| of(&times).as_secs_f64() * 1_000.0)
        };
        Sample {
            at: now / 1_000,
            pending: stream
                .as_ref()
                .zip(stats.as_ref())
                .map(|(stream, stats)| stats::pending(stream, stats)),
            stream_messages: stream.as_ref().map(|stream| stream.messages),
            stream_bytes: stream.as_ref().map(|stream| stream.bytes),
            stream_max_bytes: api.broker.stream_max_bytes,
            commits: commits.map_or(0, |taken| taken.count),
            commit_ms: milliseconds(|taken| taken.mean),
            commit_slowest_ms: milliseconds(|taken| taken.slowest),
            checks,
            clock: stats
                .as_ref()
                .and_then(|stats| health::clock_notice(now, stats.processed_at)),
            counts: stats.as_ref().map(counts),
            stalls: api.process.health.stalled(),
            uptime_seconds: api.process.started.elapsed().as_secs(),
        }
    }

    /// The stream's state, or why it is not known where people should see to it.
    async fn stream(
        &mut self,
        api: &Api,
        checks: &mut BTreeMap<&'static str, String>,
    ) -> Option<StreamState> {
        if !api.broker.connection.is_connected() {
            self.silent = 0;
            return None;
        }
        let state = timeout(
            BROKER,
            stream::state(&api.broker.connection, &api.broker.stream),
        )
        .await;
        let Ok(answered) = state else {
            self.silent += 1;
            if self.silent >= SILENT {
                checks.insert("broker", "it is connected and does not answer".to_owned());
            }
            return None;
        };
        self.silent = 0;
        answered
            .inspect_err(|err| drop(checks.insert("stream", err.to_string())))
            .ok()
    }
}

fn counts(stats: &query::Stats) -> Counts {
    Counts {
        received: stats.received,
        unique_processed: stats.unique_processed,
        duplicate_dropped: stats.duplicate_dropped,
        rejected: stats.rejected,
        conflicts: stats.conflicts,
        redelivered: stats.redelivered,
        missing: stats.missing,
        topics_total: stats.topics_total,
    }
}
