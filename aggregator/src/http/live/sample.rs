//! What the service looks like in one second.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tokio::time::timeout;

use crate::{
    clock,
    commits::Taken,
    http::{Api, status},
    store::reader,
};

/// How long the broker is waited for; then the sample goes without what it knows.
const BROKER: Duration = Duration::from_millis(500);

/// How long the store is waited for: a disk that does not answer is told, too.
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
        let mut checks = status::failing(api);
        let stream = timeout(BROKER, status::stream_state(api)).await;
        let stream = stream.ok().flatten();
        self.silent = if stream.is_none() && api.connection.is_connected() {
            self.silent + 1
        } else {
            0
        };
        if self.silent >= SILENT {
            let silence = || "it is connected and does not answer".to_owned();
            checks.entry("broker").or_insert_with(silence);
        }
        let stats = match timeout(STORE, api.reader.stats(0)).await {
            Ok(Ok(stats)) => Some(stats),
            Ok(Err(err)) => {
                checks.insert("store", err.to_string());
                None
            }
            Err(_) => {
                let silence = || "reading it takes longer than 1 s".to_owned();
                checks.entry("store").or_insert_with(silence);
                None
            }
        };
        let commits = api.commits.take();
        let milliseconds =
            |of: fn(&Taken) -> Duration| commits.map(|taken| of(&taken).as_secs_f64() * 1_000.0);
        Sample {
            at: now / 1_000,
            pending: stream
                .as_ref()
                .zip(stats.as_ref())
                .map(|(stream, stats)| status::pending(stream, stats)),
            stream_messages: stream.as_ref().map(|stream| stream.messages),
            stream_bytes: stream.as_ref().map(|stream| stream.bytes),
            commits: commits.map_or(0, |taken| taken.count),
            commit_ms: milliseconds(|taken| taken.mean),
            commit_slowest_ms: milliseconds(|taken| taken.slowest),
            checks,
            clock: stats
                .as_ref()
                .and_then(|stats| status::clock_notice(now, stats.processed_at)),
            counts: stats.as_ref().map(counts),
            stalls: api.health.stalled(),
            uptime_seconds: api.started.elapsed().as_secs(),
        }
    }
}

fn counts(stats: &reader::Stats) -> Counts {
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
