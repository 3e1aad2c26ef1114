//! The size of the WAL while many clients read and events come in.

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
    port,
    publisher::{Publisher, publish},
};
use tokio::{task::JoinSet, time::sleep};

/// What the WAL must stay under, in bytes: twice the bound at which it is reset.
const MOST: u64 = 128 * 1024 * 1024;

/// Events a second.
const RATE: u64 = 5_000;

/// Bytes of their payloads: the WAL gets some 7 MB a second.
const PAYLOAD: &str = "1000";

/// Clients that ask for each of these, one request after the other.
const READERS: [(usize, &str); 4] = [
    (16, "/events?contains=zzz"),
    (1, "/events?limit=1000&order=asc"),
    (1, "/events?format=ndjson&contains=zzz"),
    (1, "/stats"),
];

/// Events that are stored before, so that looking through them takes as long as it may.
const STORED: &str = "400000";

/// How often the size is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Whether the WAL stayed under its bound, no read was refused, and every count is exact.
pub async fn wal(lasts: Duration) -> bool {
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let port = port::free();
    let _nats = Server::start_in(port, &data.path().join("stream"));
    let url = broker::url(port);
    broker::ready(&url).await;
    let store = data.path().join("store");
    let aggregator = Aggregator::start(&url, &store, &[]).await;
    aggregator.healthy().await;
    let stored = [
        "generate",
        "--count",
        STORED,
        "--verify",
        aggregator.api().url(),
    ];
    publish(&url, &stored).await.succeeded();
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
        for _ in 0..clients {
            let counts = (Arc::clone(&answered), Arc::clone(&refused));
            readers.spawn(read(api.clone(), path, Arc::clone(&is_over), counts));
        }
    }
    let (file, end) = (store.join("aggregator.db-wal"), Instant::now() + lasts);
    let mut peak = 0;
    while Instant::now() < end {
        peak = peak.max(size(&file));
        sleep(LOOK).await;
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
        "{lasts:?} at {RATE} events/s: {answered} reads answered, {refused} refused; the WAL had at most {} MiB, and {} MiB at last; publisher: exit {:?}\n{}",
        peak >> 20,
        size(&file) >> 20,
        run.code,
        run.summary
    );
    peak < MOST && refused == 0 && run.code == Some(0)
}

async fn read(
    api: Api,
    path: &'static str,
    is_over: Arc<AtomicBool>,
    (answered, refused): (Arc<AtomicU64>, Arc<AtomicU64>),
) {
    while !is_over.load(Ordering::Relaxed) {
        let is_answered = api.get(path).await.is_ok_and(|answer| answer.status == 200);
        let count = if is_answered { &answered } else { &refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |found| found.len())
}
