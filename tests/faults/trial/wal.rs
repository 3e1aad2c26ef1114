//! The size of the WAL while many clients read and events arrive.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{
    aggregator::Aggregator,
    api::Api,
    broker::{self, process::Server},
    event::event,
    port,
    publisher::{Publisher, publish},
    wait::{eventually, holds},
};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

/// The limit of the WAL's size, in bytes: twice the size at which it is reset.
const MOST: u64 = 128 * 1024 * 1024;

/// Events per second.
const RATE: u64 = 5_000;

/// Payload bytes per event: the WAL grows by about 7 MB per second.
const PAYLOAD: &str = "1000";

/// Clients for each of these requests, which each sends one after the other. `TOPIC` is replaced by one of the
/// topics, `TOPICS` by all of them.
const READERS: [(usize, &str); 11] = [
    (16, "/events?contains=zzz"),
    (1, "/events?limit=1000&order=asc"),
    (1, "/events?format=ndjson&contains=zzz"),
    (2, "/events?limit=1000&TOPIC"),
    (2, "/events?limit=1000&order=asc&TOPICS"),
    (1, "/events?format=ndjson&limit=20000&TOPICS"),
    (1, "/conflicts?limit=1000"),
    (1, "/rejected?limit=1000"),
    (1, "/duplicates?limit=1000"),
    (1, "/topics?contains=0&sort=duplicate_share&limit=1000"),
    (1, "/stats"),
];

/// Topics of the events that are stored beforehand.
const TOPICS: &str = "100";

/// Conflicts and rejected arrivals that are kept: one full page each.
const KEPT: usize = 1_000;

/// Events that are stored beforehand, enough for scans to reach their time limit.
const STORED: &str = "400000";

/// How often the size is measured.
const INTERVAL: Duration = Duration::from_millis(50);

/// Whether the WAL stayed below its limit, no read was refused, and every count is exact.
pub async fn wal(lasts: Duration) -> bool {
    let data = tempfile::tempdir().expect("a temporary directory can be created");
    let port = port::free();
    let _nats = Server::start_in(port, &data.path().join("stream"), None);
    let url = broker::url(port);
    broker::ready(&url).await;
    let store = data.path().join("store");
    let aggregator = Aggregator::start(&url, &store, &[]).await;
    aggregator.healthy().await;
    let stored = [
        "generate",
        "--count",
        STORED,
        "--topics",
        TOPICS,
        "--verify",
        aggregator.api().url(),
    ];
    publish(&url, &stored).await.succeeded();
    let topics = topics(aggregator.api()).await;
    keep(&url, aggregator.api()).await;
    let (rate, count) = (RATE.to_string(), (RATE * lasts.as_secs()).to_string());
    let api = aggregator.api();
    let arguments = [
        "generate",
        "--count",
        &count,
        "--rate",
        &rate,
        "--payload-bytes",
        PAYLOAD,
        "--verify",
        api.url(),
    ];
    let publisher = Publisher::start(&url, &arguments);

    let is_over = Arc::new(AtomicBool::new(false));
    let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut readers = JoinSet::new();
    for (clients, path) in READERS {
        let path = path
            .replace("TOPICS", &topics.join("&"))
            .replace("TOPIC", &topics[0]);
        for _ in 0..clients {
            let counts = (Arc::clone(&answered), Arc::clone(&refused));
            readers.spawn(read(
                api.clone(),
                path.clone(),
                Arc::clone(&is_over),
                counts,
            ));
        }
    }
    let (file, end) = (store.join("aggregator.db-wal"), Instant::now() + lasts);
    let mut peak = 0;
    while Instant::now() < end {
        peak = peak.max(size(&file));
        sleep(INTERVAL).await;
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = readers.join_next().await {
        ended.expect("a reader does not panic");
    }
    let run = publisher.ended_within(Duration::from_mins(15)).await;
    let (answered, refused) = (
        answered.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed),
    );
    println!(
        "{lasts:?} at {RATE} events/s: {answered} reads answered, {refused} refused; the WAL had at most {} MiB, and {} MiB at the end; publisher: exit {:?}\n{}",
        peak >> 20,
        size(&file) >> 20,
        run.code,
        run.summary
    );
    peak < MOST && refused == 0 && run.code == Some(0)
}

/// The stored topics, each as a query parameter.
async fn topics(api: &Api) -> Vec<String> {
    let page = api.ask("/topics", &[("limit", TOPICS)]).await.json();
    let topics = page["topics"].as_array().expect("a list");
    let name = |topic: &Value| topic["topic"].as_str().expect("a name").to_owned();
    topics
        .iter()
        .map(|topic| format!("topic={}", name(topic)))
        .collect()
}

/// Stores conflicts and rejected arrivals.
async fn keep(url: &str, api: &Api) {
    for version in 0..2 {
        let conflicting = |id: usize| {
            let payload = format!(r#"{{"version":{version}}}"#);
            event("trial.wal.conflicts", &id.to_string()).with_payload(&payload)
        };
        let events: Vec<_> = (0..KEPT).map(conflicting).collect();
        api.publish(&events).await;
    }
    let client = async_nats::connect(url).await.expect("a connection");
    let noise = format!("[{}3]", "3,".repeat(KEPT - 1));
    let sent = client.publish("events.noise", noise.into()).await;
    sent.expect("it is sent");
    client.flush().await.expect("it is sent");
    eventually("everything is kept", async || {
        let stats = api.stats().await?;
        holds(
            stats.rejected >= KEPT as u64 && stats.conflicts >= KEPT as u64,
            &stats,
        )
    })
    .await;
}

async fn read(
    api: Api,
    path: String,
    is_over: Arc<AtomicBool>,
    (answered, refused): (Arc<AtomicU64>, Arc<AtomicU64>),
) {
    while !is_over.load(Ordering::Relaxed) {
        let is_answered = api
            .get(&path)
            .await
            .is_ok_and(|answer| answer.status == 200);
        let count = if is_answered { &answered } else { &refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |found| found.len())
}
