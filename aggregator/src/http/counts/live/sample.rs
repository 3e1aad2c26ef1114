//! The state of the service, sampled once a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use shared::stream::{self, StreamState};
use tokio::time::timeout;

use crate::{
    clock,
    http::{
        api::Api,
        counts::{
            health,
            stats::{self, Aggregator, Disk},
        },
    },
    metrics::commits::CommitTimes,
    store::{StoreError, query},
};

/// How long to wait for the broker. After that the sample lacks the broker's figures.
const BROKER_TIMEOUT: Duration = Duration::from_millis(500);

/// How long to wait for the store. After that the sample reports slow reading.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Within this time after the start, it is no problem that there is no connection to the broker yet.
const CONNECTING: Duration = Duration::from_secs(5);

/// Number of consecutive samples without a response from the broker after which the sample reports it.
const MAX_SILENT: u32 = 3;

/// The state of the service at one moment.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// Milliseconds since 1970, by the clock of the store's times.
    at: i64,
    /// Absent if the store could not be read in time.
    #[serde(flatten)]
    counts: Option<Counts>,
    /// Messages in the stream that are not yet applied; null if the broker or the store did not respond.
    pending: Option<u64>,
    stream_messages: Option<u64>,
    stream_bytes: Option<u64>,
    /// Configured maximum size of the stream.
    stream_max_bytes: u64,
    /// Batches committed since the previous sample.
    commits: u64,
    commit_ms: Option<f64>,
    commit_slowest_ms: Option<f64>,
    /// The failing parts, each with the reason.
    checks: BTreeMap<&'static str, String>,
    /// Since when each of them has been failing, in milliseconds since 1970.
    failing_since: BTreeMap<&'static str, i64>,
    /// The latest time with problems that is over; null if there was none since the start.
    recovered: Option<Trouble>,
    /// Absent if the store could not be read in time.
    disk: Option<Disk>,
    /// The aggregators that share the store; absent if it is not shared, or could not be read in time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aggregators: Vec<Aggregator>,
    /// The notice while the clock is more than a second behind the latest event, or off the database's.
    clock: Option<String>,
    stalls: u64,
    uptime_seconds: u64,
    /// When the process started, by the same clock as `at`.
    started: i64,
}

/// A time in which there was at least one problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Trouble {
    /// Its problems: failing parts, and what else the page warns of and a sample shows.
    problems: BTreeSet<&'static str>,
    /// Its beginning and its end, in milliseconds since 1970.
    since: i64,
    until: i64,
}

#[derive(Debug, Serialize)]
struct Counts {
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    rejected: u64,
    rejected_seen: u64,
    rejected_seen_up_to: u64,
    rejected_requeued: u64,
    conflicts: u64,
    conflicts_seen: u64,
    conflicts_seen_up_to: u64,
    redelivered: u64,
    missing: u64,
    topics_total: u64,
}

/// Takes samples.
#[derive(Debug, Default)]
pub struct Sampler {
    /// Number of consecutive samples in which the broker was connected but did not respond.
    silent: u32,
    failing_since: BTreeMap<&'static str, i64>,
    trouble: Option<Trouble>,
    recovered: Option<Trouble>,
}

