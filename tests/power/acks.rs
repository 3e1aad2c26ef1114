//! Observes the aggregator's acks on the wire.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use e2e::wait::{eventually, holds};
use futures::StreamExt;
use tokio::task::JoinHandle;

/// A listener for the aggregator's acks.
#[derive(Debug)]
pub struct Acks {
    sequences: Arc<Mutex<BTreeSet<u64>>>,
    listener: JoinHandle<()>,
}

impl Acks {
    /// Listens at the broker at this address.
    pub async fn listen(url: &str) -> Self {
        let client = async_nats::connect(url).await;
        let client = client.expect("the broker can be connected to");
        let acks = client.subscribe("$JS.ACK.>").await;
        let mut acks = acks.expect("acks can be subscribed to");
        client.flush().await.expect("the broker is connected");
        let sequences = Arc::new(Mutex::new(BTreeSet::new()));
        let sink = Arc::clone(&sequences);
        let listener = tokio::spawn(async move {
            while let Some(message) = acks.next().await {
                if let Some(sequence) = acked(&message.subject, &message.payload) {
                    lock(&sink).insert(sequence);
                }
            }
        });
        Self {
            sequences,
            listener,
        }
    }

    /// Waits until a message is acked.
    pub async fn flow(&self) {
        eventually("messages are acked", async || {
            let acked = lock(&self.sequences).len();
            holds(acked > 0, acked)
        })
        .await;
    }

    /// Stops listening, and returns the stream sequences that were acked.
    pub fn end(self) -> BTreeSet<u64> {
        std::mem::take(&mut lock(&self.sequences))
    }
}

impl Drop for Acks {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// The stream sequence acked by a message on an ack subject. In-progress, nak and term messages ack nothing.
///
/// The subject is `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>…`; if it has more than nine tokens,
/// domain and account precede the stream.
fn acked(subject: &str, payload: &[u8]) -> Option<u64> {
    if !matches!(payload, b"" | b"+ACK") {
        return None;
    }
    let tokens: Vec<_> = subject.split('.').collect();
    let index = if tokens.len() > 9 { 7 } else { 5 };
    tokens.get(index)?.parse().ok()
}

fn lock(sequences: &Mutex<BTreeSet<u64>>) -> MutexGuard<'_, BTreeSet<u64>> {
    sequences.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::acked;

    #[test]
    fn an_ack_names_its_stream_sequence() {
        let short = "$JS.ACK.EVENTS.aggregator.1.42.7.1700000000000000000.3";
        let long = "$JS.ACK._.ACCOUNT.EVENTS.aggregator.1.42.7.1700000000000000000.3.x";
        assert_eq!(acked(short, b"+ACK"), Some(42));
        assert_eq!(acked(short, b""), Some(42));
        assert_eq!(acked(long, b"+ACK"), Some(42));
    }

    #[test]
    fn a_message_that_is_not_an_ack_acks_nothing() {
        let subject = "$JS.ACK.EVENTS.aggregator.1.42.7.1700000000000000000.3";
        for payload in ["+WPI", "-NAK", "+TERM"] {
            assert_eq!(acked(subject, payload.as_bytes()), None);
        }
    }
}
