//! The feed: batches of messages, made by a thread of their own.
//!
//! Events are made as the decoder would hand them on. What is measured never makes any, and is never more than a few
//! batches behind who does.

use std::{
    panic,
    sync::Arc,
    thread::{self, JoinHandle},
};

use aggregator::store::Delivery;
use tokio::sync::mpsc;

use super::traffic::Traffic;

/// Batches that wait. They are counted as memory of the process that appends.
const WAITING: usize = 3;

/// What is appended in one transaction.
#[derive(Debug)]
pub struct Batch {
    /// As the durable consumer would hand them over.
    pub deliveries: Arc<Vec<Delivery>>,
    /// For each event of each delivery, whether it repeats an earlier one.
    pub repeats: Vec<Vec<bool>>,
    /// How many events these are.
    pub events: u64,
}

/// Batches, in order.
#[derive(Debug)]
pub struct Feed {
    batches: mpsc::Receiver<Batch>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Makes `events` events, of which a batch has at least `batch_events`, but for the last one. It ends
    /// earlier when it is dropped.
    pub fn start(mut traffic: Traffic, events: u64, batch_events: u64) -> Self {
        let (sender, batches) = mpsc::channel(WAITING);
        let thread = thread::spawn(move || {
            let mut left = events;
            while left > 0 {
                let batch = Batch::make(&mut traffic, left, batch_events);
                left -= batch.events;
                if sender.blocking_send(batch).is_err() {
                    return;
                }
            }
        });
        Self {
            batches,
            thread: Some(thread),
        }
    }

    /// The next batch.
    pub async fn next(&mut self) -> Option<Batch> {
        let batch = self.batches.recv().await;
        if batch.is_none()
            && let Some(thread) = self.thread.take()
            && let Err(panicked) = thread.join()
        {
            panic::resume_unwind(panicked);
        }
        batch
    }
}

impl Batch {
    fn make(traffic: &mut Traffic, left: u64, batch_events: u64) -> Self {
        let (mut deliveries, mut repeats) = (Vec::new(), Vec::new());
        let mut events = 0;
        while events < batch_events.min(left) {
            let message = traffic.message(left - events);
            events += message.repeats.len() as u64;
            repeats.push(message.repeats);
            deliveries.push(Delivery {
                subject: message.subject,
                sequence: message.sequence,
                // The stream's clock ticks once a message.
                time: i64::try_from(message.sequence).expect("a sequence is far below 2^63"),
                arrivals: message.events.into_iter().map(Ok).collect(),
            });
        }
        Self {
            deliveries: Arc::new(deliveries),
            repeats,
            events,
        }
    }

    /// How many of its events repeat an earlier one.
    pub fn duplicates(&self) -> u64 {
        let repeats = self.repeats.iter().flatten();
        repeats.filter(|repeats| **repeats).count() as u64
    }
}