impl Sampler {
    pub async fn take(&mut self, api: &Api) -> Sample {
        let mut checks = health::failing(api);
        let stream = self.stream(api, &mut checks).await;
        let read = async {
            let stats = api.reader.stats(0).await?;
            Ok::<_, StoreError>((stats, api.reader.disk(clock::now_micros()).await?))
        };
        let (stats, disk) = match timeout(STORE_TIMEOUT, read).await {
            Ok(Ok((stats, disk))) => (Some(stats), disk),
            Ok(Err(err)) => {
                checks.insert("store", err.to_string());
                (None, None)
            }
            Err(_) => {
                let slow = "the store does not respond within 1 s: it has many readers, or its disk is slow";
                checks.insert("reading", slow.to_owned());
                (None, None)
            }
        };
        // After the counts were read: waiting for them is no fault of the clock.
        let clock = api.reader.clock();
        let now = clock.now();
        self.failing_since
            .retain(|name, _| checks.contains_key(name));
        for name in checks.keys() {
            self.failing_since.entry(name).or_insert(now / 1_000);
        }
        let off = stats
            .as_ref()
            .and_then(|stats| health::clock_notice(&clock, stats.processed_at));
        let mut problems: BTreeSet<_> = checks.keys().copied().collect();
        for (problem, is_so) in [
            (
                "full",
                self.is_full(stream.as_ref(), api.broker.stream_max_bytes),
            ),
            (
                "missing",
                stats.as_ref().is_some_and(|stats| stats.missing > 0),
            ),
            (
                "sum",
                stats.as_ref().is_some_and(|stats| !stats.is_consistent()),
            ),
            ("clock", off.is_some()),
        ] {
            problems.extend(is_so.then_some(problem));
        }
        if api.process.started.elapsed() < CONNECTING {
            problems.retain(|problem| !["broker", "consumer", "stream"].contains(problem));
        }
        self.follow(&problems, now / 1_000);
        let uptime = api.process.started.elapsed();
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
            failing_since: self.failing_since.clone(),
            recovered: self.recovered.clone(),
            disk: disk.map(Disk::of),
            aggregators: stats.as_ref().map(Aggregator::all_of).unwrap_or_default(),
            clock: off,
            counts: stats.as_ref().map(counts),
            stalls: api.process.health.stalled(),
            uptime_seconds: uptime.as_secs(),
            started: now / 1_000 - i64::try_from(uptime.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Whether the stream is full; while it cannot be read, whether it was in the present trouble. A slow broker does not mean that
    /// it has room again.
    fn is_full(&self, stream: Option<&StreamState>, max_bytes: u64) -> bool {
        let was_full = || {
            let trouble = self.trouble.as_ref();
            trouble.is_some_and(|trouble| trouble.problems.contains("full"))
        };
        stream.map_or_else(was_full, |stream| {
            u128::from(stream.bytes) * 100 >= u128::from(max_bytes) * 99
        })
    }

    /// Keeps the time in which there are problems, from the first to the last of them.
    fn follow(&mut self, problems: &BTreeSet<&'static str>, now: i64) {
        if problems.is_empty() {
            if let Some(trouble) = self.trouble.take() {
                self.recovered = Some(Trouble {
                    until: now,
                    ..trouble
                });
            }
            return;
        }
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            problems: BTreeSet::new(),
            since: now,
            until: now,
        });
        trouble.problems.extend(problems);
    }

    /// The state of the stream, or `None` if it cannot be read; the reason is then added to `checks`. A broker that does not
    /// respond is reported only after [`MAX_SILENT`] samples, and a lost connection is already in `checks`.
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
            BROKER_TIMEOUT,
            stream::state(&api.broker.connection, &api.broker.stream),
        )
        .await;
        let Ok(response) = state else {
            self.silent += 1;
            if self.silent >= MAX_SILENT {
                checks.insert("broker", "connected, but does not respond".to_owned());
            }
            return None;
        };
        self.silent = 0;
        response
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
        rejected_seen: stats.rejected_seen.number,
        rejected_seen_up_to: stats.rejected_seen.up_to,
        rejected_requeued: stats.rejected_requeued,
        conflicts: stats.conflicts,
        conflicts_seen: stats.conflicts_seen.number,
        conflicts_seen_up_to: stats.conflicts_seen.up_to,
        redelivered: stats.redelivered,
        missing: stats.missing,
        topics_total: stats.topics_total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_trouble_is_kept_when_it_is_over() {
        let mut sampler = Sampler::default();
        let found = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
        for (now, problems) in [
            (1, &["store"][..]),
            (2, &[]),
            (3, &["broker"]),
            (4, &["broker", "consumer"]),
            (5, &["consumer"]),
        ] {
            sampler.follow(&found(problems), now);
        }
        let store = Trouble {
            problems: BTreeSet::from(["store"]),
            since: 1,
            until: 2,
        };
        assert_eq!(sampler.recovered, Some(store));
        for now in [6, 7] {
            sampler.follow(&found(&[]), now);
        }
        let latest = Trouble {
            problems: BTreeSet::from(["broker", "consumer"]),
            since: 3,
            until: 6,
        };
        assert_eq!(sampler.recovered, Some(latest));
    }

    #[test]
    fn a_full_stream_stays_full_while_it_cannot_be_read() {
        let mut sampler = Sampler::default();
        let of = |bytes| StreamState {
            name: "EVENTS".to_owned(),
            created: 0,
            first: 1,
            last: 1,
            messages: 1,
            bytes,
        };
        for (now, stream, is_full) in [
            (1, None, false),
            (2, Some(of(98)), false),
            (3, Some(of(99)), true),
            (4, None, true),
            (5, None, true),
            (6, Some(of(100)), true),
            (7, Some(of(98)), false),
            (8, None, false),
        ] {
            assert_eq!(sampler.is_full(stream.as_ref(), 100), is_full, "{now}");
            let problems = is_full.then_some("full").into_iter().collect();
            sampler.follow(&problems, now);
        }
        let trouble = Trouble {
            problems: BTreeSet::from(["full"]),
            since: 3,
            until: 7,
        };
        assert_eq!(sampler.recovered, Some(trouble));
    }
}
