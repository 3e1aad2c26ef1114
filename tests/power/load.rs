//! Traffic over HTTP and JetStream, with a record of what was sent and what was confirmed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_nats::{HeaderMap, jetstream};
use e2e::{
    api::Api,
    event::{Event, array, event},
    wait::{eventually, holds},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

/// Clients of each kind, each with one request in flight.
const HTTP_CLIENTS: u64 = 6;
const JETSTREAM_CLIENTS: u64 = 2;
/// Topics of each client.
const TOPICS: u64 = 3;
const BATCH: u64 = 60;
/// One in this many events was sent before.
const REPEATED: u32 = 5;

/// Topic and event id.
pub type Identity = (String, String);

/// What was sent, and what of it was confirmed.
#[derive(Debug, Default)]
pub struct Record {
    /// Batches, as they were sent.
    pub sent: Vec<Vec<Event>>,
    /// Events of requests that were answered with 200, or of messages with a PubAck.
    pub confirmed: BTreeSet<Identity>,
}

/// Clients that send one batch after the other.
#[derive(Debug)]
pub struct Load {
    record: Arc<Mutex<Record>>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts them.
    pub fn start(api: &Api, jetstream: &jetstream::Context, seed: u64) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let mut clients = JoinSet::new();
        for client in 0..HTTP_CLIENTS + JETSTREAM_CLIENTS {
            let traffic = Traffic {
                random: crate::random(seed.wrapping_mul(100).wrapping_add(client)),
                client,
                next: 0,
                record: Arc::clone(&record),
            };
            if client < HTTP_CLIENTS {
                clients.spawn(over_http(traffic, api.clone()));
            } else {
                clients.spawn(over_jetstream(traffic, jetstream.clone()));
            }
        }
        Self { record, clients }
    }

    /// Waits until something is confirmed.
    pub async fn flows(&self) {
        eventually("events are confirmed", async || {
            let confirmed = lock(&self.record).confirmed.len();
            holds(confirmed > 0, confirmed)
        })
        .await;
    }

    /// Ends the clients immediately, and returns their record.
    pub async fn end(mut self) -> Record {
        self.clients.abort_all();
        while let Some(ended) = self.clients.join_next().await {
            assert!(
                ended
                    .as_ref()
                    .is_err_and(tokio::task::JoinError::is_cancelled),
                "a client ended before the cut: {ended:?}"
            );
        }
        std::mem::take(&mut lock(&self.record))
    }
}

/// Events with ids unique to a client, some of them repeated.
struct Traffic {
    random: ChaCha8Rng,
    client: u64,
    next: u64,
    record: Arc<Mutex<Record>>,
}

impl Traffic {
    /// The next batch, recorded as sent. With `topic` all its events are of that topic.
    fn batch(&mut self, topic: Option<u64>) -> Vec<Event> {
        let count = self.random.random_range(1..=BATCH);
        let batch: Vec<_> = (0..count).map(|_| self.event(topic)).collect();
        lock(&self.record).sent.push(batch.clone());
        batch
    }

    fn event(&mut self, topic: Option<u64>) -> Event {
        let again = self.next > 0 && self.random.random_ratio(1, REPEATED);
        let number = if again {
            self.random.random_range(0..self.next)
        } else {
            self.next += 1;
            self.next - 1
        };
        // The whole event follows from its number, so that a repetition is identical.
        let topic = topic.unwrap_or(number % TOPICS);
        let filler = "x".repeat(usize::try_from(number % 300).unwrap_or(0));
        event(
            &format!("client-{}.{topic}", self.client),
            &format!("id-{number}"),
        )
        .with_payload(&format!(r#"{{"n":{number},"filler":"{filler}"}}"#))
    }

    fn confirmed(&self, batch: Vec<Event>) {
        let identities = batch.into_iter().map(|event| (event.topic, event.event_id));
        lock(&self.record).confirmed.extend(identities);
    }
}

async fn over_http(mut traffic: Traffic, api: Api) {
    loop {
        let batch = traffic.batch(None);
        // A refusal confirms nothing.
        if api.post(array(&batch)).await.status == 200 {
            traffic.confirmed(batch);
        }
    }
}

async fn over_jetstream(mut traffic: Traffic, jetstream: jetstream::Context) {
    loop {
        let topic = traffic.random.random_range(0..TOPICS);
        let batch = traffic.batch(Some(topic));
        let mut headers = HeaderMap::new();
        let id = format!("{}-{}", traffic.client, traffic.random.random::<u64>());
        headers.insert("Nats-Msg-Id", id);
        let subject = format!("events.client-{}.{topic}", traffic.client);
        let sent = jetstream.publish_with_headers(subject, headers, array(&batch).into());
        // An answer of the broker that is not a PubAck confirms nothing.
        if let Ok(ack) = sent.await
            && ack.await.is_ok()
        {
            traffic.confirmed(batch);
        }
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
