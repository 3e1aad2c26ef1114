//! The broker alone: messages with a PubAck that the stream does not have after the cut.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{self, context::GetStreamErrorKind, stream},
};
use e2e::wait::{eventually, holds};
use futures::{StreamExt, TryStreamExt};
use rand::Rng;
use tokio::task::JoinSet;

use super::Loss;
use crate::{
    broker::{self, Broker},
    disk::Disk,
    standstill,
};

/// Clients, each with one message in flight.
const CLIENTS: u64 = 8;
const MOMENT: std::ops::Range<u64> = 500..3_000;
const STREAM: &str = "EVENTS";
/// Concurrent reads of the stream.
const READS: usize = 64;

/// Cuts the power of a broker without consumers.
pub async fn cut(synced: bool, seed: u64) -> Loss {
    let moment = Duration::from_millis(crate::random(seed).random_range(MOMENT));
    let scratch = tempfile::tempdir().expect("a temporary directory can be created");
    let disk = Disk::create(scratch.path(), "before").expect("a disk can be created");
    let configuration = if synced {
        broker::configuration()
    } else {
        broker::without_sync(scratch.path())
    };
    let mut broker = Broker::start(&configuration, &disk.path().join("nats")).await;
    let jetstream = broker.jetstream().await;
    let created = jetstream.create_stream(stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["events.>".to_owned()],
        ..stream::Config::default()
    });
    created.await.expect("a stream can be created");
    // The stream itself must not be lost.
    disk.sync().expect("a file system can be synced");

    let acked = Arc::new(Mutex::new(BTreeSet::new()));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(publish(jetstream.clone(), client, Arc::clone(&acked)));
    }
    eventually("messages are acked", async || {
        let acked = lock(&acked).len();
        holds(acked > 0, acked)
    })
    .await;
    // The schedule of the cut, not a wait for a condition.
    tokio::time::sleep(moment).await;

    standstill::stop(&mut [broker.service()]).await;
    clients.shutdown().await;
    let copy = disk.copy("after").await;
    broker.kill();
    disk.discard().expect("the disk can be discarded");

    let disk = Disk::open(copy).expect("the file system recovers");
    let broker = Broker::start(&configuration, &disk.path().join("nats")).await;
    let there = messages(&broker.jetstream().await).await;
    let acked = lock(&acked);
    Loss {
        promised: acked.len(),
        lost: acked.difference(&there).count(),
    }
}

/// Publishes one message after the other, each with its id as its body.
async fn publish(jetstream: jetstream::Context, client: u64, acked: Arc<Mutex<BTreeSet<String>>>) {
    for number in 0_u64.. {
        let id = format!("{client}-{number}");
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id.clone());
        let sent = jetstream.publish_with_headers("events.control", headers, id.clone().into());
        if let Ok(ack) = sent.await
            && ack.await.is_ok()
        {
            lock(&acked).insert(id);
        }
    }
}

/// The bodies of all messages in the stream.
async fn messages(jetstream: &jetstream::Context) -> BTreeSet<String> {
    let stream = match jetstream.get_stream(STREAM).await {
        Ok(stream) => stream,
        // The stream is lost, with all its messages.
        Err(err) if matches!(err.kind(), GetStreamErrorKind::JetStream(_)) => {
            return BTreeSet::new();
        }
        Err(err) => panic!("the stream cannot be read: {err}"),
    };
    let state = &stream.cached_info().state;
    if state.messages == 0 {
        return BTreeSet::new();
    }
    let reads = (state.first_sequence..=state.last_sequence)
        .map(|sequence| stream.get_raw_message(sequence));
    futures::stream::iter(reads)
        .buffer_unordered(READS)
        .map_ok(|message| String::from_utf8_lossy(&message.payload).into_owned())
        // A message that cannot be read is lost.
        .filter_map(async |message| message.ok())
        .collect()
        .await
}

fn lock(acked: &Mutex<BTreeSet<String>>) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
    acked.lock().unwrap_or_else(PoisonError::into_inner)
}
